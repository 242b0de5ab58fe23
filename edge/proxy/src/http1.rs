//! HTTP/1.1 towards clients: one request after the other, and in between as little as there can be.
//!
//! Whoever speaks HTTP/1.1 has two buffers of 8 KiB, a map of headers and the room for an answer: 20 KiB, as measured. Most connections
//! of a busy site ask nothing, for seconds or minutes. So the connection of a client that has its answers is taken apart down to its socket,
//! and is made again for the bytes that come next. Nothing is lost in between: what was read is handed over with the socket, and what was not
//! is still in it.
//!
//! What that costs those need not pay who ask one request right after the other: their connections stay ready for half a second, and so
//! do some of those who have asked but once.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1::{Builder, Connection, Parts};
use hyper::service::{HttpService, service_fn};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;

use crate::body::ResponseBody;
use crate::connection::{Client, REQUEST_HEAD_BYTES_MAX};
use crate::forward;
use crate::hand::Stage;
use crate::socket::{ClientSocket, Stream};

/// Connections of a worker that are kept ready at rest though nothing says that their clients come back soon: 640 KiB.
const ALERT_MAX: usize = 32;

/// How many of a worker's connections are ready for a request that nothing says will come soon.
#[derive(Debug, Default)]
pub(crate) struct Alert(Cell<usize>);

/// One that is; dropping it lets another be.
#[derive(Debug)]
struct Watchful<'a>(&'a Alert);

impl Alert {
    fn enter(&self) -> Option<Watchful<'_>> {
        let before = self.0.get();
        (before < ALERT_MAX).then(|| {
            self.0.set(before + 1);
            Watchful(self)
        })
    }
}

impl Drop for Watchful<'_> {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get() - 1);
    }
}

/// How a connection stopped being served.
enum Stop {
    /// It is over, or belongs to a tunnel now.
    Ended(hyper::Result<()>),
    /// The client took too long.
    Late,
    /// The client asks nothing more for now.
    AtRest,
}

/// Answers what a client asks; answers its stream once it has asked nothing for a while, and nothing of a next request has come.
pub(crate) async fn serve(client: &Rc<Client>, mut stream: Stream, mut heard: Bytes) -> Option<Stream> {
    loop {
        let socket = ClientSocket::new(stream, heard, Some(Rc::clone(&client.hand)));
        (stream, heard) = serve_until_rest(client, socket).await?;
        if heard.is_empty() {
            return Some(stream);
        }
    }
}

/// As [`serve`]; with the stream comes what was read of a next request.
async fn serve_until_rest(client: &Rc<Client>, socket: ClientSocket) -> Option<(Stream, Bytes)> {
    let is_answering = Cell::new(false);
    let service = service_fn(|request: Request<Incoming>| {
        is_answering.set(true);
        client.hand.begin_request();
        if request.body().is_end_stream() {
            client.hand.end_request(client.hand.request());
        }
        let is_answering = &is_answering;
        async move {
            // Made in here: a future that is moved in to be awaited has its room twice, and it is moved for each request.
            let mut answer = forward::answer(Rc::clone(client), request).await;
            is_answering.set(false);
            if client.worker.is_leaving() && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let mut connection = Builder::new()
        .max_header_size(REQUEST_HEAD_BYTES_MAX)
        // Deadlines are the hand's.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(socket), service);
    let mut is_told_to_end = false;
    let mut watchful = None;
    let stop = poll_fn(|cx| {
        client.hand.register(cx);
        loop {
            if is_late(client) {
                return Poll::Ready(Stop::Late);
            }
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(Stop::Ended(ended));
            }
            // Only after a poll, so that a request that has already arrived is answered.
            if client.is_closing() && !is_told_to_end {
                is_told_to_end = true;
                Pin::new(&mut connection).graceful_shutdown();
                continue;
            }
            if is_told_to_end || is_answering.get() || !client.hand.is_at_rest() {
                watchful = None;
                return Poll::Pending;
            }
            let is_ready = client.hand.comes_back_soon() || {
                watchful = watchful.take().or_else(|| client.worker.alert.enter());
                watchful.is_some()
            };
            let stays = is_ready && !client.hand.has_rested();
            return if stays { Poll::Pending } else { Poll::Ready(Stop::AtRest) };
        }
    });
    match stop.await {
        Stop::Ended(Ok(())) => {
            let tunnel = client.take_tunnel()?;
            let parts = connection.into_parts();
            let (stream, _read) = parts.io.into_inner().into_parts();
            Box::pin(tunnel.run(client, stream, parts.read_buf)).await;
            None
        }
        Stop::Ended(Err(error)) => {
            if error.is_parse() {
                client.shard().malformed.add(1);
            }
            None
        }
        Stop::Late => None,
        Stop::AtRest => take_apart(connection),
    }
}

/// The stream of a connection between two requests, for somebody else to read on, with what was read of it and not used.
fn take_apart<S>(mut connection: Connection<TokioIo<ClientSocket>, S>) -> Option<(Stream, Bytes)>
where
    S: HttpService<Incoming, ResBody = ResponseBody, Error = Infallible> + Unpin,
{
    Pin::new(&mut connection).graceful_shutdown();
    let apart = pin!(connection.without_shutdown());
    // Between two requests it ends at once.
    let ended = apart.poll(&mut Context::from_waker(Waker::noop()));
    debug_assert!(ended.is_ready(), "hyper takes a connection for busy that is at rest");
    let Poll::Ready(Ok(Parts { io, read_buf, .. })) = ended else { return None };
    let (stream, heard) = io.into_inner().into_parts();
    Some((stream, if heard.is_empty() { read_buf } else { [read_buf, heard].concat().into() }))
}

/// Whether the client, or its request's endpoint in the middle of an answer, has let its time pass.
fn is_late(client: &Client) -> bool {
    client.hand.is_expired() && client.hand.stage() != Stage::Response
}
