//! The bookkeeping of one request: which endpoint answers it, how long that takes, and how it ends.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use tokio::time::Instant;

use crate::access::Record;
use crate::admission::{InFlightPermit, Rejection};
use crate::answer::Answer;
use crate::body::{ResponseBody, Upload};
use crate::client::Client;
use crate::endpoint::{Endpoint, InFlight};
use crate::grpc::{self, Code, Dialect};
use crate::local::SnapshotRef;
use crate::route::Protocol;
use crate::shedder::ShedPermit;
use crate::timer::Stage;
use crate::traffic::Shard;
use crate::upstream::ConnectError;
use crate::upstream::{Upstream, UpstreamBody};

/// A request in progress. Dropping it counts it and releases its endpoint.
#[derive(Debug)]
pub(crate) struct Exchange {
    client: Rc<Client>,
    snapshot: SnapshotRef,
    started: Instant,
    dialect: Dialect,
    /// Whether it is a hedge: a second attempt at a request that another exchange counts.
    is_hedge: bool,
    /// Whether an endpoint was chosen for the request before, even if that has failed.
    was_attempted: Cell<bool>,
    /// `None` before the first attempt, between attempts, and after a local reply.
    attempt: Option<Attempt>,
    upload: Option<Rc<Upload>>,
    /// `None` until the request was admitted.
    permit: Option<InFlightPermit>,
    /// Of the final answer, for a gRPC call translated from its `grpc-status`. `None` before the answer.
    status: Option<StatusCode>,
    /// When the request is answered 504, which another exchange counts.
    deadline: Option<Instant>,
    /// Whether the client left within an answer of known length.
    was_cut_short: bool,
    is_counted: bool,
    bytes_out: u64,
    /// What is logged about it, and counted for its route.
    record: Option<Rc<Record>>,
}

/// One attempt at an endpoint.
#[derive(Debug)]
struct Attempt {
    in_flight: InFlight,
    started: Instant,
    /// How long the head of the response took, if only its trailers will say the outcome.
    undecided: Option<Duration>,
    /// Held until the head of the response is there, if the service has an adaptive limit.
    shed_permit: Option<Box<ShedPermit>>,
}

impl Exchange {
    pub(crate) fn new(
        client: &Rc<Client>,
        snapshot: &SnapshotRef,
        started: Instant,
        dialect: Dialect,
        upload: Option<Rc<Upload>>,
        record: Option<Rc<Record>>,
    ) -> Self {
        if let Some(record) = &record {
            record.set_service(client);
        }
        Self {
            client: Rc::clone(client),
            snapshot: Rc::clone(snapshot),
            started,
            dialect,
            is_hedge: false,
            was_attempted: Cell::new(false),
            attempt: None,
            upload,
            permit: None,
            status: None,
            deadline: None,
            was_cut_short: false,
            is_counted: false,
            bytes_out: 0,
            record,
        }
    }

    pub(crate) fn record(&self) -> Option<Rc<Record>> {
        self.record.clone()
    }

    /// For a second attempt at a request without a body, whose first attempt is in another exchange.
    pub(crate) fn hedge(client: &Rc<Client>, snapshot: &SnapshotRef, started: Instant) -> Self {
        let mut hedge = Self::new(client, snapshot, started, Dialect::Http, None, None);
        hedge.is_hedge = true;
        hedge.was_attempted.set(true);
        hedge
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Sets when the request is answered by another exchange, if this one has no answer by then.
    pub(crate) fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// Bytes of the response's body so far.
    pub(crate) fn bytes_out(&self) -> u64 {
        self.bytes_out
    }

    /// Records that the response was dropped before its end, whose length is known.
    pub(crate) fn cut_short(&mut self) {
        self.was_cut_short = true;
    }

    /// Counts the request as in flight, unless as many as allowed are.
    pub(crate) fn enter(&mut self) -> Result<(), Rejection> {
        self.permit = Some(InFlightPermit::take(&self.client.local.service, &self.snapshot)?);
        Ok(())
    }

    /// Begins an attempt at an endpoint, unless as many requests as allowed await an answer.
    pub(crate) fn begin(&mut self, in_flight: InFlight, started: Instant) -> Result<(), Rejection> {
        self.client.local.count_elsewhere(in_flight.endpoint(), &self.was_attempted);
        let shed_permit = ShedPermit::take(&self.client.local.service, started, self.upload.as_ref())?;
        self.shard_of(in_flight.endpoint()).requests.add(1);
        if let Some(record) = &self.record {
            record.add_attempt(in_flight.endpoint());
        }
        self.attempt = Some(Attempt { in_flight, started, undecided: None, shed_permit });
        Ok(())
    }

    /// The endpoint of the attempt that was [begun](Self::begin).
    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        let attempt = self.attempt.as_ref().expect("an attempt was begun and has not ended");
        attempt.in_flight.endpoint()
    }

    pub(crate) fn failed_to_connect(&self, error: &ConnectError) {
        self.shard_of(self.endpoint()).connect_failures.add(1);
        self.client.shard().connect_failures.add(1);
        // A shortage of this process must not eject endpoints.
        if error.is_of_endpoint() {
            self.record_failure();
        }
    }

    pub(crate) fn failed_to_answer(&self) {
        self.shard_of(self.endpoint()).failures.add(1);
        self.client.shard().failures.add(1);
        self.record_failure();
    }

    /// The hedge was answered first: its attempt becomes that of this exchange.
    pub(crate) fn replace_attempt(&mut self, mut faster: Self) {
        self.lost_race();
        if let Some(record) = &self.record {
            record.add_attempt(faster.endpoint());
        }
        self.attempt = faster.attempt.take();
        self.status = faster.status.take();
    }

    /// Ends this hedge, because the original attempt was answered first.
    pub(crate) fn give_up(mut self) {
        self.lost_race();
    }

    /// Ends the attempt. The time that it has taken already counts as latency of its endpoint.
    fn lost_race(&mut self) {
        if let Some(attempt) = self.attempt.take() {
            let at = self.client.local.service.clock.at(Instant::now());
            attempt.in_flight.endpoint().lost_race(at, attempt.started.elapsed());
        }
    }

    /// Ends an attempt that failed and is made again.
    pub(crate) fn retried(&mut self) {
        self.shard_of(self.endpoint()).retries.add(1);
        self.client.shard().retries.add(1);
        self.attempt = None;
    }

    /// Records the head of the endpoint's response.
    pub(crate) fn answered(&mut self, answer: &mut Answer<UpstreamBody>) {
        let status = answer.status;
        self.status = Some(status);
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        let now = Instant::now();
        let latency = now.saturating_duration_since(attempt.started);
        let outcome = match self.dialect {
            Dialect::Http => Some(status),
            Dialect::Grpc => grpc::outcome_of_head(status, answer.headers()),
        };
        if let Some(shed_permit) =
            attempt.shed_permit.take().filter(|_| !outcome.is_some_and(|it| it.is_server_error()))
        {
            shed_permit.answered();
        }
        match outcome {
            Some(outcome) => self.decided(outcome, latency, now),
            None => attempt.undecided = Some(latency),
        }
    }

    /// Records that the endpoint's response is complete.
    pub(crate) fn ended(&mut self, trailers: Option<&HeaderMap>) {
        if let Some(latency) = self.attempt.as_mut().and_then(|attempt| attempt.undecided.take()) {
            self.decided(grpc::outcome_of_trailers(trailers), latency, Instant::now());
        }
    }

    /// Counts the outcome for the endpoint, with the time that the head of the response took.
    fn decided(&mut self, outcome: StatusCode, latency: Duration, now: Instant) {
        self.status = Some(outcome);
        if outcome.is_server_error() {
            self.record_failure();
        } else if let Some(attempt) = &self.attempt {
            let at = self.client.local.service.clock.at(now);
            attempt.in_flight.endpoint().succeeded(at, latency);
        }
    }

    /// Counts a piece of the response's body, and restarts the timeout.
    pub(crate) fn passed(&mut self, bytes: u64) {
        self.bytes_out += bytes;
        self.client.timer.arm(Stage::Stream, self.snapshot.timeouts.stream_idle);
    }

    /// Records that the response ended prematurely. If the client's body did so before, that was the cause, and does not count against the
    /// endpoint.
    pub(crate) fn broken_off(&self) {
        let is_of_client = self.upload.as_ref().is_some_and(|upload| upload.is_broken());
        if self.attempt.is_some() && !is_of_client {
            self.failed_to_answer();
            if self.status.is_some_and(|status| !status.is_server_error()) {
                self.client.shard().broken_off.add(1);
            }
        }
    }

    /// Returns an HTTP/1.1 connection to the pool, if it can take another request.
    pub(crate) fn put_back(&self, upstream: Upstream, cx: &mut Context<'_>) {
        let Upstream::Http1(mut connection) = upstream else { return };
        if !connection.is_reusable() {
            connection.drive(cx);
        }
        if let Some(attempt) = self.attempt.as_ref().filter(|_| connection.is_reusable()) {
            let now = self.client.worker.timers.now();
            self.client.local.put_idle(attempt.in_flight.endpoint(), connection, now);
        }
    }

    /// Reads and discards the rest of a request that was answered before its end.
    pub(crate) fn poll_discard(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.upload.as_ref().map_or(Poll::Ready(()), |upload| upload.poll_discard(cx))
    }

    /// Counts the request, and releases its endpoint to a tunnel, which outlives it.
    pub(crate) fn take_in_flight(mut self) -> Option<InFlight> {
        self.count_once();
        let permit = self.permit.take();
        self.attempt.take().map(|attempt| attempt.in_flight.with_permit(permit))
    }

    /// Answers a request that was not admitted.
    pub(crate) fn reject(self, rejection: Rejection) -> Answer<ResponseBody> {
        match rejection {
            Rejection::Full => self.client.shard().over_limit.add(1),
            Rejection::Saturated => self.client.shard().shed.add(1),
        }
        self.local_reply_with(StatusCode::SERVICE_UNAVAILABLE, Code::RESOURCE_EXHAUSTED, rejection.message())
    }

    /// Answers instead of an endpoint.
    pub(crate) fn local_reply(self, status: StatusCode, message: &'static str) -> Answer<ResponseBody> {
        self.local_reply_with(status, Code::of_local_reply(status), message)
    }

    /// Answers instead of an endpoint. The answer counts by its `status`, even if the client speaks gRPC and gets the `code`.
    fn local_reply_with(
        mut self,
        status: StatusCode,
        code: Code,
        message: &'static str,
    ) -> Answer<ResponseBody> {
        self.attempt = None;
        self.status = Some(status);
        if let Some(record) = &self.record {
            record.answered(status.as_u16(), message.len() as u64, None);
            record.set_reason(message);
        }
        let mut response = match self.dialect {
            Dialect::Grpc => grpc::answer(code, message, ResponseBody::Local(None)),
            Dialect::Http => plain(status, message),
        };
        let headers = response.headers_mut();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        } else if (status == StatusCode::BAD_REQUEST || status == StatusCode::NOT_IMPLEMENTED)
            && self.client.protocol == Protocol::Http1
        {
            // Further requests on this connection may be misparsed as well.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response.into()
    }

    /// Counts a failure of the endpoint; several in a row eject it.
    fn record_failure(&self) {
        let Some(attempt) = &self.attempt else {
            return;
        };
        let service = &self.client.local.service;
        service.record_failure(
            attempt.in_flight.endpoint(),
            &self.snapshot.outliers,
            attempt.started.elapsed(),
        );
    }

    fn shard_of<'a>(&self, endpoint: &'a Endpoint) -> &'a Shard {
        &endpoint.shards[self.client.worker.index]
    }

    /// Counts how the request ended, once.
    fn count_once(&mut self) {
        if std::mem::replace(&mut self.is_counted, true) {
            return;
        }
        let is_incomplete = self.status.is_none() || self.was_cut_short;
        let is_abandoned = is_incomplete && !self.client.timer.is_expired();
        let now = Instant::now();
        let bytes_in = self.upload.as_ref().map_or(0, |upload| upload.passed());
        let count = |shard: &Shard, since: Instant| {
            let time = now.saturating_duration_since(since);
            match self.status {
                _ if is_abandoned => shard.abandoned((!self.is_uploading()).then_some(time)),
                Some(status) => shard.answered(status.as_u16(), time),
                // The proxy closed the connection of a client that was too slow.
                None => {}
            }
            shard.bytes_in.add(bytes_in);
            shard.bytes_out.add(self.bytes_out);
        };
        if let (Some(record), Some(status)) = (&self.record, self.status) {
            let upstream =
                self.attempt.as_ref().map(|attempt| now.saturating_duration_since(attempt.started));
            record.answered(status.as_u16(), self.bytes_out, upstream);
        }
        let is_counted_elsewhere =
            self.status.is_none() && self.deadline.is_some_and(|deadline| deadline <= now);
        if !is_counted_elsewhere {
            count(self.client.shard(), self.started);
        }
        if let Some(attempt) = &self.attempt {
            count(self.shard_of(attempt.in_flight.endpoint()), attempt.started);
        }
    }

    /// Whether the endpoint still waits for the rest of the request.
    fn is_uploading(&self) -> bool {
        self.attempt.is_some() && self.upload.as_ref().is_some_and(|upload| upload.sent().is_none())
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.is_hedge {
            return;
        }
        self.count_once();
        let timeouts = &self.snapshot.timeouts;
        self.client.timer.arm_idle(timeouts.client_idle, timeouts.request_head);
    }
}

fn plain(status: StatusCode, message: &'static str) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Local(Some(Bytes::from_static(message.as_bytes()))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
