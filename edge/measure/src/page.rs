//! Requests one page over HTTP or HTTPS.

use std::pin::pin;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, LOCATION, USER_AGENT,
};
use hyper::http::uri::{InvalidUri, Scheme};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use model::resource::ClientTls;

use crate::dial::dial;
use crate::failure::{ANSWER_BYTES_MAX, Failure, sentence};
use crate::secret::secret;

/// The most bytes of the head of an answer: twice what common servers allow.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// A request for a page.
pub(crate) struct PageRequest<'a> {
    pub(crate) uri: Uri,
    /// The trusted authorities, and the client certificate.
    pub(crate) tls: Option<&'a ClientTls>,
    /// The accepted media types.
    pub(crate) accept: &'static str,
    /// The file with a bearer token.
    pub(crate) token_file: Option<&'a str>,
}

/// The answer.
pub(crate) struct Page {
    /// Its URL without the query, which may contain a secret.
    pub(crate) url: String,
    pub(crate) status: StatusCode,
    /// Its `Content-Type`, in lower case; empty when there is none.
    pub(crate) media: String,
    pub(crate) body: Bytes,
}

/// Parses a URL.
pub(crate) fn uri(url: &str) -> Result<Uri, Failure> {
    url.parse().map_err(|error: InvalidUri| Failure::Broken { url: url.to_owned(), why: error.to_string() })
}

impl Page {
    /// Its media type in brackets, for error messages.
    pub(crate) fn media_in_brackets(&self) -> String {
        if self.media.is_empty() { String::new() } else { format!(" ({})", self.media) }
    }

    /// The page, if its status is a success.
    pub(crate) fn good(self) -> Result<Self, Failure> {
        if self.status.is_success() {
            return Ok(self);
        }
        Err(Failure::Status { url: self.url, status: self.status.as_u16(), why: String::new() })
    }

    pub(crate) fn text(&self) -> Result<&str, Failure> {
        std::str::from_utf8(&self.body).map_err(|_| Failure::NoText { what: self.url.clone() })
    }
}

/// Requests a page; a redirect is a failure. The caller limits how long this may take.
pub(crate) async fn get(request: PageRequest<'_>) -> Result<Page, Failure> {
    let PageRequest { uri, tls, accept, token_file } = request;
    let (scheme, usual) = if uri.scheme() == Some(&Scheme::HTTPS) { ("https", 443) } else { ("http", 80) };
    let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(usual));
    let authority = format!("{host}:{port}");
    let url = format!("{scheme}://{authority}{}", uri.path());
    let target = uri.path_and_query().map_or("/", |it| it.as_str());
    let broken = |error: &dyn std::error::Error| Failure::Broken { url: url.clone(), why: sentence(error) };
    let mut request = Request::get(target)
        .header(HOST, uri.authority().map_or(authority.as_str(), |it| it.as_str()))
        .header(USER_AGENT, "homeostat")
        .header(ACCEPT, accept)
        .header(CONNECTION, "close");
    if let Some(file) = token_file {
        request = request.header(AUTHORIZATION, bearer(file).await?);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| broken(&error))?;
    let by_default = ClientTls::default();
    let tls = (scheme == "https").then(|| tls.unwrap_or(&by_default));
    let stream = dial(host, port, tls).await?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let (head, body) = response.into_parts();
        let text =
            |name| head.headers.get(name).and_then(|it: &HeaderValue| it.to_str().ok()).unwrap_or_default();
        if head.status.is_redirection() {
            return Err(Failure::Redirected { url: url.clone(), to: text(LOCATION).to_owned() });
        }
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Failure::TooLong { what: url.clone() }
            } else {
                Failure::Broken { url: url.clone(), why: sentence(&*error) }
            }
        })?;
        let media = text(CONTENT_TYPE).to_ascii_lowercase();
        Ok(Page { url: url.clone(), status: head.status, media, body: body.to_bytes() })
    };
    // The connection may end just as it delivers the answer, which is available all the same.
    match select(pin!(exchange), pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, exchange)) => exchange.await,
    }
}

/// The token in `file` as a header value, marked as sensitive so that no log shows it.
async fn bearer(file: &str) -> Result<HeaderValue, Failure> {
    let token = secret(file, "token").await?;
    let wrong = || Failure::File {
        file: file.to_owned(),
        what: "token",
        why: "it contains characters that a header may not contain".to_owned(),
    };
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| wrong())?;
    value.set_sensitive(true);
    Ok(value)
}
