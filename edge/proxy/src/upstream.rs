//! Connections to endpoints, which carry requests and their responses.
//!
//! [`Upstream`] hides from the rest of the proxy whether an endpoint speaks HTTP/1.1 or HTTP/2.

pub(crate) mod http1;
mod http2;
mod socket;

use std::fmt::Debug;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use balance::Phase;
use bytes::Bytes;
use h2::{Reason, RecvStream};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::answer::Answer;
use crate::body::{BodyError, RequestBody};
use crate::head::Head;
use crate::timer::Timer;
use crate::worker::Worker;

pub(crate) use self::http1::Http1Connection;
pub(crate) use self::http2::{Http2Pool, Http2Sender, Http2Stream, unpooled_stream};
pub(crate) use self::socket::{ConnectError, SharedSocket};

/// Why there is no response.
#[derive(Debug, Error)]
pub(crate) enum SendError {
    #[error("the endpoint closed the connection before it answered")]
    Closed { phase: Phase },
    #[error("the connection failed before an answer was received")]
    Broken { phase: Phase, source: hyper::Error },
    #[error("the stream ended before an answer was received")]
    Reset { phase: Phase, source: h2::Error },
    #[error("the endpoint did not answer in time")]
    TimedOut,
    #[error("the endpoint does not accept WebSockets over HTTP/2")]
    NoWebSocket,
    #[error("the endpoint's response cannot be forwarded: {0:?}")]
    Defective(ResponseDefect),
}

/// Why a response that an endpoint has sent is not forwarded. Another endpoint is not tried: this one has processed the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResponseDefect {
    /// Its body has a transfer coding that the proxy does not decode.
    TransferCoding,
    /// Its head exceeds [`RESPONSE_HEAD_BYTES_MAX`](http1::RESPONSE_HEAD_BYTES_MAX), or hyper's limit of 100 headers.
    LargeHead,
    /// It breaks the rules of HTTP/2, or its head exceeds [`RESPONSE_HEAD_BYTES_MAX`](http1::RESPONSE_HEAD_BYTES_MAX): h2 reports both alike.
    NotHttp2,
}

impl ResponseDefect {
    /// The answer to the client.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::TransferCoding => "The endpoint's response has a transfer coding other than `chunked`.",
            Self::LargeHead => {
                "The head of the endpoint's response is too large: more than 64 KiB or 100 headers."
            }
            Self::NotHttp2 => {
                "The endpoint's response is not valid HTTP/2, or its head is larger than 64 KiB."
            }
        }
    }
}

/// The connection or stream of a request and its response.
#[derive(Debug)]
pub(crate) enum Upstream {
    /// An HTTP/1.1 connection, which its user has to drive.
    Http1(Box<Http1Connection>),
    /// A stream of an HTTP/2 connection.
    Http2(Http2Stream),
}

/// An [`Upstream`] that a request can be sent over at once.
#[derive(Debug)]
pub(crate) enum ReadyUpstream {
    Http1(Box<Http1Connection>),
    Http2(Http2Stream, Http2Sender),
}

impl ReadyUpstream {
    /// Sends a request and waits for the head of the response, at most until `timer` expires.
    pub(crate) async fn send(
        self,
        head: &Head,
        body: RequestBody,
        timer: &Timer,
        worker: &Worker,
    ) -> Result<(Answer<UpstreamBody>, Upstream), SendError> {
        match self {
            Self::Http1(mut connection) => {
                let answer = connection.send(head, body, timer).await?;
                Ok((answer, Upstream::Http1(connection)))
            }
            Self::Http2(mut stream, sender) => {
                // Boxed, so that requests over HTTP/1.1 do not pay for its size.
                let response = Box::pin(stream.send(sender, head.request(body), timer, worker)).await?;
                Ok((Answer::from(response).map(UpstreamBody::Http2), Upstream::Http2(stream)))
            }
        }
    }
}

impl Upstream {
    /// The HTTP/1.1 connection, if it is one.
    fn http1(&mut self) -> Option<&mut Http1Connection> {
        match self {
            Self::Http1(connection) => Some(connection),
            Self::Http2(_) => None,
        }
    }

    /// Lets an HTTP/1.1 connection read and write what it can; one of HTTP/2 has a task that does so.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        match self {
            Self::Http1(connection) => connection.drive(cx),
            Self::Http2(_) => {}
        }
    }

    /// Whether nothing more will be received over it.
    pub(crate) fn is_finished(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.is_finished(),
            // The end of the body shows that.
            Self::Http2(_) => false,
        }
    }

    /// The byte stream after an upgrade, and what was received over it already.
    pub(crate) fn into_stream(self, body: UpstreamBody) -> Option<(Box<dyn ByteStream>, Bytes)> {
        match (self, body) {
            (Self::Http1(connection), _) => {
                let (stream, buffered) = connection.into_stream()?;
                Some((Box::new(stream), buffered))
            }
            (Self::Http2(stream), UpstreamBody::Http2(recv)) => {
                Some((Box::new(stream.into_stream(recv)?), Bytes::new()))
            }
            (Self::Http2(_), UpstreamBody::Plain(_) | UpstreamBody::Http1(_)) => None,
        }
    }
}

/// The transport of a tunnel: a connection, or an HTTP/2 stream.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Unpin + Debug {}

impl<T: AsyncRead + AsyncWrite + Unpin + Debug> ByteStream for T {}

/// The body of an endpoint's response.
#[derive(Debug)]
pub(crate) enum UpstreamBody {
    /// This many further bytes of a [plain](crate::plain) connection.
    Plain(u64),
    Http1(Incoming),
    Http2(RecvStream),
}

impl UpstreamBody {
    /// The next frame of the body, which comes over `upstream`.
    pub(crate) fn poll_frame(
        &mut self,
        upstream: Option<&mut Upstream>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Plain(0) => Poll::Ready(None),
            Self::Plain(left) => {
                let Some(connection) = upstream.and_then(Upstream::http1) else {
                    return Poll::Ready(Some(Err(BodyError::Truncated)));
                };
                let piece = ready!(connection.poll_piece(cx));
                *left -= piece.as_ref().map_or(0, Bytes::len) as u64;
                Poll::Ready(Some(piece.map(Frame::data)))
            }
            Self::Http1(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(BodyError::Response))),
            Self::Http2(stream) => poll_stream(stream, cx),
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        match self {
            Self::Plain(left) => *left == 0,
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(stream) => stream.is_end_stream(),
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Plain(left) => SizeHint::with_exact(*left),
            Self::Http1(body) => body.size_hint(),
            // Its length, if known, is in the head.
            Self::Http2(_) => SizeHint::default(),
        }
    }
}

fn poll_stream(
    stream: &mut RecvStream,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
    if let Some(piece) = ready!(stream.poll_data(cx)) {
        match piece {
            Ok(piece) => {
                // Fails only for a closed stream, which needs no window.
                let _ = stream.flow_control().release_capacity(piece.len());
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            // The response is complete, and the rest of the request is not needed. Source: RFC 9113, section 8.1.
            Err(error) if is_no_error(&error) => {}
            Err(error) => return Poll::Ready(Some(Err(BodyError::Reset(error)))),
        }
    }
    Poll::Ready(match ready!(stream.poll_trailers(cx)) {
        Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
        Err(error) if is_no_error(&error) => None,
        Err(error) => Some(Err(BodyError::Reset(error))),
    })
}

/// Whether the peer has sent everything and does not need the rest of the request.
pub(crate) fn is_no_error(error: &h2::Error) -> bool {
    error.is_reset() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR)
}
