//! One connection to an endpoint, driven by whoever uses it.
//!
//! It begins as a [plain](crate::plain) one, and is handed over to hyper for a request or an answer that is not plain. After such a request it is
//! taken back with the next plain one. After such an answer it is taken back later, since the endpoint is likely to give more of them.
//!
//! hyper's connection is a future that must be polled for its requests to move. It is not given a task of its own:
//! the request that uses it polls it, so that a response reaches the client's connection without a hand-over between
//! tasks. Between requests nobody polls it; what happened meanwhile shows when it is taken up again.

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
use crate::line::{Inbound, SendError};
use crate::plain::endpoint::{Came, EndpointConnection, is_plain};
use crate::preamble::{self, Ends, Introduction};
use crate::timer::Timer;
use crate::wire::{ConnectError, Wire};

mod taken;

#[cfg(test)]
mod tests;

use self::taken::Taken;

/// Bytes that the head of a response may have; a larger one counts as malformed. nginx allows 4 to 8 KiB by default.
pub(crate) const RESPONSE_HEAD_BYTES_MAX: usize = 64 * 1024;

/// Answers with a length, in a row, after which a connection is taken back from hyper. A hand-over costs about as much as a plain exchange saves,
/// so one in nine exchanges is cheap.
const SETTLED: u8 = 8;

/// An established connection.
#[derive(Debug)]
pub(crate) struct Link {
    way: Way,
    /// How many such answers are still missing.
    unsettled: u8,
    /// Nothing more will come over it, and hyper must not be polled again.
    is_finished: bool,
    wire: Wire,
    pub(crate) address: SocketAddr,
    /// The client whose requests alone it carries, if the endpoint was told its address.
    told: Option<Ends>,
    /// When it was last put aside.
    pub(crate) idle_since: Instant,
}

/// What reads and writes it: we, or hyper.
#[derive(Debug)]
enum Way {
    Plain(EndpointConnection),
    Hyper(Box<Both>),
}

/// hyper's two ends of a connection.
#[derive(Debug)]
struct Both {
    sender: SendRequest<RequestBody>,
    connection: Connection<TokioIo<Taken>, RequestBody>,
}

/// Why hyper brought no answer.
enum Unanswered {
    TimedOut,
    Closed,
    Broken(hyper::Error),
}

impl Link {
    /// Connects to an endpoint within `timeout`, and sends it the PROXY header if there is an `introduction`.
    pub(crate) async fn connect(
        address: SocketAddr,
        timeout: Duration,
        introduction: Option<Introduction>,
    ) -> Result<Box<Self>, ConnectError> {
        let mut wire = Wire::connect(address, timeout).await?;
        if let Some(Introduction { version, ends }) = introduction {
            let header = preamble::header(version, ends);
            // A new socket has room for it.
            wire.write_all(&header).await.map_err(ConnectError::Refused)?;
        }
        let way = Way::Plain(EndpointConnection::new(wire.clone()));
        let idle_since = Instant::now();
        let told = introduction.and_then(|introduction| introduction.ends);
        Ok(Box::new(Self { way, unsettled: 0, is_finished: false, wire, address, told, idle_since }))
    }

    /// Whether it may carry requests of this client.
    pub(crate) fn is_for(&self, ends: Option<Ends>) -> bool {
        self.told == ends
    }

    /// Sends a request and waits for the head of the response; `timer` says when that took too long.
    ///
    /// On an error the phase tells how much of the request was sent. It is derived from the bytes that the socket took, and not from hyper,
    /// which counts a request as sent once it has begun to write it into its own buffer.
    pub(crate) async fn send(
        &mut self,
        head: &Head,
        body: RequestBody,
        timer: &Timer,
    ) -> Result<Answer<Inbound>, SendError> {
        let before = (self.wire.sent(), self.wire.received());
        let is_plain = is_plain(head, &body);
        let has_asked = is_plain && self.becomes_plain();
        if has_asked {
            match self.send_plainly(head, timer).await {
                Some(Ok(Came::Answer(told))) => {
                    let body = Inbound::Plain(told.length);
                    return Ok(Answer::told(told, body));
                }
                Some(Ok(Came::Other)) => self.unsettled = SETTLED,
                Some(Err(_)) => {
                    self.is_finished = true;
                    return Err(SendError::Closed { phase: self.phase_since(before) });
                }
                None => return Err(SendError::TimedOut),
            }
        }
        let answered = match self.hand_over(has_asked).await {
            // Boxed, so that plain exchanges are not the larger for it.
            Ok(()) => Box::pin(self.send_by_hyper(head.request(body), has_asked, timer)).await,
            Err(error) => Err(Unanswered::Broken(error)),
        };
        match answered {
            Ok(response) => {
                if is_plain {
                    self.settle(&response);
                }
                Ok(Answer::from(response).map(Inbound::Http1))
            }
            Err(Unanswered::Broken(source)) => {
                Err(SendError::Broken { phase: self.phase_since(before), source })
            }
            Err(Unanswered::Closed) => Err(SendError::Closed { phase: self.phase_since(before) }),
            Err(Unanswered::TimedOut) => Err(SendError::TimedOut),
        }
    }

    /// Makes it plain if it is not and can be; `false` if it cannot.
    fn becomes_plain(&mut self) -> bool {
        let both = match &mut self.way {
            Way::Plain(_) => return true,
            Way::Hyper(both) if self.unsettled == 0 && both.sender.is_ready() => both,
            Way::Hyper(_) => return false,
        };
        // Lets hyper read first: only that shows whether something came unasked.
        both.drive(&mut self.is_finished, &mut nobody());
        if self.is_finished {
            return false;
        }
        self.way = Way::Plain(EndpointConnection::new(self.wire.clone()));
        true
    }

    /// Sends a plain request over a plain connection; `None` when it takes too long.
    async fn send_plainly(&mut self, head: &Head, timer: &Timer) -> Option<io::Result<Came>> {
        let Way::Plain(plain) = &mut self.way else { return Some(Ok(Came::Other)) };
        if plain.has_news(&mut nobody()) {
            return Some(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        plain.begin_request(head);
        within(timer, |cx| plain.poll_answer(cx)).await
    }

    /// Hands it over to hyper. With `has_asked` the next request was sent already: hyper only believes that it sends it, and reads the answer.
    async fn hand_over(&mut self, has_asked: bool) -> hyper::Result<()> {
        if let Way::Plain(plain) = &mut self.way {
            let taken = Taken::new(self.wire.clone(), plain.take_heard(), has_asked);
            self.way = Way::Hyper(Box::new(Both::new(taken).await?));
        }
        Ok(())
    }

    /// As [`send`](Self::send), over a connection that hyper has.
    async fn send_by_hyper(
        &mut self,
        request: Request<RequestBody>,
        has_asked: bool,
        timer: &Timer,
    ) -> Result<Response<Incoming>, Unanswered> {
        let Way::Hyper(both) = &mut self.way else { return Err(Unanswered::Closed) };
        let is_whole = request.body().is_end_stream();
        let mut answer = pin!(both.sender.send_request(request));
        let (connection, is_finished) = (&mut both.connection, &mut self.is_finished);
        let mut driven = |cx: &mut Context<'_>| {
            drive(connection, is_finished, cx);
            // The answer comes from the connection, which is driven right here: it need not wake anybody.
            match answer.as_mut().poll(&mut nobody()) {
                Poll::Ready(answer) => Poll::Ready(answer.map_err(Unanswered::Broken)),
                Poll::Pending if *is_finished => Poll::Ready(Err(Unanswered::Closed)),
                Poll::Pending => Poll::Pending,
            }
        };
        if has_asked && let Poll::Ready(answered) = driven(&mut nobody()) {
            return answered;
        }
        let mut is_awaited = false;
        within(timer, |cx| {
            // A task that was woken mostly finds its answer. Polling without a waker first leaves none behind in the connection, which would
            // wake this client for the next request over it.
            let mut answered = if is_awaited { driven(&mut nobody()) } else { Poll::Pending };
            if answered.is_pending() {
                answered = driven(cx);
            }
            // Not while a body is sent: each of its pieces wakes as well, and brings no answer.
            is_awaited = is_whole;
            answered
        })
        .await
        .unwrap_or(Err(Unanswered::TimedOut))
    }

    /// Notes whether an answer to a plain request was likely plain, which the next ones then are, too.
    fn settle(&mut self, response: &Response<Incoming>) {
        let has_length = response.headers().contains_key(CONTENT_LENGTH);
        let is_settled = has_length && response.status() != StatusCode::NOT_MODIFIED;
        self.unsettled = if is_settled { self.unsettled.saturating_sub(1) } else { SETTLED };
    }

    /// How far an exchange has come, given the bytes that were sent and received before it.
    fn phase_since(&self, (sent, received): (u64, u64)) -> Phase {
        if self.wire.received() != received {
            Phase::Responding
        } else if self.wire.sent() != sent {
            Phase::AwaitingResponse
        } else {
            Phase::Unsent
        }
    }

    /// The next piece of the body of a plain answer.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, BodyError>> {
        let Way::Plain(plain) = &mut self.way else { return Poll::Ready(Err(BodyError::Truncated)) };
        let piece = ready!(plain.poll_piece(cx)).ok().flatten();
        self.is_finished |= piece.is_none();
        Poll::Ready(piece.ok_or(BodyError::Truncated))
    }

    /// Lets hyper read and write what it can. A plain connection does so when it is polled.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Way::Hyper(both) = &mut self.way {
            both.drive(&mut self.is_finished, cx);
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Whether the exchange is over and the connection can take another.
    pub(crate) fn is_reusable(&self) -> bool {
        !self.is_finished
            && match &self.way {
                Way::Plain(plain) => plain.is_idle(),
                Way::Hyper(both) => both.sender.is_ready(),
            }
    }

    /// Whether a connection that nobody uses is still open, as far as the runtime knows.
    pub(crate) fn is_open_when_idle(&mut self) -> bool {
        match &mut self.way {
            Way::Plain(plain) => self.is_finished |= plain.has_news(&mut nobody()),
            Way::Hyper(both) => both.drive(&mut self.is_finished, &mut nobody()),
        }
        self.is_reusable()
    }

    /// Asks the system whether the endpoint has closed the connection or sent something unasked. It is one system call, for requests that
    /// could not be repeated.
    pub(crate) fn is_closed_by_peer(&self) -> bool {
        self.wire.has_news()
    }

    /// Takes the socket back after an upgrade, with what was read beyond the response's head.
    /// `None` if hyper still holds it, which it does not after a response with status 101.
    pub(crate) fn into_stream(self) -> Option<(TcpStream, Bytes)> {
        let Self { way: Way::Hyper(both), wire, .. } = self else { return None };
        let Both { sender, connection } = *both;
        drop(sender);
        let parts = connection.into_parts();
        let heard = parts.io.into_inner().into_heard();
        let heard = if heard.is_empty() { parts.read_buf } else { [parts.read_buf, heard].concat().into() };
        Some((wire.into_stream()?, heard))
    }
}

impl Both {
    async fn new(taken: Taken) -> hyper::Result<Self> {
        let mut builder = Builder::new();
        builder.max_header_size(RESPONSE_HEAD_BYTES_MAX);
        let (sender, connection) = builder.handshake(TokioIo::new(taken)).await?;
        Ok(Self { sender, connection })
    }

    fn drive(&mut self, is_finished: &mut bool, cx: &mut Context<'_>) {
        drive(&mut self.connection, is_finished, cx);
    }
}

/// Polls until it is ready; `None` when `timer` says that it took too long.
async fn within<T>(timer: &Timer, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    poll_fn(|cx| match poll(cx) {
        Poll::Pending if timer.take_expired() => Poll::Ready(None),
        polled => polled.map(Some),
    })
    .await
}

/// For polls that are to wake nobody.
fn nobody() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn drive(
    connection: &mut Connection<TokioIo<Taken>, RequestBody>,
    is_finished: &mut bool,
    cx: &mut Context<'_>,
) {
    if !*is_finished {
        // An error reaches whoever waits for the response or its body.
        *is_finished = connection.poll_without_shutdown(cx).is_ready();
    }
}
