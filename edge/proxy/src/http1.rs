//! HTTP/1.1 towards clients: one request after the other, and as little memory as possible in between.
//!
//! A connection is served in place, as a [plain](crate::plain) one, until a request or an answer is not plain. hyper then serves it until it
//! is at rest.
//!
//! hyper holds two buffers of 8 KiB, a map of headers and room for an answer for each connection: 20 KiB, as measured. Most connections of
//! a busy site wait for seconds or minutes. So a connection at rest is reduced to its socket, and is set up anew when bytes come. Nothing is
//! lost: what was read already is handed over with the socket, and the rest is still in it.
//!
//! Clients that ask one request right after the other are spared the cost: their connections stay set up for half a second, and so do some of
//! those whose clients have asked only once.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1::{self, Builder, Connection};
use hyper::service::{HttpService, service_fn};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;

use crate::answer::Answer;
use crate::body::ResponseBody;
use crate::connection::{Client, REQUEST_HEAD_BYTES_MAX, hang_up};
use crate::forward;
use crate::headers::asks_to_close;
use crate::plain::client::{ClientConnection, plain_length};
use crate::socket::{ClientSocket, Stream};
use crate::timer::Stage;
use crate::worker::Worker;

/// Connections at rest that a worker keeps ready although nothing suggests that their clients come back soon: 640 KiB.
const READY_MAX: usize = 32;

/// Counts these connections.
#[derive(Debug, Default)]
pub(crate) struct ReadySlots(Cell<usize>);

/// The place of one such connection, free again when dropped.
#[derive(Debug)]
struct ReadySlot<'a>(&'a ReadySlots);

impl ReadySlots {
    fn take(&self) -> Option<ReadySlot<'_>> {
        let before = self.0.get();
        (before < READY_MAX).then(|| {
            self.0.set(before + 1);
            ReadySlot(self)
        })
    }
}

impl Drop for ReadySlot<'_> {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get() - 1);
    }
}

/// Answers requests until the connection is over, or at rest for longer than it is kept ready; returns its stream in the latter case.
pub(crate) async fn serve(client: &Rc<Client>, mut stream: Stream, mut heard: Bytes) -> Option<Stream> {
    loop {
        let first_answer;
        (stream, heard, first_answer) = match serve_in_place(client, stream, heard).await? {
            (stream, heard, Stop::Idle) => {
                debug_assert!(heard.is_empty(), "a client that has begun a request is not at rest");
                return Some(stream);
            }
            (stream, _, Stop::Over) => {
                hang_up(stream);
                return None;
            }
            (stream, heard, Stop::NotPlain(answer)) => (stream, heard, answer),
        };
        // Boxed, so that clients whose requests are all plain do not pay for its size.
        (stream, heard) = Box::pin(serve_by_hyper(client, stream, heard, first_answer)).await?;
        if heard.is_empty() {
            return Some(stream);
        }
    }
}

/// Why a connection is not served in place any longer.
enum Stop {
    /// The client asks nothing for now.
    Idle,
    /// The client has ended the connection, or is to see it ended.
    Over,
    /// A request is not plain, or it was and this answer to it is not.
    NotPlain(Option<Box<Answer<ResponseBody>>>),
}

/// Answers requests as long as they and their answers are plain. Returns the stream with what was read of it and not answered; `None` when
/// the connection broke off or its client took too long.
async fn serve_in_place(client: &Rc<Client>, stream: Stream, heard: Bytes) -> Option<(Stream, Bytes, Stop)> {
    let mut connection = ClientConnection::new(stream, heard);
    let stop = {
        let mut serving = pin!(answer_in_place(client, &mut connection));
        poll_fn(|cx| {
            client.timer.register(cx);
            if is_late(client) { Poll::Ready(None) } else { serving.as_mut().poll(cx) }
        })
        .await?
    };
    let (stream, heard) = connection.into_parts();
    Some((stream, heard, stop))
}

/// As [`serve_in_place`], without a look at the time.
async fn answer_in_place(client: &Rc<Client>, connection: &mut ClientConnection) -> Option<Stop> {
    loop {
        let parts = match next_request(client, connection).await {
            Ok(parts) => parts,
            Err(stop) => return Some(stop),
        };
        client.timer.begin_request();
        client.timer.end_request(client.timer.request());
        let mut answer = {
            let mut answering = pin!(forward::answer(Rc::clone(client), parts, None));
            poll_fn(|cx| match answering.as_mut().poll(cx) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                // A client that has left needs no answer.
                Poll::Pending => connection.poll_end(cx, &client.timer).map(|()| None),
            })
            .await?
        };
        let is_last =
            connection.is_last_asked() || client.is_closing() || client.worker.closes_after_answer();
        let Some(length) = plain_length(&mut answer) else {
            if is_last {
                close_after(&mut answer);
            }
            return Some(Stop::NotPlain(Some(Box::new(answer))));
        };
        let Worker { date, timers, .. } = &*client.worker;
        let mut sending = connection.begin_answer(answer, length, is_last, date, timers.now());
        poll_fn(|cx| connection.poll_answer(cx, &mut sending, &client.timer)).await.ok()?;
        if sending.is_last {
            return Some(Stop::Over);
        }
    }
}

/// Waits for a plain request, as long as the connection is kept ready for one.
async fn next_request(client: &Client, connection: &mut ClientConnection) -> Result<Box<Parts>, Stop> {
    let mut place = None;
    poll_fn(|cx| match connection.poll_request(cx, &client.timer) {
        Poll::Ready(Ok(Some(parts))) => Poll::Ready(Ok(parts)),
        Poll::Ready(Ok(None)) => Poll::Ready(Err(Stop::NotPlain(None))),
        Poll::Ready(Err(_)) => Poll::Ready(Err(Stop::Over)),
        // Only after a poll, so that a request that has already arrived is answered.
        Poll::Pending if client.is_closing() => Poll::Ready(Err(Stop::Over)),
        Poll::Pending if !client.timer.is_idle() || stays_ready(client, &mut place) => Poll::Pending,
        Poll::Pending => Poll::Ready(Err(Stop::Idle)),
    })
    .await
}

/// Whether a connection at rest is kept ready for the next request, in a `place` if need be.
fn stays_ready<'a>(client: &'a Client, place: &mut Option<ReadySlot<'a>>) -> bool {
    let is_ready = client.timer.comes_back_soon() || {
        *place = place.take().or_else(|| client.worker.ready_slots.take());
        place.is_some()
    };
    is_ready && !client.timer.has_idled()
}

/// Makes an answer the last one of its connection, unless a tunnel begins with it.
fn close_after(answer: &mut Answer<ResponseBody>) {
    if answer.status != StatusCode::SWITCHING_PROTOCOLS {
        answer.headers().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// How serving by hyper ended.
enum HyperStop {
    /// The connection is over, or belongs to a tunnel now.
    Ended(hyper::Result<()>),
    /// The client took too long.
    Late,
    /// The client asks nothing for now.
    Idle,
}

/// Answers requests of any kind, the first of them with `first_answer` if there is one.
///
/// Returns the stream once the client has asked nothing for a while, with what was read of a further request.
async fn serve_by_hyper(
    client: &Rc<Client>,
    stream: Stream,
    heard: Bytes,
    first_answer: Option<Box<Answer<ResponseBody>>>,
) -> Option<(Stream, Bytes)> {
    let socket = ClientSocket::new(stream, heard, Some(Rc::clone(&client.timer)));
    let first_answer = Cell::new(first_answer);
    let is_answering = Cell::new(false);
    let service = service_fn(|request: Request<Incoming>| {
        is_answering.set(true);
        let is_last_asked = asks_to_close(request.headers());
        let answered = first_answer.take();
        if answered.is_none() {
            begin(client, &request);
        }
        let is_answering = &is_answering;
        async move {
            // The future is made here: one that was moved in would be copied for each request and take its room twice.
            let mut answer = match answered {
                Some(answer) => *answer,
                None => {
                    let (parts, body) = request.into_parts();
                    forward::answer(Rc::clone(client), Box::new(parts), Some(body)).await
                }
            };
            is_answering.set(false);
            if is_last_asked || client.worker.closes_after_answer() {
                close_after(&mut answer);
            }
            Ok::<_, Infallible>(answer.into_response())
        }
    });
    let mut connection = Builder::new()
        .max_header_size(REQUEST_HEAD_BYTES_MAX)
        // The client's timer keeps the deadlines.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(socket), service);
    match drive(client, &mut connection, &is_answering).await {
        HyperStop::Ended(Ok(())) => {
            let tunnel = client.take_tunnel()?;
            let (stream, heard) = into_rest(connection.into_parts());
            Box::pin(tunnel.run(client, stream, heard)).await;
            None
        }
        HyperStop::Ended(Err(error)) => {
            if error.is_parse() {
                client.shard().malformed.add(1);
                if !is_answering.get() {
                    log_unread(client, &error);
                }
            }
            None
        }
        HyperStop::Late => None,
        HyperStop::Idle => take_apart(connection),
    }
}

/// Logs a request whose head hyper has refused, where all that comes to this listener is logged.
fn log_unread(client: &Client, error: &hyper::Error) {
    let Some(log) = client.local.service.access_log() else { return };
    let status = if error.is_parse_too_large() {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    } else {
        StatusCode::BAD_REQUEST
    };
    log.put_unread(client, status);
}

/// Lets hyper serve a connection until that is over or at rest, or its client took too long.
async fn drive<S>(
    client: &Client,
    connection: &mut Connection<TokioIo<ClientSocket>, S>,
    is_answering: &Cell<bool>,
) -> HyperStop
where
    S: HttpService<Incoming, ResBody = ResponseBody, Error = Infallible> + Unpin,
{
    let mut is_told_to_end = false;
    let mut place = None;
    poll_fn(|cx| {
        client.timer.register(cx);
        loop {
            if is_late(client) {
                return Poll::Ready(HyperStop::Late);
            }
            if let Poll::Ready(ended) = Pin::new(&mut *connection).poll(cx) {
                return Poll::Ready(HyperStop::Ended(ended));
            }
            // Only after a poll, so that a request that has already arrived is answered.
            if client.is_closing() && !is_told_to_end {
                is_told_to_end = true;
                Pin::new(&mut *connection).graceful_shutdown();
                continue;
            }
            if is_told_to_end || is_answering.get() || !client.timer.is_idle() {
                place = None;
                return Poll::Pending;
            }
            let stays = stays_ready(client, &mut place);
            return if stays { Poll::Pending } else { Poll::Ready(HyperStop::Idle) };
        }
    })
    .await
}

/// Notes that a request has begun, and if it has no body, that it has come whole.
fn begin(client: &Client, request: &Request<Incoming>) {
    client.timer.begin_request();
    if request.body().is_end_stream() {
        client.timer.end_request(client.timer.request());
    }
}

/// Takes a connection between two requests back from hyper: its stream, and what was read of it and not used.
fn take_apart<S>(mut connection: Connection<TokioIo<ClientSocket>, S>) -> Option<(Stream, Bytes)>
where
    S: HttpService<Incoming, ResBody = ResponseBody, Error = Infallible> + Unpin,
{
    Pin::new(&mut connection).graceful_shutdown();
    let apart = pin!(connection.without_shutdown());
    // Between two requests it shuts down at once.
    let ended = apart.poll(&mut Context::from_waker(Waker::noop()));
    debug_assert!(ended.is_ready(), "hyper is busy with a connection at rest");
    let Poll::Ready(Ok(parts)) = ended else { return None };
    Some(into_rest(parts))
}

/// The stream of a connection that hyper has released, and what was read of it and not used, by hyper and before.
fn into_rest<S>(parts: http1::Parts<TokioIo<ClientSocket>, S>) -> (Stream, Bytes) {
    let http1::Parts { io, read_buf, .. } = parts;
    let (stream, heard) = io.into_inner().into_parts();
    (stream, if heard.is_empty() { read_buf } else { [read_buf, heard].concat().into() })
}

/// Whether time has run out, other than for the head of a response: that ends the attempt, not the connection.
fn is_late(client: &Client) -> bool {
    client.timer.is_expired() && client.timer.stage() != Stage::Response
}
