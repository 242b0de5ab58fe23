//! Forwards one request: to an endpoint, to another one if the first fails and that is allowed, and back.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use balance::{
    Body as Left, EndpointId, Failure, Phase, Refusal as RetryRefusal, Repeatability, Retry, Tried, Unpicked,
};
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{EXPECT, HeaderValue, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use tokio::time::{Instant, timeout_at};

use crate::access::Record;
use crate::answer::Answer;
use crate::body::{Download, RequestBody, ResponseBody, Upload};
use crate::connection::Client;
use crate::endpoint::InFlight;
use crate::exchange::Exchange;
use crate::gate::Closed;
use crate::grpc::{self, Dialect};
use crate::head::Head;
use crate::headers::{Refusal, Sender, Wish, cookie, prepare_request};
use crate::local::Adopted;
use crate::patience::{Impatience, Patience};
use crate::route::HashKey;
use crate::router::{self, Copies};
use crate::service::Service;
use crate::tunnel::Tunnel;
use crate::upstream::{Upstream, UpstreamBody};
use crate::websocket;

mod attempt;
mod hedge;

use self::attempt::How;

/// The answer to a body that is longer than its route allows.
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
    /// What is logged of it, and counted for its route.
    pub(crate) record: Option<Rc<Record>>,
}

impl Arrival {
    /// When its client stops waiting for an answer, if that is known.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.dialect {
            Dialect::Grpc => grpc::deadline(&self.parts.headers, self.started),
            Dialect::Http => None,
        }
    }
}

/// What a route demands for a request, beyond what its service does.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    /// How long each attempt may take until the head of the response.
    pub(crate) try_timeout: Option<Duration>,
    /// The services that get copies of it.
    pub(crate) copies: Option<Copies>,
    /// Bytes that its body may have; `None` for no limit.
    pub(crate) body_bytes_max: Option<u64>,
    /// The port of the service that it goes to; `None` for the main one.
    pub(crate) port: Option<Arc<str>>,
}

/// Answers one request of a client, whatever happens.
pub(crate) async fn answer(
    client: Rc<Client>,
    parts: Box<Parts>,
    body: Option<Incoming>,
) -> Answer<ResponseBody> {
    let started = Instant::now();
    let expects = body.is_some() && parts.headers.contains_key(EXPECT);
    let dialect = grpc::dialect(&parts.headers);
    let log = client.local.service.access_log();
    let record = log.map(|log| Rc::new(Record::new(started).logged(log, &client, &parts)));
    let mut arrival = Arrival { parts, body, expects, started, dialect, record };
    if let Some(words) = client.worker.shared.challenges.answer(arrival.parts.uri.path()) {
        let mut answer = own_words(&client, arrival, StatusCode::OK, "");
        answer.body = ResponseBody::Own(Some(words));
        return answer;
    }
    if client.local.router.is_some() {
        // Boxed, so that requests without routes do not pay for its size.
        return Box::pin(router::answer(client, arrival)).await;
    }
    match prepare(&client, &mut arrival.parts) {
        Ok(wish) => match arrival.deadline() {
            None => carry(client, arrival, wish, Terms::default()).await,
            // Boxed, so that requests without a deadline do not pay for its size.
            Some(deadline) => Box::pin(carry_until(deadline, client, arrival, wish, Terms::default())).await,
        },
        Err(refusal) => own_words(&client, arrival, refusal.status, refusal.words),
    }
}

/// Turns the head of a client's request into the one that an endpoint gets, or refuses it.
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

/// Answers a request that does not go to an endpoint.
pub(crate) fn own_words(
    client: &Rc<Client>,
    arrival: Arrival,
    status: StatusCode,
    words: &'static str,
) -> Answer<ResponseBody> {
    client.shard().requests.add(1);
    let upload = Upload::new(client, arrival.body, arrival.expects);
    let Arrival { started, dialect, record, .. } = arrival;
    let exchange = Exchange::new(client, &client.local.snapshot(), started, dialect, upload, record);
    exchange.own_words(status, words)
}

/// As [`carry`], but at the `deadline` the client is answered 504, and an attempt that is under way is cancelled.
pub(crate) async fn carry_until(
    deadline: Instant,
    client: Rc<Client>,
    arrival: Arrival,
    wish: Wish,
    terms: Terms,
) -> Answer<ResponseBody> {
    let (started, dialect, record) = (arrival.started, arrival.dialect, arrival.record.clone());
    let answered = carry(Rc::clone(&client), arrival, wish, terms);
    if let Ok(answer) = timeout_at(deadline, answered).await {
        return answer;
    }
    let exchange = Exchange::new(&client, &client.local.snapshot(), started, dialect, None, record);
    exchange.own_words(StatusCode::GATEWAY_TIMEOUT, "The request was not answered in time.")
}

/// Sends a request whose head was [prepared](prepare) to an endpoint of the client's service, and answers it whatever happens.
pub(crate) async fn carry(
    client: Rc<Client>,
    arrival: Arrival,
    wish: Wish,
    terms: Terms,
) -> Answer<ResponseBody> {
    let deadline = arrival.deadline();
    let Arrival { mut parts, body, expects, started, dialect, record } = arrival;
    let snapshot = client.local.snapshot();
    client.shard().requests.add(1);
    client.local.deposit(client.local.service.clock.at(started));
    let upload = Upload::new(&client, body, expects);
    // Boxed, because it is moved often on its way to the end of the answer's body.
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
        // Set explicitly, because hyper would otherwise drop the body of a GET.
        parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let stream = parts.extensions.remove::<OnUpgrade>().filter(|_| wish == Wish::WebSocket);
    let head = Head::new(parts);
    let Terms { try_timeout, copies, port, .. } = terms;
    // A request that may become a tunnel cannot be copied.
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
        unanswered: 0,
    };
    let answer = errand.run(exchange).await;
    if let Some((copies, head, upload)) = copy {
        copies.send(|| Some((head.clone(), RequestBody::copy_of(upload.as_ref())?)));
    }
    answer
}

/// A request on its way to whichever endpoint answers it.
#[derive(Debug)]
struct Errand {
    client: Rc<Client>,
    snapshot: Adopted,
    /// For the head of the response, in the place of the service's timeout.
    try_timeout: Option<Duration>,
    /// In the place of the service's main port.
    port: Option<Arc<str>>,
    /// When the client stops waiting; endpoints are told.
    deadline: Option<Instant>,
    head: Head,
    wish: Wish,
    /// The stream that a WebSocket of an HTTP/2 client will go over.
    stream: Option<OnUpgrade>,
    upload: Option<Rc<Upload>>,
    /// Whether a kept connection has failed this request, which then goes over new ones only.
    is_fresh_only: bool,
    /// How often an endpoint that may have got it left it without an answer.
    unanswered: u8,
}

/// The answer to a client that asks for a WebSocket where no endpoint takes one.
const NO_TUNNEL: &str = "The endpoint speaks HTTP/2 and takes no WebSockets over it (RFC 8441).";

/// The attempts of a request since it last waited for an endpoint.
#[derive(Debug)]
struct Round {
    tried: Tried,
    tries: u8,
    /// How many of these met endpoints that take no WebSockets.
    without_tunnel: u8,
}

impl Round {
    const NEW: Self = Self { tried: Tried::NONE, tries: 0, without_tunnel: 0 };

    fn passed_over(&mut self, id: EndpointId) {
        self.tried.add(id);
        self.without_tunnel += 1;
    }

    /// Whether none of those that were tried takes WebSockets. One that did not answer might.
    fn is_without_tunnel(&self) -> bool {
        self.tries > 0 && self.without_tunnel == self.tries
    }
}

impl Errand {
    async fn run(&mut self, mut exchange: Box<Exchange>) -> Answer<ResponseBody> {
        let mut round = Round::NEW;
        let mut patience: Option<Patience> = None;
        // The clock is read again only after something has taken time: a reading costs as much as choosing an endpoint.
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
                Ok((answer, upstream)) => return self.deliver(exchange, answer, upstream).await,
                Err(missed) => missed,
            };
            let phase = match self.phase_of(missed.how) {
                Ok(phase) => phase,
                Err((status, words)) => return exchange.own_words(status, words),
            };
            // A kept connection may have been closed for being idle.
            self.unanswered += u8::from(phase == Phase::AwaitingResponse && !missed.was_kept);
            let failure = self.failure(phase, round.tries);
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

    /// Chooses an endpoint that was not tried; for a WebSocket, preferably one that is not known to take none.
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
        let Client { worker, local, timer, .. } = &*self.client;
        timer.disarm();
        patience.wait(local, self.port(), &worker.shared.awaited, tried).await
    }

    /// How far an attempt had come, if it may be made again; otherwise the answer to the client.
    fn phase_of(&self, how: How) -> Result<Phase, (StatusCode, &'static str)> {
        Err(match how {
            How::Broken(phase) => return Ok(phase),
            How::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "The endpoint did not answer in time."),
            // A connection was perhaps opened for it, and nothing more.
            How::NoTunnel => return Ok(Phase::Unsent),
            How::Unsendable if self.upload.as_ref().is_some_and(|upload| upload.is_too_long()) => {
                (StatusCode::PAYLOAD_TOO_LARGE, TOO_LONG)
            }
            How::Unsendable => (StatusCode::BAD_REQUEST, "The request's body is malformed or broke off."),
        })
    }

    fn failure(&self, phase: Phase, tries: u8) -> Failure {
        Failure {
            repeatability: Repeatability::of_method(self.head.method.as_str()),
            phase,
            body: self.upload.as_ref().map_or(Left::Whole, |upload| upload.left()),
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

    /// What requests have in common that the service wants to go to the same endpoint.
    fn key(&self) -> u64 {
        let headers = &self.head.headers;
        let named = match &self.snapshot.hash_key {
            HashKey::Address => None,
            HashKey::Header(name) => headers.get(&**name).map(HeaderValue::as_bytes),
            HashKey::Cookie(name) => cookie(headers, name),
        };
        balance::hash_key(named.unwrap_or(self.client.address.as_bytes()))
    }

    /// Hands the endpoint's answer to the client.
    async fn deliver(
        &mut self,
        mut exchange: Box<Exchange>,
        mut answer: Answer<UpstreamBody>,
        upstream: Upstream,
    ) -> Answer<ResponseBody> {
        answer.prepare();
        if self.wish == Wish::WebSocket && answer.status.is_success() {
            // A client that speaks HTTP/2 would read any 2xx as its WebSocket.
            let words = "The endpoint answered without taking up the WebSocket.";
            return exchange.own_words(StatusCode::BAD_GATEWAY, words);
        }
        if answer.status == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(*exchange, answer, upstream);
        }
        if answer.body.is_end_stream() {
            exchange.ended(None);
            exchange.give_back(upstream, &mut Context::from_waker(Waker::noop()));
            poll_fn(|cx| exchange.poll_rest(cx)).await;
            return answer.map(|_| ResponseBody::Own(None));
        }
        answer.map(|body| ResponseBody::Endpoint(Download::new(body, upstream, exchange)))
    }

    /// Lets a tunnel begin with the endpoint's answer, if the client has asked for it.
    fn switch(
        &mut self,
        exchange: Exchange,
        mut answer: Answer<UpstreamBody>,
        upstream: Upstream,
    ) -> Answer<ResponseBody> {
        let is_asked_for = match self.wish {
            Wish::Plain => false,
            Wish::Upgrade => true,
            Wish::WebSocket => websocket::is_taken_up(answer.status, answer.headers()),
        };
        if self.wish == Wish::WebSocket {
            answer.status = websocket::answer_as_http2(answer.headers());
        }
        let mut carried = None;
        let answer = answer.map(|body| {
            carried = upstream.into_stream(body);
            ResponseBody::Own(None)
        });
        let Some((endpoint_stream, endpoint_sent)) = carried.filter(|_| is_asked_for) else {
            let words = "The endpoint changed the protocol unasked.";
            return exchange.own_words(StatusCode::BAD_GATEWAY, words);
        };
        let record = exchange.record();
        let tunnel = exchange.take_in_flight().map(|in_flight| Tunnel {
            stream: self.stream.take(),
            endpoint_stream,
            endpoint_sent,
            in_flight,
            record,
        });
        self.client.becomes(tunnel);
        answer
    }
}

/// The answer to the client when a request that failed is not sent again.
fn answer_of(how: How, refusal: RetryRefusal) -> (StatusCode, &'static str) {
    match how {
        How::NoTunnel => (StatusCode::NOT_IMPLEMENTED, NO_TUNNEL),
        How::Broken(_) | How::TimedOut | How::Unsendable => (StatusCode::BAD_GATEWAY, words_of(refusal)),
    }
}

/// Why it is not sent again, in words for the client.
fn words_of(refusal: RetryRefusal) -> &'static str {
    match refusal {
        // The endpoint broke off within the head of its response.
        RetryRefusal::ResponseBegun => "The endpoint's response was malformed or broke off.",
        RetryRefusal::MayHaveActed => {
            "The endpoint closed the connection without an answer; it may have acted, so the request was not repeated."
        }
        RetryRefusal::BodyConsumed => {
            "The endpoint closed the connection without an answer, and the body was too long to be kept and sent again."
        }
        RetryRefusal::TooManyTries => "Every endpoint that was tried closed or refused the connection.",
        RetryRefusal::Unanswered => {
            "Each endpoint that got the request closed the connection without an answer; it is sent to no further one."
        }
        RetryRefusal::BudgetSpent => {
            "The endpoint closed the connection without an answer, and so do too many."
        }
    }
}
