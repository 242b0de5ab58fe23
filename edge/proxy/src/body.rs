//! Bodies, streamed through the proxy. None is buffered completely, but the beginning of a request's body is kept for retries.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use balance::{Body as Replay, REPLAY_BYTES_MAX};
use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::EXPECT;
use thiserror::Error;
use tokio::time::Instant;

use crate::client::Client;
use crate::exchange::Exchange;
use crate::headers::prepare_trailers;
use crate::route::Protocol;
use crate::router::Gzip;
use crate::timer::Stage;
use crate::upstream::{Upstream, UpstreamBody};

/// A body that could not be read to its end.
#[derive(Debug, Error)]
pub(crate) enum BodyError {
    #[error("the client's request body is longer than allowed")]
    TooLong,
    #[error("the client's request body ended prematurely")]
    Request(#[source] hyper::Error),
    #[error("the endpoint's response body ended prematurely")]
    Response(#[source] hyper::Error),
    #[error("the endpoint's response body was reset")]
    Reset(#[source] h2::Error),
    #[error("the endpoint closed the connection in the middle of its response")]
    Truncated,
}

/// A request's body as it is received from the client, with the part that is kept.
#[derive(Debug)]
pub(crate) struct Upload {
    /// The client, whose service says the timeouts.
    client: RefCell<Rc<Client>>,
    /// The number of the request in the client's timer.
    request: u32,
    /// Whether the client sends it only after a `100 Continue`.
    expects_continue: bool,
    source: RefCell<Incoming>,
    length: Option<u64>,
    replay: RefCell<ReplayBuffer>,
    passed: Cell<u64>,
    is_broken: Cell<bool>,
    is_ended: Cell<bool>,
    /// Bytes that were read and discarded after the answer; `None` before that begins.
    discarded: Cell<Option<u64>>,
    /// When its last piece was forwarded.
    sent: Cell<Option<Instant>>,
    /// The most bytes that it may have; a longer body counts as broken.
    bytes_max: Cell<u64>,
}

/// Bytes of a body that are read and discarded after the request was answered without them.
///
/// If a client sends more, its connection is closed. nginx limits only the time, to 30 s; a megabyte arrives
/// within the second that is allowed for it, and costs less than a new TLS connection.
const DISCARD_BYTES_MAX: u64 = 1 << 20;

/// How long the rest of a request that was answered early is read and discarded.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct ReplayBuffer {
    pieces: Vec<Bytes>,
    bytes: usize,
    trailers: Option<HeaderMap>,
    /// Whether more was received than is kept, so that the beginning was dropped.
    has_overflowed: bool,
}

impl Upload {
    /// `None` for a request without a body.
    pub(crate) fn new(client: &Rc<Client>, source: Incoming, headers: &HeaderMap) -> Option<Rc<Self>> {
        if source.is_end_stream() {
            return None;
        }
        Some(Rc::new(Self {
            client: RefCell::new(Rc::clone(client)),
            request: client.timer.request(),
            expects_continue: headers.contains_key(EXPECT),
            length: source.size_hint().exact(),
            source: RefCell::new(source),
            replay: RefCell::new(ReplayBuffer {
                pieces: Vec::new(),
                bytes: 0,
                trailers: None,
                has_overflowed: false,
            }),
            passed: Cell::new(0),
            is_broken: Cell::new(false),
            is_ended: Cell::new(false),
            discarded: Cell::new(None),
            sent: Cell::new(None),
            bytes_max: Cell::new(u64::MAX),
        }))
    }

    /// Notes which service the request is forwarded to, by the `client` of that.
    pub(crate) fn set_client(&self, client: &Rc<Client>) {
        *self.client.borrow_mut() = Rc::clone(client);
    }

    /// The length of the body in bytes; `None` if it is chunked.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether the body can be sent from its beginning.
    pub(crate) fn replay(&self) -> Replay {
        if self.replay.borrow().has_overflowed { Replay::Consumed } else { Replay::Whole }
    }

    /// Limits the length of the body. To be called before any of it is read.
    pub(crate) fn limit(&self, bytes_max: u64) {
        self.bytes_max.set(bytes_max);
    }

    /// Whether more was received, or announced, than is allowed.
    pub(crate) fn is_too_long(&self) -> bool {
        self.passed.get().max(self.length.unwrap_or(0)) > self.bytes_max.get()
    }

    /// Bytes that were received from the client so far.
    pub(crate) fn passed(&self) -> u64 {
        self.passed.get()
    }

    /// When its last piece was forwarded; `None` before.
    pub(crate) fn sent(&self) -> Option<Instant> {
        self.sent.get()
    }

    /// Whether the client's body ended prematurely or was malformed, so that no endpoint can get the whole request.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken.get()
    }

    /// Whether it was read to its end.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_ended.get() || self.source_has_ended()
    }

    /// Whether the client is still sending it, can use its connection again only after that, and has not too much left to send.
    fn is_discardable(&self) -> bool {
        // In HTTP/2 a stream can be reset without affecting the others.
        let blocks_the_next = self.client.borrow().protocol == Protocol::Http1;
        let is_under_way = !self.expects_continue || self.passed.get() > 0;
        let left = self.length.map_or(0, |length| length.saturating_sub(self.passed.get()));
        let is_readable = !self.is_broken.get() || self.is_too_long();
        blocks_the_next && is_under_way && is_readable && left <= DISCARD_BYTES_MAX && !self.is_complete()
    }

    /// Reads and discards the rest of a request that was answered before its end; ready when it is complete, is too much, or has timed out.
    ///
    /// If the connection were closed instead, the system might discard the answer before the client has it, and the client would not know
    /// whether it may use the connection again.
    pub(crate) fn poll_discard(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_discardable() {
            return Poll::Ready(());
        }
        let timer = &self.client.borrow().timer;
        if self.discarded.get().is_none() {
            timer.arm(Stage::Response, DISCARD_TIMEOUT);
        } else if timer.take_expired() {
            return Poll::Ready(());
        }
        let mut read = self.discarded.get().unwrap_or(0);
        let mut source = self.source.borrow_mut();
        while read <= DISCARD_BYTES_MAX && !source.is_end_stream() {
            self.discarded.set(Some(read));
            let polled = ready!(Pin::new(&mut *source).poll_frame(cx));
            self.note_end(&source, polled.is_none());
            self.is_ended.set(polled.is_none());
            let Some(Ok(frame)) = polled else { break };
            let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
            read += bytes;
            self.passed.set(self.passed.get() + bytes);
        }
        Poll::Ready(())
    }

    /// Waits until the rest was read and discarded as [`poll_discard`](Self::poll_discard) does. The client is idle after that.
    pub(crate) async fn discard(&self) {
        poll_fn(|cx| self.poll_discard(cx)).await;
        let client = self.client.borrow();
        let timeouts = &client.local.snapshot().timeouts;
        client.timer.arm_idle(timeouts.client_idle, timeouts.request_head);
    }

    /// Notes in the timer when the body has ended, so that the next request can follow.
    fn note_end(&self, source: &Incoming, has_ended: bool) {
        if has_ended || source.is_end_stream() {
            self.client.borrow().timer.end_request(self.request);
        }
    }

    /// The whole body, if it was received and kept completely.
    fn whole(&self) -> Option<Vec<Bytes>> {
        let is_complete =
            self.is_ended.get() || self.length == Some(self.passed.get()) || self.source_has_ended();
        let buffer = self.replay.borrow();
        (is_complete && !buffer.has_overflowed && !self.is_broken.get()).then(|| buffer.pieces.clone())
    }

    /// Whether the client will send nothing more, as far as is known without a read.
    fn source_has_ended(&self) -> bool {
        self.source.borrow().is_end_stream()
    }

    /// Whether sending is complete after this piece and byte.
    fn is_sent(&self, pieces: usize, bytes: u64) -> bool {
        let buffer = self.replay.borrow();
        let has_sent_buffer = buffer.pieces.len() <= pieces && buffer.trailers.is_none();
        self.length == Some(bytes) || (has_sent_buffer && self.source_has_ended())
    }

    fn poll_source(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut source = self.source.borrow_mut();
        let polled = Pin::new(&mut *source).poll_frame(cx).map_ok(without_forbidden_trailers);
        self.note_end(&source, matches!(polled, Poll::Ready(None)));
        drop(source);
        self.is_broken.set(matches!(polled, Poll::Ready(Some(Err(_)))));
        self.is_ended.set(matches!(polled, Poll::Ready(None)));
        let Poll::Ready(Some(Ok(frame))) = &polled else {
            return polled.map_err(BodyError::Request);
        };
        let mut buffer = self.replay.borrow_mut();
        if let Some(piece) = frame.data_ref() {
            self.passed.set(self.passed.get() + piece.len() as u64);
            if self.is_too_long() {
                self.is_broken.set(true);
                return Poll::Ready(Some(Err(BodyError::TooLong)));
            }
            buffer.bytes += piece.len();
            if buffer.bytes > REPLAY_BYTES_MAX {
                buffer.has_overflowed = true;
                buffer.pieces = Vec::new();
            } else {
                buffer.pieces.push(piece.clone());
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            buffer.trailers = Some(trailers.clone());
        }
        polled.map_err(BodyError::Request)
    }
}

fn without_forbidden_trailers(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        prepare_trailers(trailers);
    }
    frame
}

/// One sending of a request's body.
#[derive(Debug)]
pub(crate) enum RequestBody {
    Empty,
    Upload {
        upload: Rc<Upload>,
        next_piece: usize,
        sent: u64,
        is_ended: bool,
    },
    /// A complete body, for a copy of its request.
    Copy {
        pieces: std::vec::IntoIter<Bytes>,
        left: u64,
    },
}

impl RequestBody {
    /// The body from its beginning; it must be [`Replay::Whole`].
    pub(crate) fn of(upload: Option<&Rc<Upload>>) -> Self {
        match upload {
            None => Self::Empty,
            Some(upload) => {
                Self::Upload { upload: Rc::clone(upload), next_piece: 0, sent: 0, is_ended: false }
            }
        }
    }

    /// The whole body for a copy of the request; `None` when it is not complete yet, or was too long to be kept.
    pub(crate) fn copy_of(upload: Option<&Rc<Upload>>) -> Option<Self> {
        let Some(upload) = upload else { return Some(Self::Empty) };
        let pieces = upload.whole()?;
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Some(Self::Copy { pieces: pieces.into_iter(), left })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (upload, next_piece, sent, is_ended) = match &mut *self {
            Self::Upload { upload, next_piece, sent, is_ended } => (upload, next_piece, sent, is_ended),
            Self::Copy { pieces, left } => {
                let piece = pieces.next();
                *left -= piece.as_ref().map_or(0, Bytes::len) as u64;
                return Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))));
            }
            Self::Empty => return Poll::Ready(None),
        };
        if *is_ended {
            return Poll::Ready(None);
        }
        let again = {
            let buffer = upload.replay.borrow();
            let piece = buffer.pieces.get(*next_piece).cloned().map(Frame::data);
            piece.or_else(|| {
                // After trailers that were kept, the source has nothing more.
                let trailers = buffer.trailers.clone()?;
                *is_ended = true;
                Some(Frame::trailers(trailers))
            })
        };
        let frame = match again {
            Some(frame) => Some(Ok(frame)),
            None => ready!(upload.poll_source(cx)),
        };
        *next_piece += 1;
        match &frame {
            Some(Ok(frame)) => *sent += frame.data_ref().map_or(0, Bytes::len) as u64,
            Some(Err(_)) | None => *is_ended = true,
        }
        *is_ended |= upload.is_sent(*next_piece, *sent);
        if *is_ended {
            upload.sent.set(Some(Instant::now()));
        }
        upload.client.borrow().note_upload(*is_ended);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Copy { left, .. } => *left == 0,
            Self::Upload { is_ended, .. } => *is_ended,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Copy { left, .. } => SizeHint::with_exact(*left),
            Self::Upload { upload, sent, .. } => {
                upload.length.map_or_else(SizeHint::default, |n| SizeHint::with_exact(n - sent))
            }
        }
    }
}

/// The body of a response to a client.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// The proxy's own; `None` for none.
    Local(Option<Bytes>),
    /// An endpoint's, with its connection.
    Endpoint(Download),
    /// One of these, compressed.
    Gzip(Box<Gzip>),
}

#[derive(Debug)]
pub(crate) struct Download {
    body: UpstreamBody,
    /// Returned to the pool when the body ends.
    upstream: Option<Upstream>,
    exchange: Box<Exchange>,
    /// Bytes that it should have; `None` if that is not known.
    length: Option<u64>,
    /// Whether the endpoint's part is over: the body is complete, or broken.
    has_ended: bool,
    /// Its last frame, held back until the client has sent the rest of its request.
    end: Option<Option<Box<Frame<Bytes>>>>,
    /// Why it ended prematurely, held back until the client has what was received before.
    broken: Option<Box<BodyError>>,
}

impl Download {
    pub(crate) fn new(
        body: UpstreamBody,
        upstream: Upstream,
        exchange: Box<Exchange>,
        length: Option<u64>,
    ) -> Self {
        Self { body, upstream: Some(upstream), exchange, length, has_ended: false, end: None, broken: None }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(end) = &mut self.end {
            ready!(self.exchange.poll_discard(cx));
            // `None` once it was forwarded.
            return Poll::Ready(end.take().map(|frame| Ok(*frame)));
        }
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(*error)));
        }
        // Takes the next frame. If there is none, drives the connection and tries again.
        let mut is_driven = false;
        loop {
            match self.body.poll_frame(self.upstream.as_mut(), cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.exchange.passed(frame.data_ref().map_or(0, Bytes::len) as u64);
                    if self.body.is_end_stream() {
                        return self.finish(Some(frame), cx);
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(Some(Err(error))) => return self.break_off(error, cx),
                Poll::Ready(None) => {
                    return self.finish(None, cx);
                }
                Poll::Pending if is_driven => return Poll::Pending,
                Poll::Pending => {}
            }
            let Some(upstream) = &mut self.upstream else {
                return self.break_off(BodyError::Truncated, cx);
            };
            upstream.drive(cx);
            if upstream.is_finished() {
                // What was read before the end is still to be taken; then the body ends or fails.
                self.upstream = None;
            } else {
                is_driven = true;
            }
        }
    }

    /// Ends prematurely, but only at the next poll: after an error hyper and h2 drop what they have not sent yet, even the head.
    fn break_off(
        &mut self,
        error: BodyError,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.has_ended = true;
        self.exchange.broken_off();
        self.broken = Some(Box::new(error));
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ends with `last`, now or once the client has sent the rest of its request.
    fn finish(
        &mut self,
        last: Option<Frame<Bytes>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.has_ended = true;
        self.exchange.ended(last.as_ref().and_then(Frame::trailers_ref));
        self.put_back(cx);
        if self.exchange.poll_discard(cx).is_pending() {
            self.end = Some(last.map(Box::new));
            return Poll::Pending;
        }
        Poll::Ready(last.map(Ok))
    }

    fn put_back(&mut self, cx: &mut Context<'_>) {
        if let Some(upstream) = self.upstream.take() {
            self.exchange.put_back(upstream, cx);
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        // A body without a length, such as a stream of events, has no end that its client would have to wait for.
        if !self.has_ended && self.length.is_some_and(|length| self.exchange.bytes_out() < length) {
            self.exchange.cut_short();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Local(message) => Poll::Ready(message.take().map(|message| Ok(Frame::data(message)))),
            Self::Endpoint(download) => download.poll_frame(cx),
            Self::Gzip(gzip) => gzip.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Local(message) => message.is_none(),
            Self::Gzip(gzip) => gzip.is_end_stream(),
            Self::Endpoint(download) => {
                download.body.is_end_stream() && !matches!(download.end, Some(Some(_)))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Local(message) => SizeHint::with_exact(message.as_ref().map_or(0, Bytes::len) as u64),
            Self::Endpoint(download) => download.body.size_hint(),
            Self::Gzip(_) => SizeHint::default(),
        }
    }
}
