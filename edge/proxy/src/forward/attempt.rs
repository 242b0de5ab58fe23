//! One attempt of a request at an endpoint.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use balance::{Phase, Repeatability};
use tokio::time::Instant;

use super::Errand;
use crate::answer::Answer;
use crate::body::RequestBody;
use crate::connection::Client;
use crate::endpoint::Endpoint;
use crate::exchange::Exchange;
use crate::grpc;
use crate::route::Protocol;
use crate::service::EndpointPort;
use crate::timer::Stage;
use crate::upstream::ConnectError;
use crate::upstream::Http1Connection;
use crate::upstream::{ReadyUpstream, SendError, Upstream, UpstreamBody};

/// An attempt that brought no response.
#[derive(Debug)]
pub(super) struct Missed {
    pub(super) how: How,
    /// Whether the connection was kept from an earlier request: that it was closed then says little about the endpoint.
    pub(super) was_kept: bool,
}

/// How it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Broken(Phase),
    TimedOut,
    /// The endpoint takes no WebSockets over HTTP/2.
    NoTunnel,
    /// The client's body is malformed or broke off: no endpoint can answer it, and none is to blame.
    Unsendable,
}

impl Errand {
    /// Sends the request to the endpoint of the exchange once.
    pub(super) async fn attempt(
        &self,
        exchange: &mut Exchange,
    ) -> Result<(Answer<UpstreamBody>, Upstream), Missed> {
        let timeouts = &self.snapshot.timeouts;
        let timer = &self.client.timer;
        let (upstream, was_kept) = self.ready_upstream(exchange).await?;
        if self.upload.is_some() {
            timer.arm(Stage::Upload, timeouts.stream_idle);
        } else {
            timer.arm(Stage::Response, self.response_time());
        }
        let body = RequestBody::of(self.upload.as_ref());
        let sent = match self.deadline {
            None => upstream.send(&self.head, body, timer, &self.client.worker).await,
            Some(deadline) => {
                let mut head = self.head.clone();
                grpc::set_timeout(&mut head.headers, deadline.saturating_duration_since(Instant::now()));
                // Boxed, so that requests without a deadline do not pay for its size.
                Box::pin(upstream.send(&head, body, timer, &self.client.worker)).await
            }
        };
        // If only the stream was reset and its connection goes on, the connection's age was not the reason.
        let was_kept =
            was_kept && !matches!(&sent, Err(SendError::Reset { source, .. }) if source.is_reset());
        let how = match sent {
            Ok((mut answer, upstream)) => {
                timer.arm(Stage::Stream, timeouts.stream_idle);
                exchange.answered(&mut answer);
                return Ok((answer, upstream));
            }
            Err(SendError::Closed { .. } | SendError::Broken { .. } | SendError::Reset { .. })
                if self.upload.as_ref().is_some_and(|upload| upload.is_broken()) =>
            {
                How::Unsendable
            }
            Err(
                SendError::Closed { phase }
                | SendError::Broken { phase, .. }
                | SendError::Reset { phase, .. },
            ) => How::Broken(phase),
            Err(SendError::TimedOut) => How::TimedOut,
            Err(SendError::NoTunnel) => How::NoTunnel,
        };
        let is_of_endpoint = match how {
            // An endpoint may refuse a request that it has not looked at.
            How::Broken(Phase::Refused) | How::Unsendable | How::NoTunnel => false,
            // A kept connection may have been closed for being idle.
            How::Broken(_) => !was_kept,
            How::TimedOut => true,
        };
        if is_of_endpoint {
            exchange.failed_to_answer();
        }
        Err(Missed { how, was_kept })
    }

    /// How long an endpoint has for the head of its response.
    pub(super) fn response_time(&self) -> Duration {
        self.try_timeout.unwrap_or(self.snapshot.timeouts.response_head)
    }

    /// A upstream to the endpoint of the exchange, and whether it was open before.
    async fn ready_upstream(&self, exchange: &Exchange) -> Result<(ReadyUpstream, bool), Missed> {
        let timer = &self.client.timer;
        let endpoint = exchange.endpoint();
        let missed = || Missed { how: How::Broken(Phase::Connecting), was_kept: false };
        // The service may have lost the port since the endpoint was chosen.
        let EndpointPort { address, protocol } =
            self.snapshot.port_of(endpoint, self.port()).ok_or_else(missed)?;
        let failed = |error: &ConnectError| {
            let id = endpoint.id;
            tracing::debug!(service = %self.service().name, endpoint = %id, %address, %error, "connect failed");
            exchange.failed_to_connect(error);
            missed()
        };
        match protocol {
            // A route may name a port of any protocol.
            Protocol::Http1 | Protocol::Tcp | Protocol::Udp => {
                if let Some(connection) = self.idle_connection(endpoint, address) {
                    return Ok((ReadyUpstream::Http1(connection), true));
                }
                timer.disarm();
                let introduction = self.snapshot.introduction(self.client.ends());
                let connection =
                    Http1Connection::connect(address, self.snapshot.timeouts.connect, introduction).await;
                Ok((ReadyUpstream::Http1(connection.map_err(|error| failed(&error))?), false))
            }
            Protocol::Http2 => {
                let Client { local, worker, .. } = &*self.client;
                let stream = local.take_stream(worker, endpoint, address, self.checks_open());
                let was_open = stream.is_established();
                timer.disarm();
                let sender = stream.opened().await.map_err(|error| failed(&error))?;
                Ok((ReadyUpstream::Http2(stream, sender), was_open))
            }
        }
    }

    /// A kept connection to the endpoint. For a request that must not be sent twice the system is asked whether it is still open.
    fn idle_connection(&self, endpoint: &Arc<Endpoint>, address: SocketAddr) -> Option<Box<Http1Connection>> {
        if self.is_fresh_only {
            return None;
        }
        let checks_open = self.checks_open();
        loop {
            let connection = self.client.local.take_idle(endpoint, address, self.client.ends())?;
            if connection.is_reusable() && !(checks_open && connection.has_unexpected_input()) {
                return Some(connection);
            }
        }
    }

    /// Whether a system call is well spent on not sending the request into a closed connection.
    fn checks_open(&self) -> bool {
        let repeatability = Repeatability::of_method(self.head.method.as_str());
        repeatability == Repeatability::ActsEachTime || self.upload.is_some()
    }
}
