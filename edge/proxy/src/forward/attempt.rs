//! One attempt of a request at an endpoint.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use balance::{Phase, Repeatability};
use tokio::time::Instant;

use super::ForwardedRequest;
use crate::answer::Answer;
use crate::body::RequestBody;
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::exchange::Exchange;
use crate::grpc;
use crate::proxy_protocol::OutgoingHeader;
use crate::route::Protocol;
use crate::service::EndpointPort;
use crate::timer::Stage;
use crate::upstream::ConnectError;
use crate::upstream::Http1Connection;
use crate::upstream::{ReadyUpstream, ResponseDefect, SendError, Upstream, UpstreamBody};

/// An attempt without a response.
#[derive(Debug)]
pub(super) struct FailedAttempt {
    pub(super) error: AttemptError,
    /// Whether the connection was reused: that it was closed then says little about the endpoint.
    pub(super) was_reused: bool,
}

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptError {
    Broken(Phase),
    TimedOut,
    /// The endpoint does not accept WebSockets over HTTP/2.
    NoWebSocket,
    /// The endpoint has sent a response that cannot be forwarded.
    Defective(ResponseDefect),
    /// The client's body is malformed or incomplete: no endpoint can answer it, and none is at fault.
    BrokenBody,
}

impl ForwardedRequest {
    /// Sends the request to the endpoint of the exchange once.
    pub(super) async fn attempt(
        &self,
        exchange: &mut Exchange,
    ) -> Result<(Answer<UpstreamBody>, Upstream), FailedAttempt> {
        let timeouts = &self.snapshot.timeouts;
        let timer = &self.client.timer;
        let (upstream, was_reused) = self.ready_upstream(exchange).await?;
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
        // If only the stream was reset and not the connection, it does not matter that the connection was reused.
        let was_reused =
            was_reused && !matches!(&sent, Err(SendError::Reset { source, .. }) if source.is_reset());
        let error = match sent {
            Ok((mut answer, upstream)) => {
                timer.arm(Stage::Stream, timeouts.stream_idle);
                exchange.answered(&mut answer);
                return Ok((answer, upstream));
            }
            Err(SendError::Closed { .. } | SendError::Broken { .. } | SendError::Reset { .. })
                if self.upload.as_ref().is_some_and(|upload| upload.is_broken()) =>
            {
                AttemptError::BrokenBody
            }
            Err(
                SendError::Closed { phase }
                | SendError::Broken { phase, .. }
                | SendError::Reset { phase, .. },
            ) => AttemptError::Broken(phase),
            Err(SendError::TimedOut) => AttemptError::TimedOut,
            Err(SendError::NoWebSocket) => AttemptError::NoWebSocket,
            Err(SendError::Defective(defect)) => AttemptError::Defective(defect),
        };
        let is_of_endpoint = match error {
            // An endpoint may refuse a request that it has not processed.
            AttemptError::Broken(Phase::Refused) | AttemptError::BrokenBody | AttemptError::NoWebSocket => {
                false
            }
            // A reused connection may have been closed for being idle.
            AttemptError::Broken(_) => !was_reused,
            AttemptError::TimedOut | AttemptError::Defective(_) => true,
        };
        if is_of_endpoint {
            exchange.failed_to_answer();
        }
        Err(FailedAttempt { error, was_reused })
    }

    /// The timeout of an endpoint for the head of its response.
    pub(super) fn response_time(&self) -> Duration {
        self.try_timeout.unwrap_or(self.snapshot.timeouts.response_head)
    }

    /// A connection to the endpoint of the exchange, and whether it was open before.
    async fn ready_upstream(&self, exchange: &Exchange) -> Result<(ReadyUpstream, bool), FailedAttempt> {
        let timer = &self.client.timer;
        let endpoint = exchange.endpoint();
        let no_connection =
            || FailedAttempt { error: AttemptError::Broken(Phase::Connecting), was_reused: false };
        // The service may have lost the port since the endpoint was chosen.
        let EndpointPort { address, protocol } =
            self.snapshot.port_of(endpoint, self.port()).ok_or_else(no_connection)?;
        let failed = |error: &ConnectError| {
            let id = endpoint.id;
            tracing::debug!(service = %self.service().name, endpoint = %id, %address, %error, "connect_failed");
            exchange.failed_to_connect(error);
            no_connection()
        };
        match protocol {
            // A route may name a port of any protocol, and a replica of an earlier version may have served plain TCP.
            Protocol::Http1 | Protocol::Tcp | Protocol::Udp => {
                let proxy_header = endpoint.proxy_header(self.client.addresses());
                if let Some(connection) = self.idle_connection(endpoint, address, proxy_header) {
                    return Ok((ReadyUpstream::Http1(connection), true));
                }
                timer.disarm();
                let connection =
                    Http1Connection::connect(address, self.snapshot.timeouts.connect, proxy_header).await;
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

    /// An idle connection to the endpoint. For a request that must not be sent twice the system is queried whether it is still open.
    fn idle_connection(
        &self,
        endpoint: &Arc<Endpoint>,
        address: SocketAddr,
        proxy_header: Option<OutgoingHeader>,
    ) -> Option<Box<Http1Connection>> {
        if self.needs_new_connection {
            return None;
        }
        let checks_open = self.checks_open();
        loop {
            let connection = self.client.local.take_idle(endpoint, address, proxy_header)?;
            if connection.is_reusable() && !(checks_open && connection.has_unexpected_input()) {
                return Some(connection);
            }
        }
    }

    /// Whether the request cannot simply be sent again, so that a system call is justified to detect a closed connection.
    fn checks_open(&self) -> bool {
        let repeatability = Repeatability::of_method(self.head.method.as_str());
        repeatability == Repeatability::NotIdempotent || self.upload.is_some()
    }
}
