//! One request on an HTTP/2 connection.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use balance::Phase;
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream, SendStream};
use hyper::body::Body;
use hyper::http::request::Parts;
use hyper::{Request, Response};
use tokio_util::task::AbortOnDropHandle;

use super::body_sender::{BodySender, Sent};
use super::{Http2Connection, TunnelStream, head};
use crate::body::RequestBody;
use crate::timer::Timer;
use crate::upstream::{ConnectError, SharedSocket};
use crate::upstream::{ResponseDefect, SendError};
use crate::websocket;
use crate::worker::Worker;

/// How long a request for a WebSocket waits for the SETTINGS of the endpoint, the first frame that it sends.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(1);

/// A stream of an HTTP/2 connection, reserved for one request. Dropping it resets the stream if it has not ended, and frees its slot.
#[derive(Debug)]
pub(crate) struct Http2Stream {
    connection: Rc<Http2Connection>,
    /// The task that sends the rest of the request's body while the response comes.
    rest: Option<AbortOnDropHandle<()>>,
    /// The sending side of a WebSocket that the endpoint has accepted.
    tunnel: Option<SendStream<Bytes>>,
    is_tunnel: bool,
}

/// The sending side of an open connection, for one request.
#[derive(Debug)]
pub(crate) struct Http2Sender {
    sender: SendRequest<Bytes>,
    socket: SharedSocket,
}

impl Http2Stream {
    pub(super) fn take(connection: &Rc<Http2Connection>) -> Self {
        connection.streams.set(connection.streams.get() + 1);
        connection.idle_since.set(None);
        Self { connection: Rc::clone(connection), rest: None, tunnel: None, is_tunnel: false }
    }

    /// Whether the connection is open already, so that its end would say little about the endpoint.
    pub(crate) fn is_established(&self) -> bool {
        self.connection.is_established()
    }

    /// Waits until the connection is open.
    pub(crate) async fn opened(&self) -> Result<Http2Sender, Rc<ConnectError>> {
        let (sender, socket) = self.connection.opened().await?;
        Ok(Http2Sender { sender, socket })
    }

    /// Sends a request and waits for the head of the response, at most until `timer` expires.
    pub(crate) async fn send(
        &mut self,
        opened: Http2Sender,
        request: Request<RequestBody>,
        timer: &Timer,
        worker: &Worker,
    ) -> Result<Response<RecvStream>, SendError> {
        if websocket::is_http1_request(request.headers()) && request.body().is_end_stream() {
            return self.connect(opened, request.into_parts().0, timer).await;
        }
        let Http2Sender { mut sender, socket } = opened;
        let (parts, body) = request.into_parts();
        let sent = socket.sent();
        let broken = |source| reset(source, socket.sent() != sent);
        // A connection that accepts no more requests fails here, before anything is sent.
        poll_fn(|cx| sender.poll_ready(cx)).await.map_err(broken)?;
        let is_whole = body.is_end_stream();
        let (mut answer, stream) = sender.send_request(head::to_http2(parts), is_whole).map_err(broken)?;
        // From here on the stream keeps the connection alive.
        drop(sender);
        let mut body_sender = (!is_whole).then(|| BodySender::new(stream, body));
        let answered = poll_fn(|cx| {
            // The answer first: once it is there, sending more may be useless.
            if let Poll::Ready(answered) = Pin::new(&mut answer).poll(cx) {
                return Poll::Ready(Some(answered));
            }
            if let Some(Poll::Ready(sent)) =
                body_sender.as_mut().map(|body_sender| Pin::new(body_sender).poll(cx))
            {
                body_sender = None;
                if sent == Sent::Broken {
                    return Poll::Ready(Some(Err(Reason::CANCEL.into())));
                }
            }
            if timer.take_expired() { Poll::Ready(None) } else { Poll::Pending }
        });
        match answered.await {
            Some(Ok(response)) => {
                self.rest = body_sender.map(|body_sender| {
                    // The response says how it ends.
                    AbortOnDropHandle::new(worker.streams.spawn_local(async move {
                        body_sender.await;
                    }))
                });
                Ok(response)
            }
            Some(Err(source)) => Err(broken(source)),
            None => Err(self.timed_out()),
        }
    }

    /// As [`send`](Self::send), for a WebSocket: request and answer have the form of HTTP/1.1 and are translated here.
    async fn connect(
        &mut self,
        opened: Http2Sender,
        mut parts: Parts,
        timer: &Timer,
    ) -> Result<Response<RecvStream>, SendError> {
        let Http2Sender { mut sender, socket } = opened;
        self.connection
            .wait_for_settings(SETTINGS_TIMEOUT, || sender.is_extended_connect_protocol_enabled())
            .await;
        // Only from here on may bytes of this request be sent.
        let sent = socket.sent();
        let broken = |source| reset(source, socket.sent() != sent);
        // Fails here if the connection has ended, which does not mean that the endpoint refuses WebSockets.
        poll_fn(|cx| sender.poll_ready(cx)).await.map_err(broken)?;
        if !sender.is_extended_connect_protocol_enabled() {
            return Err(SendError::NoWebSocket);
        }
        let key = websocket::request_as_http2(&mut parts);
        let (mut answer, mut up) = sender.send_request(head::to_http2(parts), false).map_err(broken)?;
        drop(sender);
        let answered = poll_fn(|cx| match Pin::new(&mut answer).poll(cx) {
            Poll::Ready(answered) => Poll::Ready(Some(answered)),
            Poll::Pending if timer.take_expired() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        let Some(answered) = answered.await else { return Err(self.timed_out()) };
        let mut response = answered.map_err(broken)?;
        if response.status().is_success() {
            let mut status = response.status();
            websocket::answer_as_http1(&mut status, response.headers_mut(), key.as_ref());
            *response.status_mut() = status;
            self.tunnel = Some(up);
            self.is_tunnel = true;
            self.connection.tunnels.set(self.connection.tunnels.get() + 1);
        } else {
            // The request ends here. This fails if the endpoint has ended the stream already.
            let _ = up.send_data(Bytes::new(), true);
        }
        Ok(response)
    }

    /// Retires the connection, because a request was not answered in time.
    fn timed_out(&self) -> SendError {
        self.connection.is_retired.set(true);
        SendError::TimedOut
    }

    /// The stream of a WebSocket that the endpoint has accepted; `None` for everything else.
    pub(crate) fn into_stream(mut self, recv: RecvStream) -> Option<TunnelStream> {
        let send = self.tunnel.take()?;
        Some(TunnelStream::new(recv, send, self))
    }
}

impl Drop for Http2Stream {
    fn drop(&mut self) {
        self.connection.streams.set(self.connection.streams.get() - 1);
        if self.is_tunnel {
            self.connection.tunnels.set(self.connection.tunnels.get() - 1);
        }
    }
}

/// The error of a request that was not answered; `was_written` says whether bytes were sent since it began, be they of another request.
///
/// An endpoint that refuses a stream, or sends a GOAWAY with an earlier last stream, has not processed this one.
/// Source: RFC 9113, section 8.7.
fn reset(source: h2::Error, was_written: bool) -> SendError {
    if source.is_library() && source.is_reset() {
        // h2 itself has reset the stream, because of what the endpoint has sent on it.
        return SendError::Defective(ResponseDefect::NotHttp2);
    }
    let was_refused = source.is_go_away() || source.reason() == Some(Reason::REFUSED_STREAM);
    let phase = if source.is_remote() && was_refused {
        Phase::Refused
    } else if was_written {
        Phase::AwaitingResponse
    } else {
        Phase::Unsent
    };
    SendError::Reset { phase, source }
}
