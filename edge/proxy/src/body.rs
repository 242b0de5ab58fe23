//! Bodies on their way through: never buffered whole, but the beginning of a request's is kept for sending it again.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use balance::{Body as Left, REPLAY_BYTES_MAX};
use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use thiserror::Error;

use crate::connection::Client;
use crate::exchange::Exchange;
use crate::link::Link;

/// A body that could not be read to its end.
#[derive(Debug, Error)]
pub(crate) enum BodyError {
    #[error("the client's request body broke off")]
    Request(#[source] hyper::Error),
    #[error("the endpoint's response body broke off")]
    Response(#[source] hyper::Error),
    #[error("the endpoint closed the connection in the middle of its response")]
    Truncated,
}

/// A request's body, as it comes from the client, and what was kept of it.
#[derive(Debug)]
pub(crate) struct Upload {
    client: Rc<Client>,
    source: RefCell<Incoming>,
    length: Option<u64>,
    kept: RefCell<Kept>,
    passed: Cell<u64>,
}

#[derive(Debug)]
struct Kept {
    pieces: Vec<Bytes>,
    bytes: usize,
    trailers: Option<HeaderMap>,
    /// More came than is kept: the beginning is gone.
    is_overfull: bool,
}

impl Upload {
    /// `None` for a request without a body.
    pub(crate) fn new(client: &Rc<Client>, source: Incoming) -> Option<Rc<Self>> {
        if source.is_end_stream() {
            return None;
        }
        Some(Rc::new(Self {
            client: Rc::clone(client),
            length: source.size_hint().exact(),
            source: RefCell::new(source),
            kept: RefCell::new(Kept { pieces: Vec::new(), bytes: 0, trailers: None, is_overfull: false }),
            passed: Cell::new(0),
        }))
    }

    /// Bytes of the whole body; `None` for one that comes in chunks.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether the body can be sent from its beginning.
    pub(crate) fn left(&self) -> Left {
        if self.kept.borrow().is_overfull { Left::Consumed } else { Left::Whole }
    }

    /// Bytes that came from the client so far.
    pub(crate) fn passed(&self) -> u64 {
        self.passed.get()
    }

    fn poll_source(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut *self.source.borrow_mut()).poll_frame(cx);
        let Poll::Ready(Some(Ok(frame))) = &polled else {
            return polled.map_err(BodyError::Request);
        };
        let mut kept = self.kept.borrow_mut();
        if let Some(piece) = frame.data_ref() {
            self.passed.set(self.passed.get() + piece.len() as u64);
            kept.bytes += piece.len();
            if kept.bytes > REPLAY_BYTES_MAX {
                kept.is_overfull = true;
                kept.pieces = Vec::new();
            } else {
                kept.pieces.push(piece.clone());
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            kept.trailers = Some(trailers.clone());
        }
        polled.map_err(BodyError::Request)
    }
}

/// One sending of a request's body.
#[derive(Debug)]
pub(crate) enum RequestBody {
    Empty,
    Upload { upload: Rc<Upload>, next_piece: usize, sent: u64, is_ended: bool },
}

impl RequestBody {
    /// The body from its beginning; it must be [`Left::Whole`].
    pub(crate) fn of(upload: Option<&Rc<Upload>>) -> Self {
        match upload {
            None => Self::Empty,
            Some(upload) => {
                Self::Upload { upload: Rc::clone(upload), next_piece: 0, sent: 0, is_ended: false }
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self::Upload { upload, next_piece, sent, is_ended } = &mut *self else {
            return Poll::Ready(None);
        };
        if *is_ended {
            return Poll::Ready(None);
        }
        let again = {
            let kept = upload.kept.borrow();
            let piece = kept.pieces.get(*next_piece).cloned().map(Frame::data);
            piece.or_else(|| {
                // What was kept may end with the trailers; then the source has nothing more.
                let trailers = kept.trailers.clone()?;
                *is_ended = true;
                Some(Frame::trailers(trailers))
            })
        };
        let frame = match again {
            Some(frame) => Some(Ok(frame)),
            None => std::task::ready!(upload.poll_source(cx)),
        };
        *next_piece += 1;
        match &frame {
            Some(Ok(frame)) => *sent += frame.data_ref().map_or(0, Bytes::len) as u64,
            Some(Err(_)) | None => *is_ended = true,
        }
        upload.client.uploading(*is_ended || upload.length == Some(*sent));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Upload { upload, sent, is_ended, .. } => *is_ended || upload.length == Some(*sent),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Upload { upload, sent, .. } => {
                upload.length.map_or_else(SizeHint::default, |n| SizeHint::with_exact(n - sent))
            }
        }
    }
}

/// What the client gets.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// Words of our own.
    Own(Option<Bytes>),
    /// An endpoint's, with the connection that it comes over.
    Endpoint(Download),
}

#[derive(Debug)]
pub(crate) struct Download {
    body: Incoming,
    /// Given back when the body ends.
    link: Option<Box<Link>>,
    exchange: Exchange,
}

impl Download {
    pub(crate) fn new(body: Incoming, link: Box<Link>, exchange: Exchange) -> Self {
        Self { body, link: Some(link), exchange }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // First what is there; if nothing is, the connection is driven, and what that brought is taken.
        let mut is_driven = false;
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.exchange.passed(frame.data_ref().map_or(0, Bytes::len) as u64);
                    if self.body.is_end_stream() {
                        self.give_back(cx);
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(Some(Err(source))) => {
                    self.exchange.broke();
                    return Poll::Ready(Some(Err(BodyError::Response(source))));
                }
                Poll::Ready(None) => {
                    self.give_back(cx);
                    return Poll::Ready(None);
                }
                Poll::Pending if is_driven => return Poll::Pending,
                Poll::Pending => {}
            }
            let Some(link) = &mut self.link else {
                self.exchange.broke();
                return Poll::Ready(Some(Err(BodyError::Truncated)));
            };
            link.drive(cx);
            if link.is_finished() {
                // What was read before the end is still to come; then the body ends or breaks.
                self.link = None;
            } else {
                is_driven = true;
            }
        }
    }

    fn give_back(&mut self, cx: &mut Context<'_>) {
        if let Some(link) = self.link.take() {
            self.exchange.give_back(link, cx);
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
            Self::Own(words) => Poll::Ready(words.take().map(|words| Ok(Frame::data(words)))),
            Self::Endpoint(download) => download.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(words) => words.is_none(),
            Self::Endpoint(download) => download.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(words) => SizeHint::with_exact(words.as_ref().map_or(0, Bytes::len) as u64),
            Self::Endpoint(download) => download.body.size_hint(),
        }
    }
}
