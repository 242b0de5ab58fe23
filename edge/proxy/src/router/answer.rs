//! Answers a request on a shared listener: finds its rule, and forwards it to a service of that rule.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{HOST, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::http::request::Parts;
use model::resource::Span;
use model::resource::route::{Compression, RequestRedirect, Scheme};
use tokio::time::Instant;

use crate::answer::Answer;
use crate::body::ResponseBody;
use crate::client::Client;
use crate::forward::{self, ClientRequest, RouteOverrides};
use crate::headers::Upgrade;
use crate::router::local::{LocalRouter, RouteMatch};
use crate::router::mirror::Target;
use crate::router::{edit, gzip};

/// Answers a request on a shared listener, whatever happens.
pub(crate) async fn answer(client: Rc<Client>, mut request: ClientRequest) -> Answer<ResponseBody> {
    let router = client.local.router.as_ref().expect("it is called only for listeners with routes");
    let upgrade = match forward::prepare(&client, &mut request.parts) {
        Ok(upgrade) => upgrade,
        Err(refusal) => return forward::local_reply(&client, request, refusal.status, refusal.message),
    };
    if route::has_dot_segments(request.parts.uri.path()) {
        let message = "The request's path has an element `.` or `..`; resolve it and try again.";
        return forward::local_reply(&client, request, StatusCode::BAD_REQUEST, message);
    }
    let Some(mut matched) = router.find(&client.worker, &request.parts) else {
        return forward::local_reply(
            &client,
            request,
            StatusCode::NOT_FOUND,
            "No route matches this request.",
        );
    };
    matched.shard(client.worker.index).requests.add(1);
    request.record = Some(matched.record(&client, &request));
    if let Err(wait) = admit(&client, &matched, request.started) {
        matched.shard(client.worker.index).over_rate.add(1);
        return rate_limited(&client, request, wait);
    }
    let takes_gzip = matched
        .compression()
        .map(|Compression::Gzip| gzip::is_wanted(&request.parts.method, &request.parts.headers));
    let mut answer = apply_rule(&client, request, upgrade, &mut matched).await;
    matched.rule().response_edit.change(&mut answer);
    if let Some(takes_gzip) = takes_gzip {
        answer = gzip::compress(answer, takes_gzip, &client.worker.gzip_permits);
    }
    answer
}

/// Whether the request is within the rate limit of its route; `Err` says how long to wait.
fn admit(client: &Client, matched: &RouteMatch, now: Instant) -> Result<(), Duration> {
    let Some(limiter) = matched.limiter() else { return Ok(()) };
    let address = client.address.to_str().ok().and_then(|address| address.parse().ok());
    // It was formatted from an address, so it parses as one.
    let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    limiter.take(address, client.local.service.clock.at(now))
}

fn rate_limited(client: &Rc<Client>, request: ClientRequest, wait: Duration) -> Answer<ResponseBody> {
    let message = "Too many requests; try again later.";
    let mut answer = forward::local_reply(client, request, StatusCode::TOO_MANY_REQUESTS, message);
    // In whole seconds, rounded up.
    let seconds = wait.as_nanos().div_ceil(1_000_000_000).max(1) as u64;
    answer.headers().insert(RETRY_AFTER, HeaderValue::from(seconds));
    answer
}

/// Applies the rule of the request: redirects it, or forwards it to a service.
async fn apply_rule(
    client: &Rc<Client>,
    mut request: ClientRequest,
    upgrade: Upgrade,
    matched: &mut RouteMatch,
) -> Answer<ResponseBody> {
    let copies = matched.copies(&client.worker);
    let rule = matched.rule();
    if let Some(redirect) = &rule.redirect {
        return redirected(client, request, redirect, matched);
    }
    let Some(Target { service, port }) = matched.backend.clone() else {
        let message = "The route of this request has no service that exists.";
        return forward::local_reply(client, request, StatusCode::INTERNAL_SERVER_ERROR, message);
    };
    if let Some(rewrite) = &rule.rewrite
        && !edit::rewrite(rewrite, &mut request.parts, matched.prefix_len)
    {
        let message = "The request's target cannot be rewritten as its route says.";
        return forward::local_reply(client, request, StatusCode::BAD_REQUEST, message);
    }
    rule.request_edit.apply(&mut request.parts.headers);
    let limit = |span: Option<Span>| span.filter(|span| *span > Span::ZERO).map(Duration::from);
    let timeouts = matched.timeouts();
    let body_bytes_max = matched.body_bytes_max();
    let try_timeout = limit(timeouts.backend_request);
    let overrides = RouteOverrides { try_timeout, copies, body_bytes_max, port, answered_at: None };
    let target = Client::for_backend(client, service);
    let route_deadline = limit(timeouts.request).map(|limit| request.started + limit);
    match route_deadline.into_iter().chain(request.deadline()).min() {
        None => forward::to_service(target, request, upgrade, overrides).await,
        Some(deadline) => forward::to_service_before(deadline, target, request, upgrade, overrides).await,
    }
}

fn redirected(
    client: &Rc<Client>,
    request: ClientRequest,
    redirect: &RequestRedirect,
    matched: &RouteMatch,
) -> Answer<ResponseBody> {
    let location = route::location(redirect, &original_request(client, &request.parts, matched.prefix_len));
    let status = StatusCode::from_u16(redirect.status_code.into()).unwrap_or(StatusCode::FOUND);
    match HeaderValue::try_from(location) {
        Ok(location) => {
            let mut answer =
                forward::local_reply(client, request, status, "The resource is at another location.");
            answer.headers().insert(LOCATION, location);
            answer
        }
        Err(_) => {
            let message = "The request's target cannot be redirected as its route says.";
            forward::local_reply(client, request, StatusCode::BAD_REQUEST, message)
        }
    }
}

fn original_request<'a>(client: &Client, parts: &'a Parts, prefix_len: usize) -> route::RequestTarget<'a> {
    route::RequestTarget {
        scheme: if client.scheme == "https" { Scheme::Https } else { Scheme::Http },
        host: parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default(),
        port: client.local.router.as_ref().map_or(0, LocalRouter::port),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        prefix_len,
    }
}
