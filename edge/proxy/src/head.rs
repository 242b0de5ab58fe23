//! The head of a request on its way to an endpoint.

use hyper::header::HeaderMap;
use hyper::http::request::Parts;
use hyper::{Method, Request, Uri};

use crate::body::RequestBody;

/// A request's head as endpoints get it, kept for sending it again.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
}

impl Head {
    pub(crate) fn new(parts: Parts) -> Self {
        Self { method: parts.method, uri: parts.uri, headers: parts.headers }
    }

    /// One such request, for somebody who takes it for his own.
    pub(crate) fn request(&self, body: RequestBody) -> Request<RequestBody> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}
