//! The answer to a request, on its way from an endpoint to the client.
//!
//! Most answers are forwarded unchanged. So the head of a [plain](crate::plain) one is kept as the received bytes until its headers are
//! needed by name.

use hyper::header::HeaderMap;
use hyper::http::{Extensions, response};
use hyper::{Response, StatusCode};

use crate::headers::prepare_response;
use crate::plain::heads::{PlainAnswer, RawHead};

/// The head of an answer, and a representation of its body.
#[derive(Debug)]
pub(crate) struct Answer<B> {
    pub(crate) status: StatusCode,
    headers: Headers,
    /// hyper keeps there, for instance, a reason phrase that is not the standard one.
    extensions: Extensions,
    pub(crate) body: B,
}

#[derive(Debug)]
enum Headers {
    /// As they were received.
    Raw(RawHead),
    Map(HeaderMap),
}

impl<B> Answer<B> {
    /// A plain answer.
    pub(crate) fn plain(answer: PlainAnswer, body: B) -> Self {
        let PlainAnswer { status, raw_head, .. } = answer;
        Self { status, headers: Headers::Raw(raw_head), extensions: Extensions::new(), body }
    }

    /// The head of a plain answer, unless its [`headers`](Self::headers) were needed.
    pub(crate) fn raw_head(&self) -> Option<&RawHead> {
        match &self.headers {
            Headers::Raw(raw_head) => Some(raw_head),
            Headers::Map(_) => None,
        }
    }

    /// Removes headers that are not for the client. A raw head has none of them.
    pub(crate) fn prepare(&mut self) {
        if let Headers::Map(map) = &mut self.headers {
            prepare_response(map, self.status);
        }
    }

    /// Its headers.
    pub(crate) fn headers(&mut self) -> &mut HeaderMap {
        if let Headers::Raw(raw_head) = &self.headers {
            self.headers = Headers::Map(raw_head.to_map());
        }
        match &mut self.headers {
            Headers::Map(map) => map,
            Headers::Raw(_) => unreachable!("the raw head was replaced by a map"),
        }
    }

    /// Whether its head has more than status and headers.
    pub(crate) fn has_extensions(&self) -> bool {
        !self.extensions.is_empty()
    }

    /// The same head with another body.
    pub(crate) fn map<C>(self, other: impl FnOnce(B) -> C) -> Answer<C> {
        let Self { status, headers, extensions, body } = self;
        Answer { status, headers, extensions, body: other(body) }
    }

    /// The answer as hyper has it.
    pub(crate) fn into_response(mut self) -> Response<B> {
        let headers = std::mem::take(self.headers());
        let mut response = Response::new(self.body);
        (*response.status_mut(), *response.headers_mut()) = (self.status, headers);
        *response.extensions_mut() = self.extensions;
        response
    }
}

/// Leaves out the version of HTTP, which concerns the connection to the endpoint only (RFC 9112, section 2.3).
impl<B> From<Response<B>> for Answer<B> {
    fn from(response: Response<B>) -> Self {
        let (response::Parts { status, headers, extensions, .. }, body) = response.into_parts();
        Self { status, headers: Headers::Map(headers), extensions, body }
    }
}
