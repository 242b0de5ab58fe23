//! One request: to an endpoint, to another if the first fails and that is allowed, and back.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use balance::{
    Body as Left, EndpointId, Failure, Phase, Refusal as RetryRefusal, Repeatability, Retry, Tried, Unpicked,
};
use hyper::body::Incoming;
use hyper::header::{EXPECT, HeaderValue, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Response, StatusCode, Version};
use tokio::time::{Instant, timeout_at};

use crate::access::Record;
use crate::body::{Download, RequestBody, ResponseBody, Upload};
use crate::connection::Client;
use crate::endpoint::{Endpoint, InFlight};
use crate::exchange::Exchange;
use crate::gate::Closed;
use crate::grpc::{self, Dialect};
use crate::hand::Stage;
use crate::head::Head;
use crate::headers::{Refusal, Sender, Wish, cookie, prepare_request, prepare_response};
use crate::line::{Inbound, Line, ReadyLine, SendError};
use crate::link::Link;
use crate::local::Adopted;
use crate::patience::{Impatience, Patience};
use crate::route::{HashKey, Protocol};
use crate::router::{self, Copies};
use crate::service::{EndpointPort, Service};
use crate::tunnel::Tunnel;
use crate::websocket;
use crate::wire::ConnectError;

mod hedge;

/// What a client is told whose body is longer than its route allows.
const TOO_LONG: &str = "The request's body is longer than it may be.";

/// A request as it came from a client.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) parts: Box<Parts>,
    body: Option<Incoming>,
    /// The client sends its body only once it is told to.
    expects: bool,
    pub(crate) started: Instant,
    pub(crate) dialect: Dialect,
    /// What is logged and counted of it.
    pub(crate) record: Option<Rc<Record>>,
}

impl Arrival {
    /// When its client waits no more for an answer, as far as that is known.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.dialect {
            Dialect::Grpc => grpc::deadline(&self.parts.headers, self.started),
            Dialect::Http => None,
        }
    }
}

/// What a route says of a request, beyond what its service does.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    /// For the head of the response, at each try.
    pub(crate) try_timeout: Option<Duration>,
    /// Who gets copies of it.
    pub(crate) copies: Option<Copies>,
    /// Bytes that its body may have; `None` for any number.
    pub(crate) body_bytes_max: Option<u64>,
    /// The port of the service that it goes to; `None` for the one that gets the service's requests.
    pub(crate) port: Option<Arc<str>>,
}

/// Answers one request of a client, in any case.
pub(crate) async fn answer(
    client: Rc<Client>,
    parts: Box<Parts>,
    body: Option<Incoming>,
) -> Response<ResponseBody> {
    let started = Instant::now();
    let expects = body.is_some() && parts.headers.contains_key(EXPECT);
    let dialect = grpc::dialect(&parts.headers);
    let log = client.local.service.access_log();
    let record = log.map(|log| Rc::new(Record::new(started).logged(log, &client, &parts)));
    let mut arrival = Arrival { parts, body, expects, started, dialect, record };
    if let Some(words) = client.worker.shared.challenges.answer(arrival.parts.uri.path()) {
        let mut response = own_words(&client, arrival, StatusCode::OK, "");
        *response.body_mut() = ResponseBody::Own(Some(words));
        return response;
    }
    if client.local.router.is_some() {
        // Boxed, so that requests without routes are not the larger for it.
        return Box::pin(router::answer(client, arrival)).await;
    }
    match prepare(&client, &mut arrival.parts) {
        Ok(wish) => match arrival.deadline() {
            None => carry(client, arrival, wish, Terms::default()).await,
            // Boxed, so that requests without a deadline are not the larger for it.
            Some(deadline) => Box::pin(carry_until(deadline, client, arrival, wish, Terms::default())).await,
        },
        Err(refusal) => own_words(&client, arrival, refusal.status, refusal.words),
    }
}

/// Makes the head of a client's request into what an endpoint gets, or refuses it.
pub(crate) fn prepare(client: &Client, parts: &mut Parts) -> Result<Wish, Refusal> {
    let default_host = HeaderValue::from_static("localhost");
    let forwarded = client.local.snapshot().forwarded;
    let (address, scheme) = (&client.address, client.scheme);
    let wish = prepare_request(parts, &Sender { address, scheme, forwarded, default_host: &default_host })?;
    if wish == Wish::WebSocket {
        client.worker.with_chance(|rng| websocket::set_key(&mut parts.headers, rng));
    }
    Ok(wish)
}

/// Answers a request that goes to no endpoint.
pub(crate) fn own_words(
    client: &Rc<Client>,
    arrival: Arrival,
    status: StatusCode,
    words: &'static str,
) -> Response<ResponseBody> {
    client.shard().requests.add(1);
    let upload = Upload::new(client, arrival.body, arrival.expects);
    let Arrival { started, dialect, record, .. } = arrival;
    let exchange = Exchange::new(client, &client.local.snapshot(), started, dialect, upload, record);
    exchange.own_words(status, words)
}

/// As [`carry`], for as long as there is time: then the client is answered 504, and an endpoint that has the request hears no more of it.
pub(crate) async fn carry_until(
    deadline: Instant,
    client: Rc<Client>,
    arrival: Arrival,
    wish: Wish,
    terms: Terms,
) -> Response<ResponseBody> {
    let (started, dialect, record) = (arrival.started, arrival.dialect, arrival.record.clone());
    let answered = carry(Rc::clone(&client), arrival, wish, terms);
    if let Ok(response) = timeout_at(deadline, answered).await {
        return response;
    }
    let exchange = Exchange::new(&client, &client.local.snapshot(), started, dialect, None, record);
    exchange.own_words(StatusCode::GATEWAY_TIMEOUT, "The request was not answered in time.")
}

/// Takes a request whose head is prepared to an endpoint of the client's service, and answers it in any case.
pub(crate) async fn carry(
    client: Rc<Client>,
    arrival: Arrival,
    wish: Wish,
    terms: Terms,
) -> Response<ResponseBody> {
    let deadline = arrival.deadline();
    let Arrival { mut parts, body, expects, started, dialect, record } = arrival;
    let snapshot = client.local.snapshot();
    client.shard().requests.add(1);
    client.local.deposit(client.local.service.clock.at(started));
    let upload = Upload::new(&client, body, expects);
    // Boxed, because it goes a long way: from here to the end of the answer's body.
    let mut exchange = Box::new(Exchange::new(&client, &snapshot, started, dialect, upload.clone(), record));
    if let (Some(upload), Some(max)) = (&upload, terms.body_bytes_max) {
        upload.limit(max);
        if upload.is_too_long() {
            return exchange.own_words(StatusCode::PAYLOAD_TOO_LARGE, TOO_LONG);
        }
    }
    if let Err(closed) = exchange.enter() {
        return exchange.refused(closed);
    }
    if upload.as_ref().is_some_and(|u| u.length().is_none()) {
        // Said explicitly, because hyper would leave out the unannounced body of a GET.
        parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let stream = parts.extensions.remove::<OnUpgrade>().filter(|_| wish == Wish::WebSocket);
    let head = Head::new(parts);
    let Terms { try_timeout, copies, port, .. } = terms;
    // A request that may become a tunnel is more than can be copied.
    let copy = copies.filter(|_| wish == Wish::Plain).map(|copies| (copies, head.clone(), upload.clone()));
    let mut errand = Errand {
        client,
        snapshot,
        try_timeout,
        port,
        deadline,
        head,
        wish,
        stream,
        upload,
        is_fresh_only: false,
    };
    let response = errand.run(exchange).await;
    if let Some((copies, head, upload)) = copy {
        copies.send(|| Some((head.clone(), RequestBody::copy_of(upload.as_ref())?)));
    }
    response
}

/// A request on its way to whichever endpoint answers it.
#[derive(Debug)]
struct Errand {
    client: Rc<Client>,
    snapshot: Adopted,
    /// For the head of the response, in the place of what the service says.
    try_timeout: Option<Duration>,
    /// In the place of the port that gets the service's requests.
    port: Option<Arc<str>>,
    /// When the client waits no more, which endpoints are told.
    deadline: Option<Instant>,
    head: Head,
    wish: Wish,
    /// What a WebSocket of a client that speaks HTTP/2 goes over.
    stream: Option<OnUpgrade>,
    upload: Option<Rc<Upload>>,
    /// A kept connection has failed this request; from then on it goes over new ones.
    is_fresh_only: bool,
}

/// Why an attempt brought no response.
#[derive(Debug)]
struct Missed {
    how: How,
    /// The connection had been kept from an earlier request, so it says little about the endpoint that it was closed.
    was_kept: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Broken(Phase),
    TimedOut,
    /// It speaks HTTP/2, and takes no WebSockets there.
    NoTunnel,
    /// The client's body is malformed or broke off: no endpoint can answer that, and none is to blame.
    Unsendable,
}

/// The client asks for a WebSocket of endpoints that have none.
const NO_TUNNEL: &str = "The endpoint speaks HTTP/2 and takes no WebSockets over it (RFC 8441).";

/// The tries of a request since it last waited for an endpoint.
#[derive(Debug)]
struct Round {
    tried: Tried,
    tries: u8,
    /// Of these, endpoints that take no WebSockets.
    without_tunnel: u8,
}

impl Round {
    const NEW: Self = Self { tried: Tried::NONE, tries: 0, without_tunnel: 0 };

    fn passed_over(&mut self, id: EndpointId) {
        self.tried.add(id);
        self.without_tunnel += 1;
    }

    /// Whether all that were tried take no WebSockets. One that did not answer might, and is waited for.
    fn is_without_tunnel(&self) -> bool {
        self.tries > 0 && self.without_tunnel == self.tries
    }
}

impl Errand {
    async fn run(&mut self, mut exchange: Box<Exchange>) -> Response<ResponseBody> {
        let mut round = Round::NEW;
        let mut patience: Option<Patience> = None;
        // The clock is read again only after something has taken time: a reading costs as much as a choice.
        let mut now = exchange.started();
        loop {
            let in_flight = match self.choose(&round.tried, self.service().clock.at(now)) {
                Ok(in_flight) => in_flight,
                Err(Unpicked::Full) => return exchange.refused(Closed::Full),
                Err(Unpicked::Exhausted) if round.is_without_tunnel() => {
                    return exchange.own_words(StatusCode::NOT_IMPLEMENTED, NO_TUNNEL);
                }
                Err(Unpicked::Exhausted) => {
                    if let Err(impatience) = self.wait(&mut patience, &round.tried).await {
                        self.client.shard().unavailable.add(1);
                        return exchange.own_words(StatusCode::SERVICE_UNAVAILABLE, impatience.words());
                    }
                    (round, now) = (Round::NEW, Instant::now());
                    continue;
                }
            };
            round.tries += 1;
            let id = in_flight.endpoint().id;
            if let Err(closed) = exchange.begin(in_flight, now) {
                return exchange.refused(closed);
            }
            let missed = match self.attempt_in_time(&mut exchange, &mut round.tried).await {
                Ok((response, line)) => return self.deliver(exchange, response, line).await,
                Err(missed) => missed,
            };
            let phase = match self.phase_of(missed.how) {
                Ok(phase) => phase,
                Err((status, words)) => return exchange.own_words(status, words),
            };
            let failure = Failure {
                repeatability: Repeatability::of_method(self.head.method.as_str()),
                phase,
                body: self.upload.as_ref().map_or(Left::Whole, |upload| upload.left()),
                tries: round.tries,
            };
            now = Instant::now();
            match self.client.local.may_retry(&failure, self.service().clock.at(now)) {
                Retry::Yes => exchange.retried(),
                Retry::No(refusal) => {
                    let (status, words) = answer_of(missed.how, refusal);
                    return exchange.own_words(status, words);
                }
            }
            match missed.how {
                How::NoTunnel => round.passed_over(id),
                How::Broken(_) | How::TimedOut | How::Unsendable if missed.was_kept => {
                    self.is_fresh_only = true;
                }
                How::Broken(_) | How::TimedOut | How::Unsendable => round.tried.add(id),
            }
        }
    }

    /// Takes the request on for an endpoint that was not tried; for a WebSocket one that has not said that it takes none, if there is such.
    fn choose(&self, tried: &Tried, at: Duration) -> Result<InFlight, Unpicked> {
        let local = &self.client.local;
        if self.wish != Wish::Plain && websocket::is_asked_for_as_http1(&self.head.headers) {
            return local.choose_for_websocket(tried, self.port(), || self.key(), at);
        }
        local.choose(tried, self.port(), || self.key(), at)
    }

    /// Waits until there may be an endpoint to try.
    async fn wait(&self, patience: &mut Option<Patience>, tried: &Tried) -> Result<(), Impatience> {
        let patience = patience.get_or_insert_with(|| Patience::new(self.snapshot.timeouts.endpoint));
        let Client { worker, local, hand, .. } = &*self.client;
        hand.disarm();
        patience.wait(local, self.port(), &worker.shared.awaited, tried).await
    }

    /// How far an attempt had come that may be made again; what the client is told of one that may not.
    fn phase_of(&self, how: How) -> Result<Phase, (StatusCode, &'static str)> {
        Err(match how {
            How::Broken(phase) => return Ok(phase),
            How::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "The endpoint did not answer in time."),
            // Its connection may have been opened for it, and that is all.
            How::NoTunnel => return Ok(Phase::Unsent),
            How::Unsendable if self.upload.as_ref().is_some_and(|upload| upload.is_too_long()) => {
                (StatusCode::PAYLOAD_TOO_LARGE, TOO_LONG)
            }
            How::Unsendable => (StatusCode::BAD_REQUEST, "The request's body is malformed or broke off."),
        })
    }

    fn service(&self) -> &Service {
        &self.client.local.service
    }

    fn port(&self) -> Option<&str> {
        self.port.as_deref()
    }

    /// What equal requests have in common, as the service says.
    fn key(&self) -> u64 {
        let headers = &self.head.headers;
        let named = match &self.snapshot.hash_key {
            HashKey::Address => None,
            HashKey::Header(name) => headers.get(&**name).map(HeaderValue::as_bytes),
            HashKey::Cookie(name) => cookie(headers, name),
        };
        balance::hash_key(named.unwrap_or(self.client.address.as_bytes()))
    }

    /// Sends the request to the endpoint of the exchange once.
    async fn attempt(&self, exchange: &mut Exchange) -> Result<(Response<Inbound>, Line), Missed> {
        let timeouts = &self.snapshot.timeouts;
        let hand = &self.client.hand;
        let (line, was_kept) = self.ready_line(exchange).await?;
        if self.upload.is_some() {
            hand.arm(Stage::Upload, timeouts.stream_idle);
        } else {
            hand.arm(Stage::Response, self.response_time());
        }
        let body = RequestBody::of(self.upload.as_ref());
        let sent = match self.deadline {
            None => line.send(&self.head, body, hand, &self.client.worker).await,
            Some(deadline) => {
                let mut head = self.head.clone();
                grpc::set_timeout(&mut head.headers, deadline.saturating_duration_since(Instant::now()));
                // Boxed, so that requests without a deadline are not the larger for it.
                Box::pin(line.send(&head, body, hand, &self.client.worker)).await
            }
        };
        // What was reset on a connection that goes on is not for the connection's age.
        let was_kept =
            was_kept && !matches!(&sent, Err(SendError::Reset { source, .. }) if source.is_reset());
        let how = match sent {
            Ok((response, line)) => {
                hand.arm(Stage::Stream, timeouts.stream_idle);
                exchange.answered(response.status(), response.headers());
                return Ok((response, line));
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
            // Saying no to a request that it has not looked at is an endpoint's right.
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
    fn response_time(&self) -> Duration {
        self.try_timeout.unwrap_or(self.snapshot.timeouts.response_head)
    }

    /// Opens a line to the endpoint of the exchange; says too whether that was open before.
    async fn ready_line(&self, exchange: &Exchange) -> Result<(ReadyLine, bool), Missed> {
        let hand = &self.client.hand;
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
            // Routes send requests to whatever they name.
            Protocol::Http1 | Protocol::Tcp | Protocol::Udp => {
                if let Some(link) = self.kept_link(endpoint, address) {
                    return Ok((ReadyLine::Http1(link), true));
                }
                hand.disarm();
                let introduction = self.snapshot.introduction(self.client.ends());
                let link = Link::connect(address, self.snapshot.timeouts.connect, introduction).await;
                Ok((ReadyLine::Http1(link.map_err(|error| failed(&error))?), false))
            }
            Protocol::Http2 => {
                let Client { local, worker, .. } = &*self.client;
                let lane = local.take_lane(worker, endpoint, address, self.is_careful());
                let was_open = lane.is_established();
                hand.disarm();
                let trunk = lane.opened().await.map_err(|error| failed(&error))?;
                Ok((ReadyLine::Http2(lane, trunk), was_open))
            }
        }
    }

    /// A kept connection to the endpoint that, for a request that must not be sent twice, is surely still open.
    fn kept_link(&self, endpoint: &Arc<Endpoint>, address: SocketAddr) -> Option<Box<Link>> {
        if self.is_fresh_only {
            return None;
        }
        let is_careful = self.is_careful();
        loop {
            let link = self.client.local.take_link(endpoint, address, self.client.ends())?;
            if link.is_reusable() && !(is_careful && link.is_closed_by_peer()) {
                return Some(link);
            }
        }
    }

    /// Whether it is worth a system call that the request does not go into a connection that is closed already.
    fn is_careful(&self) -> bool {
        let repeatability = Repeatability::of_method(self.head.method.as_str());
        repeatability == Repeatability::ActsEachTime || self.upload.is_some()
    }

    /// Hands the endpoint's response to the client.
    async fn deliver(
        &mut self,
        mut exchange: Box<Exchange>,
        response: Response<Inbound>,
        line: Line,
    ) -> Response<ResponseBody> {
        let (mut parts, body) = response.into_parts();
        // Which HTTP an endpoint speaks is between it and us (RFC 9112, section 2.3).
        parts.version = Version::HTTP_11;
        prepare_response(&mut parts.headers, parts.status);
        let is_taken_up = websocket::is_taken_up(parts.status, &parts.headers);
        if self.wish == Wish::WebSocket && parts.status.is_success() {
            // To a client that speaks HTTP/2 it would say that it did.
            let words = "The endpoint answered without taking up the WebSocket.";
            return exchange.own_words(StatusCode::BAD_GATEWAY, words);
        }
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            let is_asked_for = match self.wish {
                Wish::Plain => false,
                Wish::Upgrade => true,
                Wish::WebSocket => is_taken_up,
            };
            let Some((endpoint_stream, endpoint_sent)) = line.into_stream(body).filter(|_| is_asked_for)
            else {
                let words = "The endpoint changed the protocol unasked.";
                return exchange.own_words(StatusCode::BAD_GATEWAY, words);
            };
            if self.wish == Wish::WebSocket {
                parts.status = websocket::answer_as_http2(&mut parts.headers);
            }
            let record = exchange.record();
            let tunnel = exchange.take_in_flight().map(|in_flight| Tunnel {
                stream: self.stream.take(),
                endpoint_stream,
                endpoint_sent,
                in_flight,
                record,
            });
            self.client.becomes(tunnel);
            return Response::from_parts(parts, ResponseBody::Own(None));
        }
        let body = if body.is_end_stream() {
            exchange.ended(None);
            exchange.give_back(line, &mut Context::from_waker(Waker::noop()));
            poll_fn(|cx| exchange.poll_rest(cx)).await;
            ResponseBody::Own(None)
        } else {
            ResponseBody::Endpoint(Download::new(body, line, exchange))
        };
        Response::from_parts(parts, body)
    }
}

/// What the client is answered when a request that failed is not sent again.
fn answer_of(how: How, refusal: RetryRefusal) -> (StatusCode, &'static str) {
    match how {
        How::NoTunnel => (StatusCode::NOT_IMPLEMENTED, NO_TUNNEL),
        How::Broken(_) | How::TimedOut | How::Unsendable => (StatusCode::BAD_GATEWAY, words_of(refusal)),
    }
}

/// Why it is not sent again, as the client is told.
fn words_of(refusal: RetryRefusal) -> &'static str {
    match refusal {
        // An endpoint that began its answer and broke off within the head.
        RetryRefusal::ResponseBegun => "The endpoint's response was malformed or broke off.",
        RetryRefusal::MayHaveActed => {
            "The endpoint closed the connection without an answer; it may have acted, so the request was not repeated."
        }
        RetryRefusal::BodyConsumed => {
            "The endpoint closed the connection without an answer, and the body was too long to be kept and sent again."
        }
        RetryRefusal::TooManyTries => "Every endpoint that was tried closed or refused the connection.",
        RetryRefusal::BudgetSpent => {
            "The endpoint closed the connection without an answer, and so do too many."
        }
    }
}
