//! The place of one request on a trunk.

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

use crate::body::RequestBody;
use crate::line::SendError;
use crate::timer::Timer;
use crate::trunk::sending::{Sending, Sent};
use crate::trunk::{Trunk, TunnelStream, head};
use crate::websocket;
use crate::wire::{ConnectError, Wire};
use crate::worker::Worker;

/// How long a request for a WebSocket waits for the settings of the endpoint, which are the first that it sends.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// A place on a trunk. Dropping it frees the place, and resets the stream if that has not ended.
#[derive(Debug)]
pub(crate) struct Lane {
    trunk: Rc<Trunk>,
    /// The task that sends the rest of the request's body while the response comes.
    rest: Option<AbortOnDropHandle<()>>,
    /// The sending side of a WebSocket that the endpoint has accepted.
    tunnel: Option<SendStream<Bytes>>,
    is_tunnel: bool,
}

/// An open trunk, for one request.
#[derive(Debug)]
pub(crate) struct OpenTrunk {
    sender: SendRequest<Bytes>,
    wire: Wire,
}

impl Lane {
    pub(super) fn take(trunk: &Rc<Trunk>) -> Self {
        trunk.lanes.set(trunk.lanes.get() + 1);
        trunk.idle_since.set(None);
        Self { trunk: Rc::clone(trunk), rest: None, tunnel: None, is_tunnel: false }
    }

    /// Whether the trunk is open already: that it ends then says little about the endpoint.
    pub(crate) fn is_established(&self) -> bool {
        self.trunk.is_established()
    }

    /// Waits until the trunk is open.
    pub(crate) async fn opened(&self) -> Result<OpenTrunk, Rc<ConnectError>> {
        let (sender, wire) = self.trunk.opened().await?;
        Ok(OpenTrunk { sender, wire })
    }

    /// Sends a request and waits for the head of the response; `timer` says when that took too long.
    pub(crate) async fn send(
        &mut self,
        opened: OpenTrunk,
        request: Request<RequestBody>,
        timer: &Timer,
        worker: &Worker,
    ) -> Result<Response<RecvStream>, SendError> {
        if websocket::is_asked_for_as_http1(request.headers()) && request.body().is_end_stream() {
            return self.connect(opened, request.into_parts().0, timer).await;
        }
        let OpenTrunk { mut sender, wire } = opened;
        let (parts, body) = request.into_parts();
        let sent = wire.sent();
        let broken = |source| reset(source, wire.sent() != sent);
        // A trunk that takes no more requests fails here, before anything is sent.
        poll_fn(|cx| sender.poll_ready(cx)).await.map_err(broken)?;
        let is_whole = body.is_end_stream();
        let (mut answer, stream) = sender.send_request(head::to_http2(parts), is_whole).map_err(broken)?;
        // From here on the stream keeps the connection alive.
        drop(sender);
        let mut sending = (!is_whole).then(|| Sending::new(stream, body));
        let answered = poll_fn(|cx| {
            // The answer first: once it is there, sending more may be in vain.
            if let Poll::Ready(answered) = Pin::new(&mut answer).poll(cx) {
                return Poll::Ready(Some(answered));
            }
            if let Some(Poll::Ready(sent)) = sending.as_mut().map(|sending| Pin::new(sending).poll(cx)) {
                sending = None;
                if sent == Sent::Broken {
                    return Poll::Ready(Some(Err(Reason::CANCEL.into())));
                }
            }
            if timer.take_expired() { Poll::Ready(None) } else { Poll::Pending }
        });
        match answered.await {
            Some(Ok(response)) => {
                self.rest = sending.map(|sending| {
                    // The response tells how it ends.
                    AbortOnDropHandle::new(worker.streams.spawn_local(async move {
                        sending.await;
                    }))
                });
                Ok(response)
            }
            Some(Err(source)) => Err(broken(source)),
            None => Err(self.timed_out()),
        }
    }

    /// As [`send`](Self::send), for a request for a WebSocket as HTTP/1.1 has it; the answer is as HTTP/1.1 has it, too.
    async fn connect(
        &mut self,
        opened: OpenTrunk,
        mut parts: Parts,
        timer: &Timer,
    ) -> Result<Response<RecvStream>, SendError> {
        let OpenTrunk { mut sender, wire } = opened;
        self.trunk.told(TOLD_WITHIN, || sender.is_extended_connect_protocol_enabled()).await;
        // Only from here on may bytes of this request be sent.
        let sent = wire.sent();
        let broken = |source| reset(source, wire.sent() != sent);
        // A trunk that has ended fails here: its endpoint has not refused WebSockets.
        poll_fn(|cx| sender.poll_ready(cx)).await.map_err(broken)?;
        if !sender.is_extended_connect_protocol_enabled() {
            return Err(SendError::NoTunnel);
        }
        let key = websocket::ask_as_http2(&mut parts);
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
            self.trunk.tunnels.set(self.trunk.tunnels.get() + 1);
        } else {
            // The request ends here. This fails if the endpoint has ended the stream already.
            let _ = up.send_data(Bytes::new(), true);
        }
        Ok(response)
    }

    /// Retires the trunk of a request that was not answered in time.
    fn timed_out(&self) -> SendError {
        self.trunk.is_retired.set(true);
        SendError::TimedOut
    }

    /// The stream of a WebSocket that the endpoint has accepted; `None` for everything else.
    pub(crate) fn into_stream(mut self, recv: RecvStream) -> Option<TunnelStream> {
        let send = self.tunnel.take()?;
        Some(TunnelStream::new(recv, send, self))
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.trunk.lanes.set(self.trunk.lanes.get() - 1);
        if self.is_tunnel {
            self.trunk.tunnels.set(self.trunk.tunnels.get() - 1);
        }
    }
}

/// The error of a request that was not answered; `was_written` says whether bytes were sent since it began, be they of another request.
///
/// An endpoint that refuses a stream, or names in its GOAWAY the last one it looked at, says that it has done nothing about this one.
/// Source: RFC 9113, section 8.7.
fn reset(source: h2::Error, was_written: bool) -> SendError {
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
