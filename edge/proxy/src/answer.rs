//! The answer to a request, on its way from an endpoint to the client.
//!
//! Most answers are passed on as they are. So the head of a [plain](crate::plain) one stays the bytes that came, until somebody asks for its
//! headers by name.

use hyper::header::HeaderMap;
use hyper::http::{Extensions, response};
use hyper::{Response, StatusCode};

use crate::headers::prepare_response;
use crate::plain::heads::{Lines, Told};

/// The head of an answer, and what stands for its body.
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
    /// As they came.
    Lines(Lines),
    Map(HeaderMap),
}

impl<B> Answer<B> {
    /// A plain answer.
    pub(crate) fn told(told: Told, body: B) -> Self {
        let Told { status, lines, .. } = told;
        Self { status, headers: Headers::Lines(lines), extensions: Extensions::new(), body }
    }

    /// The head of a plain answer, as long as nobody has asked for its headers.
    pub(crate) fn lines(&self) -> Option<&Lines> {
        match &self.headers {
            Headers::Lines(lines) => Some(lines),
            Headers::Map(_) => None,
        }
    }

    /// Takes out of the headers what is not for the client. Lines have been rid of it when they were read.
    pub(crate) fn prepare(&mut self) {
        if let Headers::Map(map) = &mut self.headers {
            prepare_response(map, self.status);
        }
    }

    /// Its headers.
    pub(crate) fn headers(&mut self) -> &mut HeaderMap {
        if let Headers::Lines(lines) = &self.headers {
            self.headers = Headers::Map(lines.to_map());
        }
        match &mut self.headers {
            Headers::Map(map) => map,
            Headers::Lines(_) => unreachable!("the lines were made a map"),
        }
    }

    /// Whether there is more to its head than status and headers.
    pub(crate) fn has_extensions(&self) -> bool {
        !self.extensions.is_empty()
    }

    /// The same head with what stands for another body.
    pub(crate) fn map<C>(self, other: impl FnOnce(B) -> C) -> Answer<C> {
        let Self { status, headers, extensions, body } = self;
        Answer { status, headers, extensions, body: other(body) }
    }

    /// The same for hyper.
    pub(crate) fn into_response(mut self) -> Response<B> {
        let headers = std::mem::take(self.headers());
        let mut response = Response::new(self.body);
        (*response.status_mut(), *response.headers_mut()) = (self.status, headers);
        *response.extensions_mut() = self.extensions;
        response
    }
}

/// Which HTTP an endpoint speaks is between it and us, and left out (RFC 9112, section 2.3).
impl<B> From<Response<B>> for Answer<B> {
    fn from(response: Response<B>) -> Self {
        let (response::Parts { status, headers, extensions, .. }, body) = response.into_parts();
        Self { status, headers: Headers::Map(headers), extensions, body }
    }
}
