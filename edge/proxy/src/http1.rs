//! HTTP/1.1 towards clients: one request after the other, and in between as little as there can be.
//!
//! A connection is served as a [plain](crate::plain) one, until something comes that is more than that: from then on hyper serves it, until it is at rest.
//!
//! Whoever speaks HTTP/1.1 by hyper has two buffers of 8 KiB, a map of headers and the room for an answer: 20 KiB, as measured. Most connections
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
use hyper::http::request::Parts;
use hyper::server::conn::http1::{self, Builder, Connection};
use hyper::service::{HttpService, service_fn};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use crate::body::ResponseBody;
use crate::connection::{Client, REQUEST_HEAD_BYTES_MAX, hang_up};
use crate::forward;
use crate::hand::Stage;
use crate::plain::client::{Talk, Unasked, plain_length};
use crate::socket::{ClientSocket, Stream};
use crate::worker::Worker;

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

/// Answers what a client asks; answers its stream once it has asked nothing for a while, and nothing of a next request has come.
pub(crate) async fn serve(client: &Rc<Client>, mut stream: Stream, mut heard: Bytes) -> Option<Stream> {
    loop {
        let other = match serve_plainly(client, stream, heard).await? {
            Parting::AtRest(stream) => return Some(stream),
            Parting::Other(other) => other,
        };
        // Boxed, so that those who ask what is plain are not the larger for it.
        (stream, heard) = Box::pin(serve_by_hyper(client, other)).await?;
        if heard.is_empty() {
            return Some(stream);
        }
    }
}

/// What becomes of a connection on which nothing plain is to be answered.
enum Parting {
    /// The client asks nothing more for now.
    AtRest(Stream),
    Other(Other),
}

/// A connection on which there is more than what is plain.
struct Other {
    stream: Stream,
    /// What was read of it, from the first byte of a request on.
    heard: Bytes,
    /// The answer to that request, if there is one already.
    answer: Option<Box<Response<ResponseBody>>>,
}

/// Answers what a client asks as long as that is plain; `None` when the connection is over.
async fn serve_plainly(client: &Rc<Client>, stream: Stream, heard: Bytes) -> Option<Parting> {
    let mut talk = Talk::new(stream, heard);
    let pause = {
        let mut serving = pin!(answer_plainly(client, &mut talk));
        poll_fn(|cx| {
            client.hand.register(cx);
            if is_late(client) { Poll::Ready(None) } else { serving.as_mut().poll(cx) }
        })
        .await?
    };
    let (stream, heard) = talk.into_parts();
    match pause {
        Pause::Rest => {
            debug_assert!(heard.is_empty(), "who has begun to say something is not at rest");
            Some(Parting::AtRest(stream))
        }
        Pause::Other(answer) => Some(Parting::Other(Other { stream, heard, answer })),
        Pause::End => {
            hang_up(stream);
            None
        }
    }
}

/// Why a connection is not served any more as a plain one.
enum Pause {
    /// The client asks nothing more for now.
    Rest,
    /// Neither side has anything more to say.
    End,
    /// A request that is not plain, or the answer to one that was.
    Other(Option<Box<Response<ResponseBody>>>),
}

/// As [`serve_plainly`], without a look at the time; `None` when an answer could not be brought to its end.
async fn answer_plainly(client: &Rc<Client>, talk: &mut Talk) -> Option<Pause> {
    loop {
        let parts = match next_request(client, talk).await {
            Ok(parts) => parts,
            Err(pause) => return Some(pause),
        };
        client.hand.begin_request();
        client.hand.end_request(client.hand.request());
        let mut response = {
            let mut answering = pin!(forward::answer(Rc::clone(client), parts, None));
            poll_fn(|cx| match answering.as_mut().poll(cx) {
                Poll::Ready(response) => Poll::Ready(Some(response)),
                // Who has left wants no answer.
                Poll::Pending => talk.poll_end(cx, &client.hand).map(|()| None),
            })
            .await?
        };
        if client.is_closing() {
            end_with(&mut response);
        }
        say_when_leaving(client, &mut response);
        let Worker { date, hands, .. } = &*client.worker;
        let Some(length) = plain_length(&response) else {
            return Some(Pause::Other(Some(Box::new(response))));
        };
        let mut answer = talk.begin_answer(response, length, date, hands.now());
        poll_fn(|cx| talk.poll_answer(cx, &mut answer, &client.hand)).await.ok()?;
        if answer.is_last {
            return Some(Pause::End);
        }
    }
}

/// Waits for a plain request, as long as the connection is kept ready for one.
async fn next_request(client: &Client, talk: &mut Talk) -> Result<Box<Parts>, Pause> {
    let mut watchful = None;
    poll_fn(|cx| match talk.poll_request(cx, &client.hand) {
        Poll::Ready(Ok(parts)) => Poll::Ready(Ok(parts)),
        Poll::Ready(Err(Unasked::Other)) => Poll::Ready(Err(Pause::Other(None))),
        Poll::Ready(Err(Unasked::End)) => Poll::Ready(Err(Pause::End)),
        // Only after a poll, so that a request that has already arrived is answered.
        Poll::Pending if client.is_closing() => Poll::Ready(Err(Pause::End)),
        Poll::Pending if !client.hand.is_at_rest() || stays_ready(client, &mut watchful) => Poll::Pending,
        Poll::Pending => Poll::Ready(Err(Pause::Rest)),
    })
    .await
}

/// Whether a connection at rest is kept ready for a next request.
fn stays_ready<'a>(client: &'a Client, watchful: &mut Option<Watchful<'a>>) -> bool {
    let is_ready = client.hand.comes_back_soon() || {
        *watchful = watchful.take().or_else(|| client.worker.alert.enter());
        watchful.is_some()
    };
    is_ready && !client.hand.has_rested()
}

/// Tells a client with its answer that it has to go, where that is to be so.
fn say_when_leaving(client: &Client, response: &mut Response<ResponseBody>) {
    if client.worker.is_leaving() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        end_with(response);
    }
}

/// Makes an answer the last one of its connection.
fn end_with(response: &mut Response<ResponseBody>) {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
}

/// How a connection stopped being served by hyper.
enum Stop {
    /// It is over, or belongs to a tunnel now.
    Ended(hyper::Result<()>),
    /// The client took too long.
    Late,
    /// The client asks nothing more for now.
    AtRest,
}

/// Answers what a client asks, whatever it is; answers its stream once it has asked nothing for a while, with what was read of a next request.
async fn serve_by_hyper(client: &Rc<Client>, other: Other) -> Option<(Stream, Bytes)> {
    let socket = ClientSocket::new(other.stream, other.heard, Some(Rc::clone(&client.hand)));
    let first_answer = Cell::new(other.answer);
    let is_answering = Cell::new(false);
    let service = service_fn(|request: Request<Incoming>| {
        is_answering.set(true);
        let answered = first_answer.take();
        if answered.is_none() {
            begin(client, &request);
        }
        let is_answering = &is_answering;
        async move {
            // Made in here: a future that is moved in to be awaited has its room twice, and it is moved for each request.
            let mut response = match answered {
                Some(response) => *response,
                None => {
                    let (parts, body) = request.into_parts();
                    forward::answer(Rc::clone(client), Box::new(parts), Some(body)).await
                }
            };
            is_answering.set(false);
            say_when_leaving(client, &mut response);
            Ok::<_, Infallible>(response)
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
            let stays = stays_ready(client, &mut watchful);
            return if stays { Poll::Pending } else { Poll::Ready(Stop::AtRest) };
        }
    });
    match stop.await {
        Stop::Ended(Ok(())) => {
            let tunnel = client.take_tunnel()?;
            let (stream, heard) = into_rest(connection.into_parts());
            Box::pin(tunnel.run(client, stream, heard)).await;
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

/// Notes that a request has begun, and whether all of it has come.
fn begin(client: &Client, request: &Request<Incoming>) {
    client.hand.begin_request();
    if request.body().is_end_stream() {
        client.hand.end_request(client.hand.request());
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
    let Poll::Ready(Ok(parts)) = ended else { return None };
    Some(into_rest(parts))
}

/// The stream of a connection that hyper has let go, with what was read of it and not used, by hyper and before.
fn into_rest<S>(parts: http1::Parts<TokioIo<ClientSocket>, S>) -> (Stream, Bytes) {
    let http1::Parts { io, read_buf, .. } = parts;
    let (stream, heard) = io.into_inner().into_parts();
    (stream, if heard.is_empty() { read_buf } else { [read_buf, heard].concat().into() })
}

/// Whether the client, or its request's endpoint in the middle of an answer, has let its time pass.
fn is_late(client: &Client) -> bool {
    client.hand.is_expired() && client.hand.stage() != Stage::Response
}
