//! Plain TCP: each client connection is joined to a connection to an endpoint, and bytes pass both ways until both sides have ended.
//!
//! A connection counts as a request: it is balanced, limited, waited for and drained like one. A connection that reaches an endpoint counts
//! as 2xx when it ends, one that does not as 5xx.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use balance::Unpicked;
use hyper::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional};
use tokio::time::Instant;

use crate::connection::Client;
use crate::endpoint::InFlight;
use crate::gate::Pass;
use crate::patience::Patience;
use crate::preamble::{self, Introduction};
use crate::service::Snapshot;
use crate::socket::Stream;
use crate::timer::{Stage, Timer};
use crate::traffic::{Shard, Tally};
use crate::tries::Tries;
use crate::upstream::{ConnectError, SharedSocket};

/// The latency that is noted for an endpoint that accepts a connection: the least there is, so that its load is the number of its connections. How
/// fast it accepts them says nothing about how long they last.
pub(crate) const LATENCY: Duration = Duration::from_micros(1);

/// Serves one client until both sides have ended, one breaks off, or both are silent for [`stream_idle`](crate::Timeouts::stream_idle).
pub(crate) async fn serve(client: &Rc<Client>, stream: Stream) {
    let started = Instant::now();
    let snapshot = client.local.snapshot();
    client.shard().requests.add(1);
    client.local.deposit(client.local.service.clock.at(started));
    let answered = |status: StatusCode| client.shard().answered(status.as_u16(), started.elapsed());
    // A client whose protocol is unknown can only be answered by closing its connection.
    let reached = match Pass::take(&client.local.service, &snapshot) {
        Ok(pass) => connect(client, &snapshot).await.map(|reached| (reached, pass)),
        Err(_) => Err(Unreached::Full),
    };
    match reached {
        Ok((Reached { in_flight, socket }, _pass)) => {
            let endpoint = in_flight.endpoint();
            let shard = &endpoint.shards[client.worker.index];
            let since = Instant::now();
            carry(client, &snapshot, shard, stream, socket).await;
            shard.answered(StatusCode::OK.as_u16(), since.elapsed());
            answered(StatusCode::OK);
        }
        Err(unreached) => {
            match unreached {
                Unreached::Full => client.shard().over_limit.add(1),
                Unreached::Unavailable => client.shard().unavailable.add(1),
                Unreached::Refused => {}
            }
            answered(StatusCode::SERVICE_UNAVAILABLE);
        }
    }
}

/// A connection to an endpoint.
struct Reached {
    in_flight: InFlight,
    socket: SharedSocket,
}

/// Why no endpoint was reached.
enum Unreached {
    /// As many connections are open as allowed.
    Full,
    /// No endpoint became ready in time, or too many wait for one.
    Unavailable,
    /// Too many endpoints did not accept it.
    Refused,
}

/// Connects to an endpoint, or to another one if that fails: as long as no byte was passed, nothing is lost.
async fn connect(client: &Rc<Client>, snapshot: &Arc<Snapshot>) -> Result<Reached, Unreached> {
    let mut tries = Tries::new(&client.local);
    let has_gone = Cell::new(false);
    let mut patience: Option<Patience> = None;
    let key = || balance::hash_key(client.address.as_bytes());
    loop {
        let in_flight = match tries.next(key, &has_gone) {
            Ok(in_flight) => in_flight,
            Err(Unpicked::Full) => return Err(Unreached::Full),
            Err(Unpicked::Exhausted) => {
                let patience = patience.get_or_insert_with(|| Patience::new(snapshot.timeouts.endpoint));
                client.timer.disarm();
                let waited =
                    patience.wait(&client.local, None, &client.worker.shared.awaited, &tries.tried).await;
                waited.map_err(|_| Unreached::Unavailable)?;
                tries = Tries::new(&client.local);
                continue;
            }
        };
        let endpoint = in_flight.endpoint();
        endpoint.shards[client.worker.index].requests.add(1);
        let since = Instant::now();
        client.timer.disarm();
        match begin(client, snapshot, endpoint.address).await {
            Ok(socket) => {
                endpoint.succeeded(client.local.service.clock.now(), LATENCY);
                return Ok(Reached { in_flight, socket });
            }
            Err(error) => {
                tracing::debug!(service = %client.local.service.name, endpoint = %endpoint.id, %error, "connect failed");
                if error.is_of_endpoint() {
                    client.local.service.strike(endpoint, &snapshot.outliers, since.elapsed());
                }
            }
        }
        if !tries.may_go_on_after(endpoint) {
            return Err(Unreached::Refused);
        }
    }
}

/// Connects to an endpoint, and sends it the PROXY header if the service wants it.
async fn begin(
    client: &Client,
    snapshot: &Snapshot,
    address: std::net::SocketAddr,
) -> Result<SharedSocket, ConnectError> {
    let mut socket = SharedSocket::connect(address, snapshot.timeouts.connect).await?;
    if let Some(Introduction { version, ends }) = snapshot.introduction(client.ends()) {
        // A new socket has room for it.
        socket.write_all(&preamble::header(version, ends)).await.map_err(ConnectError::Refused)?;
    }
    Ok(socket)
}

/// Passes bytes, and the end of each side to the other, which may go on all the same.
async fn carry(
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
    let mut client_end = Counted { stream, timer, idle, tallies: [&service.bytes_in, &shard.bytes_in] };
    let mut endpoint_end =
        Counted { stream: socket, timer, idle, tallies: [&service.bytes_out, &shard.bytes_out] };
    let mut carry = pin!(copy_bidirectional(&mut client_end, &mut endpoint_end));
    poll_fn(|cx| {
        timer.register(cx);
        // It does not matter how it ends: if one side breaks off, so does the other.
        if timer.is_expired() { Poll::Ready(()) } else { carry.as_mut().poll(cx).map(drop) }
    })
    .await;
}

/// One side of a connection. Whatever it sends is counted, and restarts the time limit.
struct Counted<'a, S> {
    stream: S,
    timer: &'a Timer,
    idle: Duration,
    tallies: [&'a Tally; 2],
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            let bytes = (buf.filled().len() - before) as u64;
            self.tallies.iter().for_each(|tally| tally.add(bytes));
            self.timer.arm(Stage::Stream, self.idle);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<'_, S> {
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
