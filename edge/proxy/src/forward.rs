//! Forwards one request: to an endpoint, to another one if the first fails and that is allowed, and back.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use balance::{
    Body as Replay, EndpointId, Failure, Phase, PickError, Refusal as RetryRefusal, Repeatability, Retry,
    Tried,
};
use hyper::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, StatusCode};
use tokio::time::{Instant, timeout_at};

use crate::access::Record;
use crate::admission::Rejection;
use crate::answer::Answer;
use crate::body::{Download, RequestBody, ResponseBody, Upload};
use crate::client::Client;
use crate::endpoint::InFlight;
use crate::endpoint_wait::{EndpointWait, WaitError};
use crate::exchange::Exchange;
use crate::grpc::{self, Dialect};
use crate::head::Head;
use crate::headers::{Refusal, Sender, Upgrade, cookie, prepare_request};
use crate::local::SnapshotRef;
use crate::route::HashKey;
use crate::router::{self, Copies};
use crate::service::Service;
use crate::tunnel::Tunnel;
use crate::upstream::{Upstream, UpstreamBody};
use crate::websocket;

mod attempt;
mod hedge;

use self::attempt::AttemptError;

/// The answer to a body that is longer than its route allows.
const BODY_TOO_LONG: &str = "The request's body is longer than allowed.";

/// A request as it was received from a client.
#[derive(Debug)]
pub(crate) struct ClientRequest {
    pub(crate) parts: Box<Parts>,
    /// Its body; `None` for a request without one.
    upload: Option<Rc<Upload>>,
    pub(crate) started: Instant,
    pub(crate) dialect: Dialect,
    /// What is logged about it, and counted for its route.
    pub(crate) record: Option<Rc<Record>>,
}

impl ClientRequest {
    /// When its client stops waiting for an answer, if that is known.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.dialect {
            Dialect::Grpc => grpc::deadline(&self.parts.headers, self.started),
            Dialect::Http => None,
        }
    }
}

/// The settings of a route that override those of the service.
#[derive(Debug, Default)]
pub(crate) struct RouteOverrides {
    /// How long each attempt may take until the head of the response.
    pub(crate) try_timeout: Option<Duration>,
    /// The services that get copies of the request.
    pub(crate) copies: Option<Copies>,
    /// Bytes that the body of the request may have; `None` for no limit.
    pub(crate) body_bytes_max: Option<u64>,
    /// The port of the service that the request goes to; `None` for the main one.
    pub(crate) port: Option<Arc<str>>,
    /// When [`to_service_before`] answers the client instead.
    pub(crate) answered_at: Option<Instant>,
}

/// Answers one request of a client, whatever happens.
pub(crate) async fn answer(
    client: Rc<Client>,
    parts: Box<Parts>,
    upload: Option<Rc<Upload>>,
) -> Answer<ResponseBody> {
    let started = Instant::now();
    let dialect = grpc::dialect(&parts.headers);
    let log = client.local.service.access_log();
    let record = log.map(|log| Rc::new(Record::new(started).with_log(log, &client, &parts)));
    let mut request = ClientRequest { parts, upload, started, dialect, record };
    if let Some(message) = client.worker.shared.challenges.answer(request.parts.uri.path()) {
        let mut answer = local_reply(&client, request, StatusCode::OK, "");
        answer.body = ResponseBody::Local(Some(message));
        return answer;
    }
    if client.local.router.is_some() {
        // Boxed, so that requests without routes do not pay for its size.
        return Box::pin(router::answer(client, request)).await;
    }
    match prepare(&client, &mut request.parts) {
        Ok(upgrade) => match request.deadline() {
            None => to_service(client, request, upgrade, RouteOverrides::default()).await,
            // Boxed, so that requests without a deadline do not pay for its size.
            Some(deadline) => {
                Box::pin(to_service_before(deadline, client, request, upgrade, RouteOverrides::default()))
                    .await
            }
        },
        Err(refusal) => local_reply(&client, request, refusal.status, refusal.message),
    }
}

/// Turns the head of a client's request into the one that an endpoint gets, or refuses it.
pub(crate) fn prepare(client: &Client, parts: &mut Parts) -> Result<Upgrade, Refusal> {
    let default_host = HeaderValue::from_static("localhost");
    let forwarded = client.local.snapshot().forwarded;
    let (address, scheme) = (&client.address, client.scheme);
    let upgrade =
        prepare_request(parts, &Sender { address, scheme, forwarded, default_host: &default_host })?;
    if upgrade == Upgrade::WebSocket {
        client.worker.with_rng(|rng| websocket::set_key(&mut parts.headers, rng));
    }
    Ok(upgrade)
}

/// Answers a request that is not sent to an endpoint.
pub(crate) fn local_reply(
    client: &Rc<Client>,
    request: ClientRequest,
    status: StatusCode,
    message: &'static str,
) -> Answer<ResponseBody> {
    client.shard().requests.add(1);
    let ClientRequest { upload, started, dialect, record, .. } = request;
    let exchange = Exchange::new(client, &client.local.snapshot(), started, dialect, upload, record);
    exchange.local_reply(status, message)
}

/// As [`to_service`], but at the `deadline` the client is answered 504, and an attempt in progress is cancelled.
pub(crate) async fn to_service_before(
    deadline: Instant,
    client: Rc<Client>,
    request: ClientRequest,
    upgrade: Upgrade,
    overrides: RouteOverrides,
) -> Answer<ResponseBody> {
    let (started, dialect, record) = (request.started, request.dialect, request.record.clone());
    let upload = request.upload.clone();
    let overrides = RouteOverrides { answered_at: Some(deadline), ..overrides };
    let answered = to_service(Rc::clone(&client), request, upgrade, overrides);
    if let Ok(answer) = timeout_at(deadline, answered).await {
        return answer;
    }
    let exchange = Exchange::new(&client, &client.local.snapshot(), started, dialect, upload, record);
    exchange.local_reply(StatusCode::GATEWAY_TIMEOUT, "The request was not answered in time.")
}

/// Sends a request whose head was [prepared](prepare) to an endpoint of the client's service, and answers it whatever happens.
pub(crate) async fn to_service(
    client: Rc<Client>,
    request: ClientRequest,
    upgrade: Upgrade,
    overrides: RouteOverrides,
) -> Answer<ResponseBody> {
    let deadline = request.deadline();
    let ClientRequest { mut parts, upload, started, dialect, record } = request;
    let snapshot = client.local.snapshot();
    client.shard().requests.add(1);
    client.local.deposit(client.local.service.clock.at(started));
    if let Some(upload) = &upload {
        upload.set_client(&client);
    }
    // Boxed, because it is moved often on its way to the end of the answer's body.
    let mut exchange = Box::new(Exchange::new(&client, &snapshot, started, dialect, upload.clone(), record));
    exchange.set_deadline(overrides.answered_at);
    if let (Some(upload), Some(max)) = (&upload, overrides.body_bytes_max) {
        upload.limit(max);
        if upload.is_too_long() {
            return exchange.local_reply(StatusCode::PAYLOAD_TOO_LARGE, BODY_TOO_LONG);
        }
    }
    if let Err(rejection) = exchange.enter() {
        return exchange.reject(rejection);
    }
    if upload.as_ref().is_some_and(|u| u.length().is_none()) {
        // Set explicitly, because hyper would otherwise drop the body of a GET.
        parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let stream = parts.extensions.remove::<OnUpgrade>().filter(|_| upgrade == Upgrade::WebSocket);
    let head = Head::new(parts);
    let RouteOverrides { try_timeout, copies, port, .. } = overrides;
    // A request that may become a tunnel cannot be copied.
    let copy =
        copies.filter(|_| upgrade == Upgrade::None).map(|copies| (copies, head.clone(), upload.clone()));
    let mut request = ForwardedRequest {
        client,
        snapshot,
        try_timeout,
        port,
        deadline,
        head,
        upgrade,
        stream,
        upload,
        needs_new_connection: false,
        unanswered: 0,
    };
    let answer = request.run(exchange).await;
    if let Some((copies, head, upload)) = copy {
        copies.send(|| Some((head.clone(), RequestBody::copy_of(upload.as_ref())?)));
    }
    answer
}

/// A request while it is sent to one endpoint after the other, until one answers.
#[derive(Debug)]
struct ForwardedRequest {
    client: Rc<Client>,
    snapshot: SnapshotRef,
    /// For the head of the response, instead of the service's timeout.
    try_timeout: Option<Duration>,
    /// Instead of the service's main port.
    port: Option<Arc<str>>,
    /// When the client stops waiting, which endpoints are notified.
    deadline: Option<Instant>,
    head: Head,
    upgrade: Upgrade,
    /// The stream for a WebSocket of an HTTP/2 client.
    stream: Option<OnUpgrade>,
    upload: Option<Rc<Upload>>,
    /// Whether a reused connection has failed this request, which is then sent over new ones only.
    needs_new_connection: bool,
    /// How many endpoints that may have received it did not answer.
    unanswered: u8,
}

/// The answer to a client that asks for a WebSocket where no endpoint takes one.
const NO_WEBSOCKET: &str = "The endpoint speaks HTTP/2 and does not accept WebSockets over it (RFC 8441).";

/// The attempts of a request since it last waited for an endpoint.
#[derive(Debug)]
struct Round {
    tried: Tried,
    tries: u8,
    /// How many of these endpoints take no WebSockets.
    without_websocket: u8,
}

impl Round {
    const NEW: Self = Self { tried: Tried::NONE, tries: 0, without_websocket: 0 };

    fn skip_without_websocket(&mut self, id: EndpointId) {
        self.tried.add(id);
        self.without_websocket += 1;
    }

    /// Whether none of the endpoints that were tried takes WebSockets. One that did not answer might.
    fn is_without_websocket(&self) -> bool {
        self.tries > 0 && self.without_websocket == self.tries
    }
}

impl ForwardedRequest {
    async fn run(&mut self, mut exchange: Box<Exchange>) -> Answer<ResponseBody> {
        let mut round = Round::NEW;
        let mut wait: Option<EndpointWait> = None;
        // The clock is read again only after a wait: reading it costs as much as choosing an endpoint.
        let mut now = exchange.started();
        loop {
            let in_flight = match self.choose(&round.tried, self.service().clock.at(now)) {
                Ok(in_flight) => in_flight,
                Err(PickError::Full) => return exchange.reject(Rejection::Full),
                Err(PickError::Exhausted) if round.is_without_websocket() => {
                    return exchange.local_reply(StatusCode::NOT_IMPLEMENTED, NO_WEBSOCKET);
                }
                Err(PickError::Exhausted) => {
                    if let Err(error) = self.wait(&mut wait, &round.tried).await {
                        self.client.shard().unavailable.add(1);
                        return exchange.local_reply(StatusCode::SERVICE_UNAVAILABLE, error.message());
                    }
                    (round, now) = (Round::NEW, Instant::now());
                    continue;
                }
            };
            round.tries += 1;
            let id = in_flight.endpoint().id;
            if let Err(rejection) = exchange.begin(in_flight, now) {
                return exchange.reject(rejection);
            }
            let failed = match self.attempt_or_hedge(&mut exchange, &mut round.tried).await {
                Ok((answer, upstream)) => return self.deliver(exchange, answer, upstream).await,
                Err(failed) => failed,
            };
            let phase = match self.phase_of(failed.error) {
                Ok(phase) => phase,
                Err((status, message)) => return exchange.local_reply(status, message),
            };
            // A reused connection may have been closed for being idle.
            self.unanswered += u8::from(phase == Phase::AwaitingResponse && !failed.was_reused);
            let failure = self.failure(phase, round.tries);
            now = Instant::now();
            match self.client.local.may_retry(&failure, self.service().clock.at(now)) {
                Retry::Yes => exchange.retried(),
                Retry::No(refusal) => {
                    let (status, message) = failure_reply(failed.error, refusal);
                    return exchange.local_reply(status, message);
                }
            }
            match failed.error {
                AttemptError::NoWebSocket => round.skip_without_websocket(id),
                AttemptError::Broken(_) | AttemptError::TimedOut | AttemptError::BrokenBody
                    if failed.was_reused =>
                {
                    self.needs_new_connection = true;
                }
                AttemptError::Broken(_)
                | AttemptError::TimedOut
                | AttemptError::BrokenBody
                | AttemptError::Defective(_) => {
                    round.tried.add(id);
                }
            }
        }
    }

    /// Chooses an endpoint that was not tried; for a WebSocket, preferably one that is not known to refuse those.
    fn choose(&self, tried: &Tried, at: Duration) -> Result<InFlight, PickError> {
        let local = &self.client.local;
        if self.upgrade != Upgrade::None && websocket::is_http1_request(&self.head.headers) {
            return local.choose_for_websocket(tried, self.port(), || self.key(), at);
        }
        local.choose(tried, self.port(), || self.key(), at)
    }

    /// Waits until there may be an endpoint to try.
    async fn wait(&self, wait: &mut Option<EndpointWait>, tried: &Tried) -> Result<(), WaitError> {
        let wait = wait.get_or_insert_with(|| EndpointWait::new(self.snapshot.timeouts.endpoint));
        let Client { worker, local, timer, .. } = &*self.client;
        timer.disarm();
        wait.wait(local, self.port(), &worker.shared.endpoint_awaited, tried).await
    }

    /// How far an attempt had got, if it may be made again; otherwise the answer to the client.
    fn phase_of(&self, error: AttemptError) -> Result<Phase, (StatusCode, &'static str)> {
        Err(match error {
            AttemptError::Broken(phase) => return Ok(phase),
            AttemptError::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "The endpoint did not answer in time."),
            AttemptError::Defective(defect) => (StatusCode::BAD_GATEWAY, defect.message()),
            // Nothing was sent yet.
            AttemptError::NoWebSocket => return Ok(Phase::Unsent),
            AttemptError::BrokenBody if self.upload.as_ref().is_some_and(|upload| upload.is_too_long()) => {
                (StatusCode::PAYLOAD_TOO_LARGE, BODY_TOO_LONG)
            }
            AttemptError::BrokenBody => {
                (StatusCode::BAD_REQUEST, "The request's body is malformed or incomplete.")
            }
        })
    }

    fn failure(&self, phase: Phase, tries: u8) -> Failure {
        Failure {
            repeatability: Repeatability::of_method(self.head.method.as_str()),
            phase,
            body: self.upload.as_ref().map_or(Replay::Whole, |upload| upload.replay()),
            tries,
            unanswered: self.unanswered,
        }
    }

    fn service(&self) -> &Service {
        &self.client.local.service
    }

    fn port(&self) -> Option<&str> {
        self.port.as_deref()
    }

    /// The key for consistent hashing.
    fn key(&self) -> u64 {
        let headers = &self.head.headers;
        let named = match &self.snapshot.hash_key {
            HashKey::Address => None,
            HashKey::Header(name) => headers.get(&**name).map(HeaderValue::as_bytes),
            HashKey::Cookie(name) => cookie(headers, name),
        };
        balance::hash_key(named.unwrap_or(self.client.address.as_bytes()))
    }

    /// Passes the endpoint's answer on to the client.
    async fn deliver(
        &mut self,
        mut exchange: Box<Exchange>,
        mut answer: Answer<UpstreamBody>,
        upstream: Upstream,
    ) -> Answer<ResponseBody> {
        answer.prepare();
        if self.upgrade == Upgrade::WebSocket && answer.status.is_success() {
            // An HTTP/2 client would take any 2xx for an accepted WebSocket.
            let message = "The endpoint answered without accepting the WebSocket.";
            return exchange.local_reply(StatusCode::BAD_GATEWAY, message);
        }
        if answer.status == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(*exchange, answer, upstream);
        }
        if answer.body.is_end_stream() {
            exchange.ended(None);
            exchange.put_back(upstream, &mut Context::from_waker(Waker::noop()));
            return answer.map(|_| ResponseBody::Local(None));
        }
        let length = self.body_length(&mut answer);
        answer.map(|body| ResponseBody::Endpoint(Download::new(body, upstream, exchange, length)))
    }

    /// The length of the endpoint's response body; `None` if that is not known.
    fn body_length(&self, answer: &mut Answer<UpstreamBody>) -> Option<u64> {
        if !matches!(answer.body, UpstreamBody::Http2(_)) {
            return answer.body.size_hint().exact();
        }
        // Such a head has the length of the body that it stands for, and comes without one.
        let has_no_body = self.head.method == Method::HEAD || answer.status == StatusCode::NOT_MODIFIED;
        let length = answer.headers().get(CONTENT_LENGTH).filter(|_| !has_no_body)?;
        length.to_str().ok()?.parse().ok()
    }

    /// Begins a tunnel after the endpoint's `101 Switching Protocols`, if the client has requested it.
    fn switch(
        &mut self,
        exchange: Exchange,
        mut answer: Answer<UpstreamBody>,
        upstream: Upstream,
    ) -> Answer<ResponseBody> {
        let was_requested = match self.upgrade {
            Upgrade::None => false,
            Upgrade::Http1 => true,
            Upgrade::WebSocket => websocket::is_accepted(answer.status, answer.headers()),
        };
        if self.upgrade == Upgrade::WebSocket {
            answer.status = websocket::answer_as_http2(answer.headers());
        }
        let mut byte_stream = None;
        let answer = answer.map(|body| {
            byte_stream = upstream.into_stream(body);
            ResponseBody::Local(None)
        });
        let Some((endpoint_stream, endpoint_sent)) = byte_stream.filter(|_| was_requested) else {
            let message = "The endpoint switched protocols without being asked to.";
            return exchange.local_reply(StatusCode::BAD_GATEWAY, message);
        };
        let record = exchange.record();
        let tunnel = exchange.take_in_flight().map(|in_flight| Tunnel {
            stream: self.stream.take(),
            endpoint_stream,
            endpoint_sent,
            in_flight,
            record,
        });
        self.client.set_tunnel(tunnel);
        answer
    }
}

/// The answer to the client when a request that failed is not sent again.
fn failure_reply(error: AttemptError, refusal: RetryRefusal) -> (StatusCode, &'static str) {
    match error {
        AttemptError::NoWebSocket => (StatusCode::NOT_IMPLEMENTED, NO_WEBSOCKET),
        AttemptError::Defective(defect) => (StatusCode::BAD_GATEWAY, defect.message()),
        AttemptError::Broken(_) | AttemptError::TimedOut | AttemptError::BrokenBody => {
            (StatusCode::BAD_GATEWAY, refusal_message(refusal))
        }
    }
}

/// Why a request is not sent again, as a message for the client.
fn refusal_message(refusal: RetryRefusal) -> &'static str {
    match refusal {
        // The endpoint closed the connection within the head of its response.
        RetryRefusal::ResponseBegun => "The endpoint's response was malformed or incomplete.",
        RetryRefusal::MayHaveActed => {
            "The endpoint closed the connection without an answer; it may have processed the request, which was not repeated."
        }
        RetryRefusal::BodyConsumed => {
            "The endpoint closed the connection without an answer, and the body was too long to be kept and sent again."
        }
        RetryRefusal::TooManyTries => "Every endpoint that was tried closed or refused the connection.",
        RetryRefusal::Unanswered => {
            "Each endpoint that got the request closed the connection without an answer; no further one is tried."
        }
        RetryRefusal::BudgetSpent => {
            "The endpoint closed the connection without an answer, and the retry budget is exhausted."
        }
    }
}
