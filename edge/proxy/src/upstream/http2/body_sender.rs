//! Sends the body of a request as fast as the endpoint reads it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use hyper::body::Body;

use crate::body::RequestBody;

/// A body being sent; the future is ready when nothing is left to send.
#[derive(Debug)]
pub(super) struct BodySender {
    stream: SendStream<Bytes>,
    body: RequestBody,
    /// A piece that waits for capacity in the endpoint's window.
    piece: Option<Bytes>,
}

/// How sending a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// It was sent completely, or the endpoint does not need the rest.
    Done,
    /// The client's body ended prematurely; the stream was reset.
    Broken,
}

impl BodySender {
    pub(super) fn new(stream: SendStream<Bytes>, body: RequestBody) -> Self {
        Self { stream, body, piece: None }
    }

    /// Sends the waiting piece once there is capacity for some of it. `Err` when the endpoint does not need the rest.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        if self.piece.is_none() {
            return Poll::Ready(Ok(()));
        }
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(window) => drop(window?),
                None => return Poll::Ready(Err(Reason::STREAM_CLOSED.into())),
            }
        }
        let piece = self.piece.take().unwrap_or_default();
        Poll::Ready(self.stream.send_data(piece, self.body.is_end_stream()))
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<Sent, h2::Error>> {
        loop {
            ready!(self.poll_piece(cx))?;
            if self.body.is_end_stream() {
                return Poll::Ready(Ok(Sent::Done));
            }
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(_)) => {
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Ok(Sent::Broken));
                }
                None => {
                    self.stream.send_data(Bytes::new(), true)?;
                    return Poll::Ready(Ok(Sent::Done));
                }
            };
            match frame.into_data() {
                // Endpoints count empty frames, which floods are made of; a hundred may end the connection.
                Ok(piece) if piece.is_empty() && self.body.is_end_stream() => {
                    self.stream.send_data(piece, true)?;
                }
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => {
                    // Any value works: h2 raises it to the length of the sent data.
                    self.stream.reserve_capacity(1);
                    self.piece = Some(piece);
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        self.stream.reserve_capacity(0);
                        self.stream.send_trailers(trailers)?;
                        return Poll::Ready(Ok(Sent::Done));
                    }
                }
            }
        }
    }
}

impl Future for BodySender {
    type Output = Sent;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Sent> {
        // An endpoint that does not need the rest has the reason in its response, or in the error instead.
        self.get_mut().poll_sent(cx).map(|sent| sent.unwrap_or(Sent::Done))
    }
}
