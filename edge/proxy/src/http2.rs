//! HTTP/2 towards clients: many requests at once over one connection, each with a task and a deadline of its own.
//!
//! The constants bound the memory of a connection. Its work is bounded by counting the requests that the client resets.
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

use crate::body::Upload;
use crate::client::{Client, REQUEST_HEAD_BYTES_MAX};
use crate::forward;
use crate::socket::ClientSocket;
use crate::timer::Stage;

/// The first bytes of a client that speaks HTTP/2. Source: RFC 9113, section 3.4.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Concurrent requests on one connection, the minimum that RFC 9113, section 6.5.2, recommends; nginx allows 128.
const STREAMS_MAX: u32 = 100;

/// The bytes of a request's body that are buffered until the endpoint reads them.
///
/// At a round trip of 50 ms, 128 KiB allow one request 2.5 MB/s. A connection has four times as much: at most 512 KiB wait for endpoints
/// that do not read.
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * STREAM_WINDOW_BYTES;

/// The bytes of a response that are buffered until the client reads them. A client that requests 100 answers and reads none makes the proxy
/// buffer 6.25 MiB, until it is disconnected after [`stream_idle`](crate::Timeouts::stream_idle).
const SEND_BYTES_MAX: usize = 64 * 1024;

/// The most streams that may be reset before they are accepted; with more the connection ends. h2's default.
const PENDING_RESETS_MAX: usize = 20;

/// The most streams that the proxy resets because of the client's errors; with more the connection ends.
const ERROR_RESETS_MAX: usize = 256;

/// The most requests that a client may reset before they are answered, if they are more than half of all; then it gets a GOAWAY.
///
/// The rule is Envoy's, with 500; 100 is the number of concurrent requests. A client that continues nevertheless is disconnected after ten
/// times as many.
const CLIENT_RESETS_MAX: u64 = 100;
const CLIENT_RESETS_ABORT: u64 = 10 * CLIENT_RESETS_MAX;

/// How long a client may stay without active requests after a GOAWAY.
const GOAWAY_TIMEOUT: Duration = Duration::from_secs(5);

/// The state that the streams of a connection share.
#[derive(Debug)]
struct ConnectionState {
    /// Its timer limits the time without active requests.
    client: Rc<Client>,
    active_requests: Cell<u32>,
    requests: Cell<u64>,
    client_resets: Cell<u64>,
    has_sent_goaway: Cell<bool>,
    /// The request that hyper will spawn a task for next.
    next_request: RefCell<Option<Rc<Client>>>,
}

/// Serves one client until it disconnects, has been idle for too long, or the service is removed.
pub(crate) async fn serve(client: &Rc<Client>, socket: ClientSocket) {
    let state = Rc::new(ConnectionState {
        client: Rc::clone(client),
        active_requests: Cell::new(0),
        requests: Cell::new(0),
        client_resets: Cell::new(0),
        has_sent_goaway: Cell::new(false),
        next_request: RefCell::new(None),
    });
    let service = service_fn(|request: Request<Incoming>| {
        let (parts, body) = request.into_parts();
        let stream = state.begin_request();
        let pending = UnansweredRequest { state: Rc::clone(&state), is_answered: false };
        async move {
            let upload = Upload::new(&stream, body, &parts.headers);
            let answer = forward::answer(stream, Box::new(parts), upload).await;
            pending.answered();
            Ok::<_, Infallible>(answer.into_response())
        }
    });
    let connection = Builder::new(StreamExecutor(Rc::clone(&state)))
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BYTES_MAX)
        .max_header_list_size(REQUEST_HEAD_BYTES_MAX as u32)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(ERROR_RESETS_MAX)
        // Browsers then open WebSockets as streams of the connection that they have (RFC 8441).
        .enable_connect_protocol()
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = pin!(connection);
    let timer = &client.timer;
    let ended = poll_fn(|cx| {
        timer.register(cx);
        loop {
            let has_timed_out = timer.take_expired();
            if (has_timed_out && state.has_sent_goaway.get()) || state.must_be_aborted() {
                return Poll::Ready(Ok(()));
            }
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
            // After a poll, so that a request that has already arrived is answered.
            let must_go_away = has_timed_out
                || client.is_closing()
                || client.worker.closes_after_answer()
                || state.resets_too_often();
            if state.has_sent_goaway.get() || !must_go_away {
                return Poll::Pending;
            }
            state.note_goaway();
            connection.as_mut().graceful_shutdown();
        }
    });
    if ended.await.is_err_and(|error| is_protocol_error(&error)) {
        client.shard().malformed.add(1);
    }
}

/// Whether the client sent something that is not valid HTTP/2.
fn is_protocol_error(error: &hyper::Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    source.is_some_and(|error| error.is_go_away() && error.is_library())
}

impl ConnectionState {
    /// Counts a new request, which gets a timer of its own.
    fn begin_request(&self) -> Rc<Client> {
        if self.active_requests.replace(self.active_requests.get() + 1) == 0 {
            self.client.timer.disarm();
        }
        self.requests.set(self.requests.get() + 1);
        let stream = self.client.for_stream();
        *self.next_request.borrow_mut() = Some(Rc::clone(&stream));
        stream
    }

    /// Counts that a request has ended, in whatever way.
    fn end_request(&self) {
        self.active_requests.set(self.active_requests.get() - 1);
        self.start_idle_timeout();
    }

    fn note_goaway(&self) {
        self.has_sent_goaway.set(true);
        self.start_idle_timeout();
    }

    /// Starts the idle timeout of a client without active requests.
    fn start_idle_timeout(&self) {
        if self.active_requests.get() == 0 {
            let idle = self.client.local.snapshot().timeouts.client_idle;
            self.client
                .timer
                .arm(Stage::Idle, if self.has_sent_goaway.get() { GOAWAY_TIMEOUT } else { idle });
        }
    }

    /// Whether the client resets more than half of its requests.
    fn resets_too_often(&self) -> bool {
        self.client_resets.get() >= CLIENT_RESETS_MAX && self.client_resets.get() * 2 > self.requests.get()
    }

    fn must_be_aborted(&self) -> bool {
        self.resets_too_often() && self.client_resets.get() >= CLIENT_RESETS_ABORT
    }
}

/// A request that is not answered yet; if it is dropped in this state, the client has reset it.
#[derive(Debug)]
struct UnansweredRequest {
    state: Rc<ConnectionState>,
    is_answered: bool,
}

impl UnansweredRequest {
    fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for UnansweredRequest {
    fn drop(&mut self) {
        if !self.is_answered {
            self.state.client_resets.set(self.state.client_resets.get() + 1);
        }
    }
}

/// Spawns the tasks of a connection's requests.
#[derive(Debug, Clone)]
struct StreamExecutor(Rc<ConnectionState>);

impl<F: Future<Output = ()> + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        let worker = Rc::clone(&self.0.client.worker);
        // hyper spawns the future of a request right after it has called the service. Other futures send a client the bytes of its WebSocket.
        let Some(client) = self.0.next_request.take() else {
            worker.streams.spawn_local(stream);
            return;
        };
        let active_request = ActiveRequest(Rc::clone(&self.0));
        worker.streams.spawn_local(async move {
            let _active_request = active_request;
            let mut stream = pin!(stream);
            poll_fn(|cx| {
                client.timer.register(cx);
                // Returning drops the stream, which resets it. When an endpoint does not answer in time, a local reply is sent instead.
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

/// Counts an active request until it is dropped.
#[derive(Debug)]
struct ActiveRequest(Rc<ConnectionState>);

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.0.end_request();
    }
}
