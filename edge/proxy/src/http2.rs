//! HTTP/2 towards clients: many requests at once over one connection, each with a task and a deadline of its own.
//!
//! The constants bound the memory of a connection. Its work is bounded by counting requests that the client takes back.
//! Sources: RFC 9113; CVE-2023-44487 ("rapid reset") and CVE-2025-8671 ("made you reset").

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use crate::connection::{Client, REQUEST_HEAD_BYTES_MAX};
use crate::forward;
use crate::socket::ClientSocket;
use crate::timer::Stage;

/// What a client sends first when it speaks HTTP/2. Source: RFC 9113, section 3.4.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Requests under way at once on one connection, the least that RFC 9113, section 6.5.2, recommends; nginx allows 128.
const STREAMS_MAX: u32 = 100;

/// Bytes of a request's body that we hold until the endpoint takes them.
///
/// At a round trip of 50 ms, 128 KiB allow one request 2.5 MB/s. A connection has four times as much: at most 512 KiB wait for endpoints
/// that do not read.
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * STREAM_WINDOW_BYTES;

/// Bytes of a response that we hold until the client takes them. A client that asks for 100 answers and reads none makes us hold 6.25 MiB,
/// until it is disconnected after [`stream_idle`](crate::Timeouts::stream_idle).
const SEND_BYTES_MAX: usize = 64 * 1024;

/// Streams that were reset before we have accepted them; with more the connection ends. h2's own default.
const UNHEARD_RESETS_MAX: usize = 20;

/// Streams that we reset because of the client's errors; with more the connection ends.
const RESETS_FOR_ERRORS_MAX: usize = 256;

/// Requests that a client may reset before they are answered, if they are more than half of all; then it is sent away.
///
/// The rule is Envoy's, with 500; 100 are as many as can be under way at once. A client that goes on all the same is cut off after ten times
/// as many.
const TAKEN_BACK_MAX: u64 = 100;
const TAKEN_BACK_CUT: u64 = 10 * TAKEN_BACK_MAX;

/// How long a client that was sent away may stay with nothing under way.
const GOODBYE: Duration = Duration::from_secs(5);

/// What the streams of a connection share.
#[derive(Debug)]
struct Visit {
    /// Its timer limits the time without a request under way.
    client: Rc<Client>,
    under_way: Cell<u32>,
    begun: Cell<u64>,
    taken_back: Cell<u64>,
    is_told_to_go: Cell<bool>,
    /// The request that hyper is about to spawn a task for.
    beginning: RefCell<Option<Rc<Client>>>,
}

/// Serves one client until it leaves, has asked nothing for too long, or the service is removed.
pub(crate) async fn serve(client: &Rc<Client>, socket: ClientSocket) {
    let visit = Rc::new(Visit {
        client: Rc::clone(client),
        under_way: Cell::new(0),
        begun: Cell::new(0),
        taken_back: Cell::new(0),
        is_told_to_go: Cell::new(false),
        beginning: RefCell::new(None),
    });
    let service = service_fn(|request: Request<Incoming>| {
        let (parts, body) = request.into_parts();
        let stream = visit.begin();
        let pending = Pending { visit: Rc::clone(&visit), is_answered: false };
        async move {
            let answer = forward::answer(stream, Box::new(parts), Some(body)).await;
            pending.answered();
            Ok::<_, Infallible>(answer.into_response())
        }
    });
    let connection = Builder::new(Streams(Rc::clone(&visit)))
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BYTES_MAX)
        .max_header_list_size(REQUEST_HEAD_BYTES_MAX as u32)
        .max_pending_accept_reset_streams(UNHEARD_RESETS_MAX)
        .max_local_error_reset_streams(RESETS_FOR_ERRORS_MAX)
        // Browsers then open WebSockets as streams of the connection that they have (RFC 8441).
        .enable_connect_protocol()
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = pin!(connection);
    let timer = &client.timer;
    let ended = poll_fn(|cx| {
        timer.register(cx);
        loop {
            let is_late = timer.take_expired();
            if (is_late && visit.is_told_to_go.get()) || visit.is_intolerable() {
                return Poll::Ready(Ok(()));
            }
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
            // Only after a poll, so that a request that has already arrived is answered.
            let has_to_go = is_late
                || client.is_closing()
                || client.worker.closes_after_answer()
                || visit.is_a_nuisance();
            if visit.is_told_to_go.get() || !has_to_go {
                return Poll::Pending;
            }
            visit.tell_to_go();
            connection.as_mut().graceful_shutdown();
        }
    });
    if ended.await.is_err_and(|error| is_of_protocol(&error)) {
        client.shard().malformed.add(1);
    }
}

/// Whether what came was no HTTP/2, or broke its rules.
fn is_of_protocol(error: &hyper::Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    source.is_some_and(|error| error.is_go_away() && error.is_library())
}

impl Visit {
    /// Notes a new request, which gets a timer of its own.
    fn begin(&self) -> Rc<Client> {
        if self.under_way.replace(self.under_way.get() + 1) == 0 {
            self.client.timer.disarm();
        }
        self.begun.set(self.begun.get() + 1);
        let stream = self.client.for_stream();
        *self.beginning.borrow_mut() = Some(Rc::clone(&stream));
        stream
    }

    /// Notes that a request has ended, in whatever way.
    fn end(&self) {
        self.under_way.set(self.under_way.get() - 1);
        self.wait_for_request();
    }

    fn tell_to_go(&self) {
        self.is_told_to_go.set(true);
        self.wait_for_request();
    }

    /// Starts the time limit of a client that has nothing under way.
    fn wait_for_request(&self) {
        if self.under_way.get() == 0 {
            let idle = self.client.local.snapshot().timeouts.client_idle;
            self.client.timer.arm(Stage::Idle, if self.is_told_to_go.get() { GOODBYE } else { idle });
        }
    }

    /// Whether the client takes back more than half of its requests.
    fn is_a_nuisance(&self) -> bool {
        self.taken_back.get() >= TAKEN_BACK_MAX && self.taken_back.get() * 2 > self.begun.get()
    }

    fn is_intolerable(&self) -> bool {
        self.is_a_nuisance() && self.taken_back.get() >= TAKEN_BACK_CUT
    }
}

/// A request without an answer yet; if it is dropped so, the client has taken it back.
#[derive(Debug)]
struct Pending {
    visit: Rc<Visit>,
    is_answered: bool,
}

impl Pending {
    fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.is_answered {
            self.visit.taken_back.set(self.visit.taken_back.get() + 1);
        }
    }
}

/// Spawns the tasks of a connection's requests.
#[derive(Debug, Clone)]
struct Streams(Rc<Visit>);

impl<F: Future<Output = ()> + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let worker = Rc::clone(&self.0.client.worker);
        // hyper spawns the future of a request right after it has called the service. Other futures send a client the bytes of its WebSocket.
        let Some(client) = self.0.beginning.take() else {
            worker.streams.spawn_local(stream);
            return;
        };
        let under_way = UnderWay(Rc::clone(&self.0));
        worker.streams.spawn_local(async move {
            let _under_way = under_way;
            let mut stream = pin!(stream);
            poll_fn(|cx| {
                client.timer.register(cx);
                // Returning drops the stream, which resets it. An endpoint that does not answer in time is answered for.
                if client.timer.is_expired() && client.timer.stage() != Stage::Response {
                    return Poll::Ready(());
                }
                stream.as_mut().poll(cx)
            })
            .await;
            if let Some(tunnel) = client.take_tunnel() {
                Box::pin(tunnel.run_over_stream(&client)).await;
            }
        });
    }
}

/// A request under way; dropping it says that it has ended.
#[derive(Debug)]
struct UnderWay(Rc<Visit>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.end();
    }
}
