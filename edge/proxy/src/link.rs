//! One connection to an endpoint, driven by whoever uses it.
//!
//! hyper's connection is a future that must be polled for its requests to move. It is not given a task of its own:
//! the request that uses it polls it, so that a response reaches the client's connection without a hand-over between
//! tasks. Between requests nobody polls it; what happened meanwhile shows when it is taken up again.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use balance::Phase;
use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::body::RequestBody;
use crate::hand::Hand;
use crate::line::SendError;
use crate::preamble::{self, Ends, Introduction};
use crate::wire::{ConnectError, Wire};

/// Bytes of a response's head at most; a larger one counts as malformed. nginx allows 4 to 8 KiB by default.
pub(crate) const RESPONSE_HEAD_BYTES_MAX: usize = 64 * 1024;

/// An established connection and hyper's two ends of it.
#[derive(Debug)]
pub(crate) struct Link {
    sender: SendRequest<RequestBody>,
    connection: Connection<TokioIo<Wire>, RequestBody>,
    /// hyper is done with the connection; it must not be polled again.
    is_finished: bool,
    wire: Wire,
    pub(crate) address: SocketAddr,
    /// Whose requests it carries, where the endpoint was told.
    told: Option<Ends>,
    /// When it was last put aside.
    pub(crate) idle_since: Instant,
}

impl Link {
    /// Connects to an endpoint within `timeout`; where it wants to be told whose the connection is, that is said first.
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
        let (sender, connection) = Builder::new()
            .max_header_size(RESPONSE_HEAD_BYTES_MAX)
            .handshake(TokioIo::new(wire.clone()))
            .await
            .map_err(ConnectError::Handshake)?;
        let idle_since = Instant::now();
        let told = introduction.and_then(|introduction| introduction.ends);
        Ok(Box::new(Self { sender, connection, is_finished: false, wire, address, told, idle_since }))
    }

    /// Whether it may carry requests of this client.
    pub(crate) fn is_for(&self, ends: Option<Ends>) -> bool {
        self.told == ends
    }

    /// Sends a request and waits for the head of the response; `hand` says when that took too long.
    ///
    /// On an error the phase tells how much of the request was sent. It comes from the bytes that the socket took, which is surer than
    /// what hyper knows: hyper counts a request as sent once it has begun to write it into its own buffer.
    pub(crate) async fn send(
        &mut self,
        request: Request<RequestBody>,
        hand: &Hand,
    ) -> Result<Response<Incoming>, SendError> {
        let (sent, received) = (self.wire.sent(), self.wire.received());
        let is_whole = request.body().is_end_stream();
        let mut answer = pin!(self.sender.send_request(request));
        let (connection, is_finished) = (&mut self.connection, &mut self.is_finished);
        let mut driven = |cx: &mut Context<'_>| {
            drive(connection, is_finished, cx);
            // What answers is the connection, which is driven here: nobody has to be woken for it.
            match answer.as_mut().poll(&mut nobody()) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending if *is_finished => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        };
        let mut is_awaited = false;
        let answered = poll_fn(|cx| {
            // Whoever is woken mostly finds the answer there, and leaves a connection that wakes nobody: the next request over it would
            // wake this one's client for nothing.
            let mut answered = if is_awaited { driven(&mut nobody()) } else { Poll::Pending };
            if answered.is_pending() {
                answered = driven(cx);
            }
            // Each piece of a body wakes, too, and is not the answer.
            is_awaited = is_whole;
            match answered {
                Poll::Pending if hand.take_expired() => Poll::Ready(None),
                answered => answered.map(Some),
            }
        });
        let answered = answered.await;
        let phase = if self.wire.received() != received {
            Phase::Responding
        } else if self.wire.sent() != sent {
            Phase::AwaitingResponse
        } else {
            Phase::Unsent
        };
        match answered {
            Some(Some(Ok(response))) => Ok(response),
            Some(Some(Err(source))) => Err(SendError::Broken { phase, source }),
            Some(None) => Err(SendError::Closed { phase }),
            None => Err(SendError::TimedOut),
        }
    }

    /// Lets the connection read and write what it can.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        drive(&mut self.connection, &mut self.is_finished, cx);
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Says whether the exchange is over and the connection can take another.
    pub(crate) fn is_reusable(&self) -> bool {
        !self.is_finished && self.sender.is_ready()
    }

    /// Looks after a connection that nobody uses: says whether it is still open as far as the runtime knows.
    pub(crate) fn is_open_when_idle(&mut self) -> bool {
        self.drive(&mut nobody());
        self.is_reusable()
    }

    /// Asks the system whether the endpoint has closed the connection or said something unasked: one system call,
    /// for requests that cannot be repeated if it has.
    pub(crate) fn is_closed_by_peer(&self) -> bool {
        self.wire.has_news()
    }

    /// Takes the socket back after an upgrade, with what hyper had read beyond the response's head.
    /// `None` if hyper still holds it, which it does not after a response with status 101.
    pub(crate) fn into_stream(self) -> Option<(TcpStream, Bytes)> {
        let Self { sender, connection, wire, .. } = self;
        drop(sender);
        let parts = connection.into_parts();
        drop(parts.io);
        Some((wire.into_stream()?, parts.read_buf))
    }
}

/// Who is not to be woken.
fn nobody() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn drive(
    connection: &mut Connection<TokioIo<Wire>, RequestBody>,
    is_finished: &mut bool,
    cx: &mut Context<'_>,
) {
    if !*is_finished {
        // Its error, if any, reaches the one who waits for the response or its body.
        *is_finished = connection.poll_without_shutdown(cx).is_ready();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::hand::Hands;

    /// Counts how often a task is woken, and wakes it.
    struct Bell {
        rung: AtomicUsize,
        task: Waker,
    }

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.rung.fetch_add(1, Ordering::Relaxed);
            self.task.wake_by_ref();
        }
    }

    /// Asks once; answers the bell of the one who asked.
    async fn ask(link: &mut Link) -> Arc<Bell> {
        let hand = Hands::new().add(Duration::from_secs(30));
        let request = Request::get("/").header("host", "a").body(RequestBody::Empty).unwrap();
        let task = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let bell = Arc::new(Bell { rung: AtomicUsize::new(0), task });
        let waker = Waker::from(Arc::clone(&bell));
        let mut answer = pin!(link.send(request, &hand));
        let response = poll_fn(|_| answer.as_mut().poll(&mut Context::from_waker(&waker))).await.unwrap();
        assert!(response.body().is_end_stream());
        bell
    }

    #[tokio::test]
    async fn who_awaits_an_answer_is_woken_once_for_it_and_never_for_the_next_one() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let endpoint = std::thread::spawn(move || {
            let (mut stream, _peer) = listener.accept().unwrap();
            let mut heard = [0; 1024];
            while stream.read(&mut heard).unwrap() > 0 {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
            }
        });
        let mut link = Link::connect(address, Duration::from_secs(30), None).await.unwrap();
        let first = ask(&mut link).await;
        assert!(link.is_reusable());
        let second = ask(&mut link).await;
        assert_eq!([first, second].map(|bell| bell.rung.load(Ordering::Relaxed)), [1, 1]);
        drop(link);
        endpoint.join().unwrap();
    }

    #[tokio::test]
    async fn a_close_is_seen_before_the_runtime_hears_of_it() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let link =
            Link::connect(listener.local_addr().unwrap(), Duration::from_secs(30), None).await.unwrap();
        let (stream, _peer) = listener.accept().unwrap();
        assert!(!link.is_closed_by_peer());
        drop(stream);
        // No await from here: the runtime has no turn to look at the socket. On loopback the close is there at once.
        assert!(link.is_closed_by_peer());
    }
}
