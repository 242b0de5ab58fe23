//! One request: to an endpoint, to another if the first fails and that is allowed, and back.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use balance::{
    Body as Left, EndpointId, Failure, Phase, Refusal as RetryRefusal, Repeatability, Retry, Tried,
};
use hyper::body::{Body, Incoming};
use hyper::header::{HeaderMap, HeaderValue, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Uri};
use tokio::time::Instant;

use crate::body::{Download, RequestBody, ResponseBody, Upload};
use crate::connection::Client;
use crate::exchange::Exchange;
use crate::hand::Stage;
use crate::headers::{Sender, Wish, prepare_request, prepare_response};
use crate::link::{Link, SendError};
use crate::patience::{Impatience, Patience, PauseEnd, Place};
use crate::service::{Service, Snapshot};
use crate::tunnel::Tunnel;

/// Answers one request of a client, in any case.
pub(crate) async fn answer(client: Rc<Client>, mut request: Request<Incoming>) -> Response<ResponseBody> {
    let started = Instant::now();
    let snapshot = client.local.snapshot();
    client.shard().requests.add(1);
    client.local.deposit(client.local.service.clock.at(started));
    let on_upgrade = hyper::upgrade::on(&mut request);
    let (mut parts, body) = request.into_parts();
    let upload = Upload::new(&client, body);
    let exchange = Exchange::new(&client, &snapshot, started, upload.clone());
    let default_host = HeaderValue::from_static("localhost");
    let sender =
        Sender { address: &client.address, forwarded: snapshot.forwarded, default_host: &default_host };
    let wish = match prepare_request(&mut parts, &sender) {
        Ok(wish) => wish,
        Err(refusal) => return exchange.own_words(refusal.status, refusal.words),
    };
    if upload.as_ref().is_some_and(|u| u.length().is_none()) {
        // Said explicitly, because hyper would leave out the unannounced body of a GET.
        parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let head = Head::new(parts);
    Errand { client, snapshot, head, wish, on_upgrade, upload, is_fresh_only: false }.run(exchange).await
}

/// A request's head as endpoints get it, kept for sending it again.
#[derive(Debug)]
struct Head {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Head {
    fn new(parts: Parts) -> Self {
        Self { method: parts.method, uri: parts.uri, headers: parts.headers }
    }

    fn request(&self, body: RequestBody) -> Request<RequestBody> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// A request on its way to whichever endpoint answers it.
#[derive(Debug)]
struct Errand {
    client: Rc<Client>,
    snapshot: Arc<Snapshot>,
    head: Head,
    wish: Wish,
    on_upgrade: OnUpgrade,
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
}

impl Errand {
    async fn run(mut self, mut exchange: Exchange) -> Response<ResponseBody> {
        let mut tried = Tried::NONE;
        let mut tries = 0;
        let mut patience: Option<Patience> = None;
        // The clock is read again only after something has taken time: a reading costs as much as a choice.
        let mut now = exchange.started();
        loop {
            let Some(in_flight) = self.client.local.choose(&tried, self.service().clock.at(now)) else {
                let patience = patience.get_or_insert_with(|| Patience::new(self.snapshot.timeouts.endpoint));
                if let Err(impatience) = self.wait_for_endpoint(&tried, patience).await {
                    self.client.shard().unavailable.add(1);
                    return exchange.own_words(StatusCode::SERVICE_UNAVAILABLE, impatience.words());
                }
                (tried, tries, now) = (Tried::NONE, 0, Instant::now());
                continue;
            };
            tries += 1;
            let id = in_flight.endpoint().id;
            exchange.begin(in_flight, now);
            let missed = match self.attempt(&mut exchange).await {
                Ok((response, link)) => return self.deliver(exchange, response, link),
                Err(missed) => missed,
            };
            let phase = match missed.how {
                How::Broken(phase) => phase,
                How::TimedOut => {
                    let words = "The endpoint did not answer in time.";
                    return exchange.own_words(StatusCode::GATEWAY_TIMEOUT, words);
                }
            };
            let failure = Failure {
                repeatability: Repeatability::of_method(self.head.method.as_str()),
                phase,
                body: self.upload.as_ref().map_or(Left::Whole, |upload| upload.left()),
                tries,
            };
            now = Instant::now();
            match self.client.local.may_retry(&failure, self.service().clock.at(now)) {
                Retry::Yes => exchange.retried(),
                Retry::No(refusal) => {
                    return exchange.own_words(StatusCode::BAD_GATEWAY, words_of(refusal));
                }
            }
            if missed.was_kept {
                self.is_fresh_only = true;
            } else {
                tried.add(id);
            }
        }
    }

    fn service(&self) -> &Service {
        &self.client.local.service
    }

    /// Sends the request to the endpoint of the exchange once.
    async fn attempt(&self, exchange: &mut Exchange) -> Result<(Response<Incoming>, Box<Link>), Missed> {
        let timeouts = &self.snapshot.timeouts;
        let hand = &self.client.hand;
        let endpoint = exchange.endpoint();
        let (id, address) = (endpoint.id, endpoint.address);
        let kept = self.kept_link(id);
        let was_kept = kept.is_some();
        let mut link = match kept {
            Some(link) => link,
            None => {
                hand.disarm();
                match Link::connect(address, timeouts.connect).await {
                    Ok(link) => link,
                    Err(error) => {
                        tracing::debug!(service = %self.service().name, endpoint = %id, %address, %error, "connect failed");
                        exchange.failed_to_connect(&error);
                        return Err(Missed { how: How::Broken(Phase::Connecting), was_kept });
                    }
                }
            }
        };
        if self.upload.is_some() {
            hand.arm(Stage::Upload, timeouts.stream_idle);
        } else {
            hand.arm(Stage::Response, timeouts.response_head);
        }
        let request = self.head.request(RequestBody::of(self.upload.as_ref()));
        let how = match link.send(request, hand).await {
            Ok(response) => {
                hand.arm(Stage::Stream, timeouts.stream_idle);
                exchange.answered(response.status());
                return Ok((response, link));
            }
            Err(SendError::Closed { phase } | SendError::Broken { phase, .. }) => How::Broken(phase),
            Err(SendError::TimedOut) => How::TimedOut,
        };
        if !was_kept || how == How::TimedOut {
            exchange.failed_to_answer();
        }
        Err(Missed { how, was_kept })
    }

    /// A kept connection to the endpoint that, for a request that must not be sent twice, is surely still open.
    fn kept_link(&self, id: EndpointId) -> Option<Box<Link>> {
        if self.is_fresh_only {
            return None;
        }
        let repeatability = Repeatability::of_method(self.head.method.as_str());
        let is_careful = repeatability == Repeatability::ActsEachTime || self.upload.is_some();
        loop {
            let link = self.client.local.take_link(id)?;
            if link.is_reusable() && !(is_careful && link.is_closed_by_peer()) {
                return Some(link);
            }
        }
    }

    /// Hands the endpoint's response to the client.
    fn deliver(
        self,
        exchange: Exchange,
        response: Response<Incoming>,
        link: Box<Link>,
    ) -> Response<ResponseBody> {
        let (mut parts, body) = response.into_parts();
        prepare_response(&mut parts.headers, parts.status);
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            let Some((endpoint_stream, endpoint_sent)) =
                link.into_stream().filter(|_| self.wish == Wish::Upgrade)
            else {
                let words = "The endpoint changed the protocol unasked.";
                return exchange.own_words(StatusCode::BAD_GATEWAY, words);
            };
            let tunnel = exchange.take_in_flight().map(|in_flight| Tunnel {
                on_upgrade: self.on_upgrade,
                endpoint_stream,
                endpoint_sent,
                in_flight,
            });
            *self.client.tunnel.borrow_mut() = tunnel;
            return Response::from_parts(parts, ResponseBody::Own(None));
        }
        let body = if body.is_end_stream() {
            exchange.give_back(link, &mut Context::from_waker(Waker::noop()));
            ResponseBody::Own(None)
        } else {
            ResponseBody::Endpoint(Download::new(body, link, exchange))
        };
        Response::from_parts(parts, body)
    }

    /// Waits until there may be an endpoint to try: after a change, or after a pause if some have refused.
    async fn wait_for_endpoint(&self, tried: &Tried, patience: &mut Patience) -> Result<(), Impatience> {
        let _place = Place::take(&self.service().waiting, self.snapshot.waiting_max)?;
        self.client.hand.disarm();
        let changed = self.service().changed.notified();
        tokio::pin!(changed);
        // Registered before the roster is looked at again, so that no change in between is missed.
        changed.as_mut().enable();
        if self.service().is_closing() {
            return Err(Impatience::Closing);
        }
        if tried.is_empty() && !self.client.local.snapshot().roster.is_empty() {
            return Ok(());
        }
        let (pause, end) = patience.next_pause(tried)?;
        match (tokio::time::timeout(pause, changed).await, end) {
            (Ok(()), _) | (Err(_), PauseEnd::TryAgain) => Ok(()),
            (Err(_), PauseEnd::GiveUp) => Err(Impatience::TooLong),
        }
    }
}

/// What the client is told when a request that failed is not sent again.
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
