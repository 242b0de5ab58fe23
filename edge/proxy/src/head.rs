//! The head of a request to an endpoint.

use std::ops::{Deref, DerefMut};

use hyper::Request;
use hyper::http::request::Parts;

use crate::body::RequestBody;

/// A request's head as endpoints get it, kept so that it can be sent again.
///
/// Boxed, because it is moved often on its way through the attempts.
#[derive(Debug, Clone)]
pub(crate) struct Head(Box<Parts>);

impl Head {
    pub(crate) fn new(parts: Box<Parts>) -> Self {
        Self(parts)
    }

    /// A request with a copy of this head.
    pub(crate) fn request(&self, body: RequestBody) -> Request<RequestBody> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

impl Deref for Head {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl DerefMut for Head {
    fn deref_mut(&mut self) -> &mut Parts {
        &mut self.0
    }
}
