//! What carries a request to its endpoint and the response back: a connection of its own, or a lane of a shared one.
//!
//! A line hides from the rest of the proxy whether an endpoint speaks HTTP/1.1 or HTTP/2.

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
use crate::link::Link;
use crate::timer::Timer;
use crate::trunk::{Lane, OpenTrunk};
use crate::worker::Worker;

/// Why no response came.
#[derive(Debug, Error)]
pub(crate) enum SendError {
    #[error("the endpoint closed the connection before it answered")]
    Closed { phase: Phase },
    #[error("the connection broke before an answer came")]
    Broken { phase: Phase, source: hyper::Error },
    #[error("the stream ended before an answer came")]
    Reset { phase: Phase, source: h2::Error },
    #[error("the endpoint did not answer in time")]
    TimedOut,
    #[error("the endpoint takes no WebSockets over HTTP/2")]
    NoTunnel,
}

/// What a request was sent over and its response comes by.
#[derive(Debug)]
pub(crate) enum Line {
    /// A connection of HTTP/1.1, which its user has to drive.
    Http1(Box<Link>),
    /// A lane of a connection of HTTP/2.
    Http2(Lane),
}

/// A line that a request can be sent over at once.
#[derive(Debug)]
pub(crate) enum ReadyLine {
    Http1(Box<Link>),
    Http2(Lane, OpenTrunk),
}

impl ReadyLine {
    /// Sends a request and waits for the head of the response; `timer` says when that took too long.
    pub(crate) async fn send(
        self,
        head: &Head,
        body: RequestBody,
        timer: &Timer,
        worker: &Worker,
    ) -> Result<(Answer<Inbound>, Line), SendError> {
        match self {
            Self::Http1(mut link) => {
                let answer = link.send(head, body, timer).await?;
                Ok((answer, Line::Http1(link)))
            }
            Self::Http2(mut lane, trunk) => {
                // Boxed, so that requests over HTTP/1.1 are not the larger for it.
                let response = Box::pin(lane.send(trunk, head.request(body), timer, worker)).await?;
                Ok((Answer::from(response).map(Inbound::Http2), Line::Http2(lane)))
            }
        }
    }
}

impl Line {
    /// The connection, if it is not a shared one.
    fn link(&mut self) -> Option<&mut Link> {
        match self {
            Self::Http1(link) => Some(link),
            Self::Http2(_) => None,
        }
    }

    /// Lets it read and write what it can, unless it does so by itself.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        match self {
            Self::Http1(link) => link.drive(cx),
            Self::Http2(_) => {}
        }
    }

    /// Whether nothing more will come over it.
    pub(crate) fn is_finished(&self) -> bool {
        match self {
            Self::Http1(link) => link.is_finished(),
            // The body tells its end.
            Self::Http2(_) => false,
        }
    }

    /// The carrier of the new protocol after an upgrade, and what has come over it already.
    pub(crate) fn into_stream(self, body: Inbound) -> Option<(Box<dyn Carrier>, Bytes)> {
        match (self, body) {
            (Self::Http1(link), _) => {
                let (stream, heard) = link.into_stream()?;
                Some((Box::new(stream), heard))
            }
            (Self::Http2(lane), Inbound::Http2(recv)) => {
                Some((Box::new(lane.into_stream(recv)?), Bytes::new()))
            }
            (Self::Http2(_), Inbound::Plain(_) | Inbound::Http1(_)) => None,
        }
    }
}

/// What carries the bytes of a tunnel: a connection, or a stream of one.
pub(crate) trait Carrier: AsyncRead + AsyncWrite + Unpin + Debug {}

impl<T: AsyncRead + AsyncWrite + Unpin + Debug> Carrier for T {}

/// The body of an endpoint's response.
#[derive(Debug)]
pub(crate) enum Inbound {
    /// So many further bytes of a [plain](crate::plain) connection.
    Plain(u64),
    Http1(Incoming),
    Http2(RecvStream),
}

impl Inbound {
    /// The next piece of it; `line` is what it comes over.
    pub(crate) fn poll_frame(
        &mut self,
        line: Option<&mut Line>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Plain(0) => Poll::Ready(None),
            Self::Plain(left) => {
                let Some(link) = line.and_then(Line::link) else {
                    return Poll::Ready(Some(Err(BodyError::Truncated)));
                };
                let piece = ready!(link.poll_piece(cx));
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
                // Fails only for a stream that has been closed, and then nobody waits for room.
                let _ = stream.flow_control().release_capacity(piece.len());
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            // The response is whole, and the rest of the request is not wanted. Source: RFC 9113, section 8.1.
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

/// Whether the other side has sent everything and wants nothing more.
pub(crate) fn is_no_error(error: &h2::Error) -> bool {
    error.is_reset() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR)
}
