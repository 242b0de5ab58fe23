//! HTTP/1.1 towards clients: one request after the other, and as little memory as possible in between.
//!
//! A connection is served as a [plain](crate::plain) one until a request or an answer is not plain. hyper then serves it until it is idle.
//!
//! hyper holds two buffers of 8 KiB, a map of headers and space for an answer for each connection: 20 KiB, as measured. Most connections of
//! a busy site are idle for seconds or minutes. So an idle connection is reduced to its socket, and is set up again when bytes arrive.
//! Nothing is lost: bytes that were read already are kept with the socket, and the rest is still in it.
//!
//! For clients that send one request right after another, connections stay set up for half a second, as do some of those whose clients have
//! sent only one.

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
use crate::body::{ResponseBody, Upload};
use crate::client::{Client, REQUEST_HEAD_BYTES_MAX};
use crate::forward;
use crate::headers::asks_to_close;
use crate::linger::linger;
use crate::plain::client::{ClientConnection, plain_length};
use crate::ready_slots::ReadySlot;
use crate::socket::{ClientSocket, Stream, close};
use crate::timer::Stage;
use crate::worker::Worker;

/// Answers requests until the connection is over, or idle for longer than it is kept set up; returns its stream in the latter case.
pub(crate) async fn serve(client: &Rc<Client>, mut stream: Stream, mut buffered: Bytes) -> Option<Stream> {
    loop {
        let first_answer;
        (stream, buffered, first_answer) = match serve_plain(client, stream, buffered).await? {
            (stream, buffered, Stop::Idle) => {
                debug_assert!(buffered.is_empty(), "a client that has begun a request is not idle");
                return Some(stream);
            }
            (stream, _, Stop::Closed) => {
                close(stream);
                return None;
            }
            (stream, buffered, Stop::NotPlain(answer)) => (stream, buffered, answer),
        };
        // Boxed, so that clients with plain requests only do not pay for its size.
        (stream, buffered) = Box::pin(serve_with_hyper(client, stream, buffered, first_answer)).await?;
        if buffered.is_empty() {
            return Some(stream);
        }
    }
}

/// Why a connection is no longer served as a plain one.
enum Stop {
    /// The client sends no request for now.
    Idle,
    /// The client has closed the connection, or it is to be closed.
    Closed,
    /// A request is not plain, or it was and this answer to it is not.
    NotPlain(Option<Box<Answer<ResponseBody>>>),
}

/// Answers requests as long as they and their answers are plain. Returns the stream with what was read and not answered; `None` when the
/// connection broke or timed out.
async fn serve_plain(client: &Rc<Client>, stream: Stream, buffered: Bytes) -> Option<(Stream, Bytes, Stop)> {
    let mut connection = ClientConnection::new(stream, buffered);
    let stop = {
        let mut serving = pin!(answer_plain(client, &mut connection));
        poll_fn(|cx| {
            client.timer.register(cx);
            if has_timed_out(client) { Poll::Ready(None) } else { serving.as_mut().poll(cx) }
        })
        .await?
    };
    let (stream, buffered) = connection.into_parts();
    Some((stream, buffered, stop))
}

/// As [`serve_plain`], without timeouts.
async fn answer_plain(client: &Rc<Client>, connection: &mut ClientConnection) -> Option<Stop> {
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
                // A client that has disconnected needs no answer.
                Poll::Pending => connection.poll_closed(cx, &client.timer).map(|()| None),
            })
            .await?
        };
        let is_last =
            connection.closes_after_answer() || client.is_closing() || client.worker.closes_after_answer();
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
            return Some(Stop::Closed);
        }
    }
}

/// Waits for a plain request, as long as the connection is kept set up for one.
async fn next_request(client: &Client, connection: &mut ClientConnection) -> Result<Box<Parts>, Stop> {
    let mut slot = None;
    poll_fn(|cx| match connection.poll_request(cx, &client.timer) {
        Poll::Ready(Ok(Some(parts))) => Poll::Ready(Ok(parts)),
        Poll::Ready(Ok(None)) => Poll::Ready(Err(Stop::NotPlain(None))),
        Poll::Ready(Err(_)) => Poll::Ready(Err(Stop::Closed)),
        // After a poll, so that a request that has already arrived is answered.
        Poll::Pending if client.is_closing() => Poll::Ready(Err(Stop::Closed)),
        Poll::Pending if !client.timer.is_idle() || stays_ready(client, &mut slot) => Poll::Pending,
        Poll::Pending => Poll::Ready(Err(Stop::Idle)),
    })
    .await
}

/// Whether an idle connection is kept set up for the next request, in a `slot` if need be.
fn stays_ready<'a>(client: &'a Client, slot: &mut Option<ReadySlot<'a>>) -> bool {
    let is_ready = client.timer.comes_back_soon() || {
        *slot = slot.take().or_else(|| client.worker.ready_slots.take());
        slot.is_some()
    };
    is_ready && !client.timer.has_idled()
}

/// Closes the connection after this answer, unless a tunnel begins with it.
fn close_after(answer: &mut Answer<ResponseBody>) {
    if answer.status != StatusCode::SWITCHING_PROTOCOLS {
        answer.headers().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Discards the rest of a request that has this `answer` before its end, or tells the client that the connection is closed because there is
/// too much of it. The [body of an endpoint's answer](ResponseBody::Endpoint) discards the rest by itself, at its end.
async fn finish_request(upload: &Upload, mut answer: Answer<ResponseBody>) -> Answer<ResponseBody> {
    if matches!(answer.body, ResponseBody::Local(_)) && !answer.headers().contains_key(CONNECTION) {
        upload.discard().await;
        if !upload.is_complete() {
            close_after(&mut answer);
        }
    }
    answer
}

/// Why hyper no longer serves a connection.
enum HyperStop {
    /// The connection is over, or belongs to a tunnel.
    Ended(hyper::Result<()>),
    /// The client was too slow.
    TimedOut,
    /// The client sends no request for now.
    Idle,
}

/// Answers requests of any kind, the first of them with `first_answer` if there is one.
///
/// Returns the stream once the client has been idle for a while, with what was read of a further request.
async fn serve_with_hyper(
    client: &Rc<Client>,
    stream: Stream,
    buffered: Bytes,
    first_answer: Option<Box<Answer<ResponseBody>>>,
) -> Option<(Stream, Bytes)> {
    let socket = ClientSocket::new(stream, buffered, Some(Rc::clone(&client.timer)));
    let first_answer = Cell::new(first_answer);
    let is_answering = Cell::new(false);
    let service = service_fn(|request: Request<Incoming>| {
        is_answering.set(true);
        let closes_after_answer = asks_to_close(request.headers());
        let answered = first_answer.take();
        if answered.is_none() {
            begin(client, &request);
        }
        let is_answering = &is_answering;
        async move {
            // The future is made here: one that was moved in would be copied for each request and take up its size twice.
            let mut answer = match answered {
                Some(answer) => *answer,
                None => {
                    let (parts, body) = request.into_parts();
                    let upload = Upload::new(client, body, &parts.headers);
                    let answer = forward::answer(Rc::clone(client), Box::new(parts), upload.clone()).await;
                    match upload {
                        Some(upload) => finish_request(&upload, answer).await,
                        None => answer,
                    }
                }
            };
            is_answering.set(false);
            if closes_after_answer || client.worker.closes_after_answer() {
                close_after(&mut answer);
            }
            Ok::<_, Infallible>(answer.into_response())
        }
    });
    let mut connection = Builder::new()
        .max_header_size(REQUEST_HEAD_BYTES_MAX)
        // The client's timer has the timeouts.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(socket), service);
    match drive(client, &mut connection, &is_answering).await {
        HyperStop::Ended(Ok(())) => {
            let (stream, buffered) = into_stream(connection.into_parts());
            if let Some(tunnel) = client.take_tunnel() {
                Box::pin(tunnel.run(client, stream, buffered)).await;
            } else if client.timer.is_in_request() {
                Box::pin(linger(client, stream)).await;
            }
            None
        }
        HyperStop::Ended(Err(error)) => {
            if error.is_parse() {
                client.shard().malformed.add(1);
                if !is_answering.get() {
                    log_malformed(client, &error);
                }
                Box::pin(linger(client, into_stream(connection.into_parts()).0)).await;
            }
            None
        }
        HyperStop::TimedOut => None,
        HyperStop::Idle => release_idle(connection),
    }
}

/// Logs a request whose head hyper has refused, if all requests of this listener are logged.
fn log_malformed(client: &Client, error: &hyper::Error) {
    let Some(log) = client.local.service.access_log() else { return };
    let status = if error.is_parse_too_large() {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    } else {
        StatusCode::BAD_REQUEST
    };
    log.log_malformed(client, status);
}

/// Lets hyper serve a connection until it is over, idle, or timed out.
async fn drive<S>(
    client: &Client,
    connection: &mut Connection<TokioIo<ClientSocket>, S>,
    is_answering: &Cell<bool>,
) -> HyperStop
where
    S: HttpService<Incoming, ResBody = ResponseBody, Error = Infallible> + Unpin,
{
    let mut is_shutting_down = false;
    let mut slot = None;
    poll_fn(|cx| {
        client.timer.register(cx);
        loop {
            if has_timed_out(client) {
                return Poll::Ready(HyperStop::TimedOut);
            }
            if let Poll::Ready(ended) = Pin::new(&mut *connection).poll(cx) {
                return Poll::Ready(HyperStop::Ended(ended));
            }
            // After a poll, so that a request that has already arrived is answered.
            if client.is_closing() && !is_shutting_down {
                is_shutting_down = true;
                Pin::new(&mut *connection).graceful_shutdown();
                continue;
            }
            if is_shutting_down || is_answering.get() || !client.timer.is_idle() {
                slot = None;
                return Poll::Pending;
            }
            let stays = stays_ready(client, &mut slot);
            return if stays { Poll::Pending } else { Poll::Ready(HyperStop::Idle) };
        }
    })
    .await
}

/// Notes that a request has begun, and if it has no body, that it is complete.
fn begin(client: &Client, request: &Request<Incoming>) {
    client.timer.begin_request();
    if request.body().is_end_stream() {
        client.timer.end_request(client.timer.request());
    }
}

/// Takes an idle connection back from hyper: its stream, and what was read and not used.
fn release_idle<S>(mut connection: Connection<TokioIo<ClientSocket>, S>) -> Option<(Stream, Bytes)>
where
    S: HttpService<Incoming, ResBody = ResponseBody, Error = Infallible> + Unpin,
{
    Pin::new(&mut connection).graceful_shutdown();
    let apart = pin!(connection.without_shutdown());
    // Between two requests it shuts down at once.
    let ended = apart.poll(&mut Context::from_waker(Waker::noop()));
    debug_assert!(ended.is_ready(), "hyper is busy with an idle connection");
    let Poll::Ready(Ok(parts)) = ended else { return None };
    Some(into_stream(parts))
}

/// The stream of a connection that hyper has released, and what was read and not used, by hyper and before.
fn into_stream<S>(parts: http1::Parts<TokioIo<ClientSocket>, S>) -> (Stream, Bytes) {
    let http1::Parts { io, read_buf, .. } = parts;
    let (stream, buffered) = io.into_inner().into_parts();
    (stream, if buffered.is_empty() { read_buf } else { [read_buf, buffered].concat().into() })
}

/// Whether a timeout has passed, other than that for the head of a response, which ends the attempt and not the connection.
fn has_timed_out(client: &Client) -> bool {
    client.timer.is_expired() && client.timer.stage() != Stage::Response
}
