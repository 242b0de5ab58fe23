//! Plain TCP: each client connection is joined to a connection to an endpoint, and bytes are relayed both ways until both sides have closed.
//!
//! A connection counts as a request: it is balanced, limited and drained like one, and may wait for an endpoint. One that reaches an endpoint
//! counts as 2xx when it ends, one that does not as 5xx.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use balance::PickError;
use hyper::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional};
use tokio::time::Instant;

use crate::admission::InFlightPermit;
use crate::attempts::EndpointAttempts;
use crate::client::Client;
use crate::endpoint::{Endpoint, InFlight};
use crate::endpoint_wait::EndpointWait;
use crate::proxy_protocol::{self, OutgoingHeader};
use crate::service::Snapshot;
use crate::socket::Stream;
use crate::timer::{Stage, Timer};
use crate::traffic::{Counter, Shard};
use crate::upstream::{ConnectError, SharedSocket};

/// The latency that is recorded for an endpoint that accepts a connection: the minimum, so that its load is the number of its connections. The
/// time to accept a connection is unrelated to its duration.
pub(crate) const CONNECT_LATENCY: Duration = Duration::from_micros(1);

/// Serves one client until both sides have closed, one fails, or both are idle for [`stream_idle`](crate::Timeouts::stream_idle).
pub(crate) async fn serve(client: &Rc<Client>, stream: Stream) {
    let started = Instant::now();
    let snapshot = client.local.snapshot();
    client.shard().requests.add(1);
    client.local.deposit(client.local.service.clock.at(started));
    let answered = |status: StatusCode| client.shard().answered(status.as_u16(), started.elapsed());
    // A client whose protocol is unknown can only be answered by closing its connection.
    let connected = match InFlightPermit::take(&client.local.service, &snapshot) {
        Ok(permit) => connect(client, &snapshot).await.map(|connected| (connected, permit)),
        Err(_) => Err(ConnectFailure::Full),
    };
    match connected {
        Ok((EndpointConnection { in_flight, socket }, _permit)) => {
            let endpoint = in_flight.endpoint();
            let shard = &endpoint.shards[client.worker.index];
            let since = Instant::now();
            relay(client, &snapshot, shard, stream, socket).await;
            shard.answered(StatusCode::OK.as_u16(), since.elapsed());
            answered(StatusCode::OK);
        }
        Err(failure) => {
            match failure {
                ConnectFailure::Full => client.shard().over_limit.add(1),
                ConnectFailure::Unavailable => client.shard().unavailable.add(1),
                ConnectFailure::Refused => {}
            }
            answered(StatusCode::SERVICE_UNAVAILABLE);
        }
    }
}

/// A connection to an endpoint.
struct EndpointConnection {
    in_flight: InFlight,
    socket: SharedSocket,
}

/// Why no endpoint was reached.
enum ConnectFailure {
    /// As many connections are open as allowed.
    Full,
    /// No endpoint became ready in time, or too many wait for one.
    Unavailable,
    /// Too many endpoints did not accept it.
    Refused,
}

/// Connects to an endpoint, or to another one if that fails: as long as no byte was forwarded, nothing is lost.
async fn connect(
    client: &Rc<Client>,
    snapshot: &Arc<Snapshot>,
) -> Result<EndpointConnection, ConnectFailure> {
    let mut attempts = EndpointAttempts::new(&client.local);
    let was_attempted = Cell::new(false);
    let mut wait: Option<EndpointWait> = None;
    let key = || balance::hash_key(client.address.as_bytes());
    loop {
        let in_flight = match attempts.next(key, &was_attempted) {
            Ok(in_flight) => in_flight,
            Err(PickError::Full) => return Err(ConnectFailure::Full),
            Err(PickError::Exhausted) => {
                let wait = wait.get_or_insert_with(|| EndpointWait::new(snapshot.timeouts.endpoint));
                client.timer.disarm();
                let waited = wait
                    .wait(&client.local, None, &client.worker.shared.endpoint_awaited, &attempts.tried)
                    .await;
                waited.map_err(|_| ConnectFailure::Unavailable)?;
                attempts = EndpointAttempts::new(&client.local);
                continue;
            }
        };
        let endpoint = in_flight.endpoint();
        endpoint.shards[client.worker.index].requests.add(1);
        let since = Instant::now();
        client.timer.disarm();
        match begin(client, snapshot, endpoint).await {
            Ok(socket) => {
                endpoint.succeeded(client.local.service.clock.now(), CONNECT_LATENCY);
                return Ok(EndpointConnection { in_flight, socket });
            }
            Err(error) => {
                tracing::debug!(service = %client.local.service.name, endpoint = %endpoint.id, %error, "connect_failed");
                if error.is_of_endpoint() {
                    client.local.service.record_failure(endpoint, &snapshot.outliers, since.elapsed());
                }
            }
        }
        if !attempts.may_try_another(endpoint) {
            return Err(ConnectFailure::Refused);
        }
    }
}

/// Connects to an endpoint, and sends it the PROXY header if it expects one.
async fn begin(
    client: &Client,
    snapshot: &Snapshot,
    endpoint: &Endpoint,
) -> Result<SharedSocket, ConnectError> {
    let mut socket = SharedSocket::connect(endpoint.address, snapshot.timeouts.connect).await?;
    if let Some(OutgoingHeader { version, addresses }) = endpoint.proxy_header(client.addresses()) {
        // The empty send buffer of a new socket has space for it.
        socket.write_all(&proxy_protocol::encode(version, addresses)).await.map_err(ConnectError::Refused)?;
    }
    Ok(socket)
}

/// Relays bytes both ways, and the close of each side to the other, which may continue to send.
async fn relay(
    client: &Rc<Client>,
    snapshot: &Snapshot,
    shard: &Shard,
    stream: Stream,
    socket: SharedSocket,
) {
    let idle = snapshot.timeouts.stream_idle;
    let timer = &*client.timer;
    timer.arm(Stage::Stream, idle);
    let service = client.shard();
    let mut client_end =
        CountedStream { stream, timer, idle, counters: [&service.bytes_in, &shard.bytes_in] };
    let mut endpoint_end =
        CountedStream { stream: socket, timer, idle, counters: [&service.bytes_out, &shard.bytes_out] };
    let mut relay = pin!(copy_bidirectional(&mut client_end, &mut endpoint_end));
    poll_fn(|cx| {
        timer.register(cx);
        // The result does not matter: if one side fails, the other is closed.
        if timer.is_expired() { Poll::Ready(()) } else { relay.as_mut().poll(cx).map(drop) }
    })
    .await;
}

/// One side of a connection. Whatever it sends is counted, and restarts the idle timeout.
struct CountedStream<'a, S> {
    stream: S,
    timer: &'a Timer,
    idle: Duration,
    counters: [&'a Counter; 2],
}

impl<S: AsyncRead + Unpin> AsyncRead for CountedStream<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            let bytes = (buf.filled().len() - before) as u64;
            self.counters.iter().for_each(|counter| counter.add(bytes));
            self.timer.arm(Stage::Stream, self.idle);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CountedStream<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
