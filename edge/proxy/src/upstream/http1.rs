//! HTTP/1.1 connections to endpoints, each driven by the request that uses it.
//!
//! A connection begins as a [plain](crate::plain) one, and is handed over to hyper for a request or an answer that is not plain. After such a
//! request it is taken back with the next plain one. After such an answer it is taken back later, since the endpoint is likely to send more
//! of them.
//!
//! hyper's connection is a future that must be polled for its requests to make progress. It has no task of its own: the request that uses it
//! polls it, so that a response reaches the client's connection without a switch between tasks. Between requests it is not polled; what
//! happens in that time is noticed when it is used again.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use balance::Phase;
use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::header::CONTENT_LENGTH;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::answer::Answer;
use crate::body::{BodyError, RequestBody};
use crate::head::Head;
use crate::headers::has_unknown_coding;
use crate::plain::endpoint::{EndpointConnection, Received, is_plain};
use crate::proxy_protocol::{self, OutgoingHeader};
use crate::timer::Timer;
use crate::upstream::{ConnectError, SharedSocket};
use crate::upstream::{ResponseDefect, SendError, UpstreamBody};

mod handover;

#[cfg(test)]
mod tests;

use self::handover::HandoverSocket;

/// Bytes that the head of a response may have; a larger one is answered 502. nginx allows 4 to 8 KiB by default.
/// In HTTP/1.1 hyper also allows 100 headers at most.
pub(crate) const RESPONSE_HEAD_BYTES_MAX: usize = 64 * 1024;

/// The number of consecutive answers with a length after which a connection is taken back from hyper. A handover costs about as much as a
/// plain exchange saves, so one in nine exchanges is cheap.
const PLAIN_ANSWERS_MIN: u8 = 8;

/// An established connection.
#[derive(Debug)]
pub(crate) struct Http1Connection {
    codec: Codec,
    /// Answers with a length that are still missing before it is taken back from hyper.
    plain_answers_missing: u8,
    /// Whether nothing more can be received over it, and hyper must not be polled again.
    is_finished: bool,
    socket: SharedSocket,
    pub(crate) address: SocketAddr,
    /// The PROXY header that it began with: it carries requests only of the client that this names.
    pub(crate) proxy_header: Option<OutgoingHeader>,
    /// When it last became idle.
    pub(crate) idle_since: Instant,
}

/// What reads and writes messages on it: this proxy, or hyper.
#[derive(Debug)]
enum Codec {
    Plain(EndpointConnection),
    Hyper(Box<HyperConnection>),
}

/// hyper's two ends of a connection.
#[derive(Debug)]
struct HyperConnection {
    sender: SendRequest<RequestBody>,
    connection: Connection<TokioIo<HandoverSocket>, RequestBody>,
}

/// Why hyper returned no response.
enum NoResponse {
    TimedOut,
    Closed,
    Broken(hyper::Error),
}

impl Http1Connection {
    /// Connects to an endpoint within `timeout`, and sends it the PROXY header first if there is one to send.
    pub(crate) async fn connect(
        address: SocketAddr,
        timeout: Duration,
        proxy_header: Option<OutgoingHeader>,
    ) -> Result<Box<Self>, ConnectError> {
        let mut socket = SharedSocket::connect(address, timeout).await?;
        if let Some(OutgoingHeader { version, addresses }) = proxy_header {
            let header = proxy_protocol::encode(version, addresses);
            // The empty send buffer of a new socket has space for it.
            socket.write_all(&header).await.map_err(ConnectError::Refused)?;
        }
        let codec = Codec::Plain(EndpointConnection::new(socket.clone()));
        let idle_since = Instant::now();
        Ok(Box::new(Self {
            codec,
            plain_answers_missing: 0,
            is_finished: false,
            socket,
            address,
            proxy_header,
            idle_since,
        }))
    }

    /// Sends a request and waits for the head of the response, at most until `timer` expires.
    ///
    /// The phase of an error says how much of the request was sent. It is derived from the bytes that the socket took, and not from hyper,
    /// which counts a request as sent once it has begun to write it into its own buffer.
    pub(crate) async fn send(
        &mut self,
        head: &Head,
        body: RequestBody,
        timer: &Timer,
    ) -> Result<Answer<UpstreamBody>, SendError> {
        let before = (self.socket.sent(), self.socket.received());
        let is_plain = is_plain(head, &body);
        let was_sent = is_plain && self.make_plain();
        if was_sent {
            match self.send_plain(head, timer).await {
                Some(Ok(Received::Plain(answer))) => {
                    let body = UpstreamBody::Plain(answer.length);
                    return Ok(Answer::plain(answer, body));
                }
                Some(Ok(Received::NotPlain)) => self.plain_answers_missing = PLAIN_ANSWERS_MIN,
                Some(Err(_)) => {
                    self.is_finished = true;
                    return Err(SendError::Closed { phase: self.phase_since(before) });
                }
                None => return Err(SendError::TimedOut),
            }
        }
        let answered = match self.hand_to_hyper(was_sent).await {
            // Boxed, so that plain exchanges do not pay for its size.
            Ok(()) => Box::pin(self.send_with_hyper(head.request(body), was_sent, timer)).await,
            Err(error) => Err(NoResponse::Broken(error)),
        };
        match answered {
            // Without a body, a coding is what a response to GET would have had.
            Ok(response) if has_unknown_coding(response.headers()) && !response.body().is_end_stream() => {
                Err(SendError::Defective(ResponseDefect::TransferCoding))
            }
            Ok(response) => {
                if is_plain {
                    self.note_answer(&response);
                }
                Ok(Answer::from(response).map(UpstreamBody::Http1))
            }
            Err(NoResponse::Broken(source)) if source.is_parse_too_large() => {
                Err(SendError::Defective(ResponseDefect::LargeHead))
            }
            Err(NoResponse::Broken(source)) => {
                Err(SendError::Broken { phase: self.phase_since(before), source })
            }
            Err(NoResponse::Closed) => Err(SendError::Closed { phase: self.phase_since(before) }),
            Err(NoResponse::TimedOut) => Err(SendError::TimedOut),
        }
    }

    /// Takes the connection back from hyper if necessary; `false` if it cannot be taken back now.
    fn make_plain(&mut self) -> bool {
        let hyper = match &mut self.codec {
            Codec::Plain(_) => return true,
            Codec::Hyper(hyper) if self.plain_answers_missing == 0 && hyper.sender.is_ready() => hyper,
            Codec::Hyper(_) => return false,
        };
        // Lets hyper read first: only that shows whether the endpoint has sent something without a request.
        hyper.drive(&mut self.is_finished, &mut noop_context());
        if self.is_finished {
            return false;
        }
        self.codec = Codec::Plain(EndpointConnection::new(self.socket.clone()));
        true
    }

    /// Sends a plain request over a plain connection; `None` when it times out.
    async fn send_plain(&mut self, head: &Head, timer: &Timer) -> Option<io::Result<Received>> {
        let Codec::Plain(plain) = &mut self.codec else { return Some(Ok(Received::NotPlain)) };
        if plain.has_input(&mut noop_context()) {
            return Some(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        plain.begin_request(head);
        within(timer, |cx| plain.poll_answer(cx)).await
    }

    /// Hands the connection over to hyper. With `was_sent` the next request was sent already: what hyper writes of it is discarded, and hyper
    /// reads the answer.
    async fn hand_to_hyper(&mut self, was_sent: bool) -> hyper::Result<()> {
        if let Codec::Plain(plain) = &mut self.codec {
            let handover = HandoverSocket::new(self.socket.clone(), plain.take_buffered(), was_sent);
            self.codec = Codec::Hyper(Box::new(HyperConnection::new(handover).await?));
        }
        Ok(())
    }

    /// As [`send`](Self::send), over a connection that hyper has.
    async fn send_with_hyper(
        &mut self,
        request: Request<RequestBody>,
        was_sent: bool,
        timer: &Timer,
    ) -> Result<Response<Incoming>, NoResponse> {
        let Codec::Hyper(hyper) = &mut self.codec else { return Err(NoResponse::Closed) };
        let is_whole = request.body().is_end_stream();
        let mut answer = pin!(hyper.sender.send_request(request));
        let (connection, is_finished) = (&mut hyper.connection, &mut self.is_finished);
        let mut poll_driven = |cx: &mut Context<'_>| {
            drive(connection, is_finished, cx);
            // The answer comes from the connection, which is driven right here, so that no waker is needed.
            match answer.as_mut().poll(&mut noop_context()) {
                Poll::Ready(answer) => Poll::Ready(answer.map_err(NoResponse::Broken)),
                Poll::Pending if *is_finished => Poll::Ready(Err(NoResponse::Closed)),
                Poll::Pending => Poll::Pending,
            }
        };
        if was_sent && let Poll::Ready(answered) = poll_driven(&mut noop_context()) {
            return answered;
        }
        let mut was_polled = false;
        within(timer, |cx| {
            // A task that was woken mostly finds its answer. Polling without a waker first leaves none behind in the connection, which would
            // wake this task for the next request over it.
            let mut answered = if was_polled { poll_driven(&mut noop_context()) } else { Poll::Pending };
            if answered.is_pending() {
                answered = poll_driven(cx);
            }
            // Not while a body is sent: each of its pieces wakes the task as well, and brings no answer.
            was_polled = is_whole;
            answered
        })
        .await
        .unwrap_or(Err(NoResponse::TimedOut))
    }

    /// Counts answers of hyper to plain requests that look plain, as the next ones are then likely to be.
    fn note_answer(&mut self, response: &Response<Incoming>) {
        let has_length = response.headers().contains_key(CONTENT_LENGTH);
        let is_plain = has_length && response.status() != StatusCode::NOT_MODIFIED;
        self.plain_answers_missing =
            if is_plain { self.plain_answers_missing.saturating_sub(1) } else { PLAIN_ANSWERS_MIN };
    }

    /// How far an exchange has got, given the bytes that were sent and received before it.
    fn phase_since(&self, (sent, received): (u64, u64)) -> Phase {
        if self.socket.sent() == sent {
            // What was received may announce that the endpoint closes an idle connection, such as a 408.
            Phase::Unsent
        } else if self.socket.received() == received {
            Phase::AwaitingResponse
        } else {
            Phase::Responding
        }
    }

    /// The next piece of the body of a plain answer.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, BodyError>> {
        let Codec::Plain(plain) = &mut self.codec else { return Poll::Ready(Err(BodyError::Truncated)) };
        let piece = ready!(plain.poll_piece(cx)).ok().flatten();
        self.is_finished |= piece.is_none();
        Poll::Ready(piece.ok_or(BodyError::Truncated))
    }

    /// Lets hyper read and write what it can. A plain connection does so whenever it is polled.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Codec::Hyper(hyper) = &mut self.codec {
            hyper.drive(&mut self.is_finished, cx);
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Whether the exchange is over and the connection can take another.
    pub(crate) fn is_reusable(&self) -> bool {
        !self.is_finished
            && match &self.codec {
                Codec::Plain(plain) => plain.is_idle(),
                Codec::Hyper(hyper) => hyper.sender.is_ready(),
            }
    }

    /// Whether an idle connection is still open, as far as the runtime knows.
    pub(crate) fn is_open_when_idle(&mut self) -> bool {
        match &mut self.codec {
            Codec::Plain(plain) => self.is_finished |= plain.has_input(&mut noop_context()),
            Codec::Hyper(hyper) => hyper.drive(&mut self.is_finished, &mut noop_context()),
        }
        self.is_reusable()
    }

    /// Asks the system whether the endpoint has closed the connection or sent something without a request: one system call, for requests that
    /// must not be sent twice.
    pub(crate) fn has_unexpected_input(&self) -> bool {
        self.socket.has_input()
    }

    /// Takes the socket back after an upgrade, with what was read after the head of the response.
    /// `None` if hyper still holds it, which it does not after a response with status 101.
    pub(crate) fn into_stream(self) -> Option<(TcpStream, Bytes)> {
        let Self { codec: Codec::Hyper(hyper), socket, .. } = self else { return None };
        let HyperConnection { sender, connection } = *hyper;
        drop(sender);
        let parts = connection.into_parts();
        let buffered = parts.io.into_inner().into_buffered();
        let buffered =
            if buffered.is_empty() { parts.read_buf } else { [parts.read_buf, buffered].concat().into() };
        Some((socket.into_stream()?, buffered))
    }
}

impl HyperConnection {
    async fn new(handover: HandoverSocket) -> hyper::Result<Self> {
        let mut builder = Builder::new();
        builder.max_header_size(RESPONSE_HEAD_BYTES_MAX);
        let (sender, connection) = builder.handshake(TokioIo::new(handover)).await?;
        Ok(Self { sender, connection })
    }

    fn drive(&mut self, is_finished: &mut bool, cx: &mut Context<'_>) {
        drive(&mut self.connection, is_finished, cx);
    }
}

/// Polls until it is ready; `None` when `timer` expires first.
async fn within<T>(timer: &Timer, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    poll_fn(|cx| match poll(cx) {
        Poll::Pending if timer.take_expired() => Poll::Ready(None),
        polled => polled.map(Some),
    })
    .await
}

/// A context for polls that need no waker.
fn noop_context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn drive(
    connection: &mut Connection<TokioIo<HandoverSocket>, RequestBody>,
    is_finished: &mut bool,
    cx: &mut Context<'_>,
) {
    if !*is_finished {
        // An error reaches the task that waits for the response or its body.
        *is_finished = connection.poll_without_shutdown(cx).is_ready();
    }
}
