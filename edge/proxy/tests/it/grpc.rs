//! gRPC with a client and a server of third parties: all kinds of calls pass, and local replies have the form of gRPC.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proxy::{AttachedRoute, EndpointRoute, Gateway, OutlierPolicy, Protocol, ServiceRoute};
use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use crate::http2;
use crate::kit::*;

/// Messages that are bytes and nothing else.
#[derive(Debug, Clone, Copy, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

type Messages = std::pin::Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

/// What an endpoint does with a call: the path says which of these.
async fn called(path: &str, mut messages: Streaming<Bytes>, left: Arc<Notify>) -> Result<Messages, Status> {
    match path {
        "/t/Echo" => Ok(Box::pin(messages)),
        // Fails after it has begun, so that only its trailers say so.
        "/t/Late" => {
            let first = messages.next().await.unwrap_or_else(|| Err(Status::invalid_argument("nothing")));
            Ok(Box::pin(tokio_stream::iter([first, Err(Status::internal("broken: 100 %"))])))
        }
        "/t/Missing" => Err(Status::not_found("it is not here")),
        "/t/Never" => {
            let _left = Leaving(left);
            std::future::pending().await
        }
        _ => Err(Status::unavailable("not now")),
    }
}

/// Notifies when its call is cancelled.
struct Leaving(Arc<Notify>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// An endpoint that speaks gRPC.
async fn endpoint(left: &Arc<Notify>) -> Backend {
    let left = Arc::clone(left);
    Backend::raw(move |stream| {
        let left = Arc::clone(&left);
        async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let (left, path) = (Arc::clone(&left), request.uri().path().to_owned());
                let call = Call { path: path.into(), left };
                async move {
                    let request = request.map(tonic::body::Body::new);
                    Ok::<_, Infallible>(tonic::server::Grpc::new(Plain).streaming(call, request).await)
                }
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await
}

#[derive(Clone)]
struct Call {
    path: Arc<str>,
    left: Arc<Notify>,
}

impl tonic::server::StreamingService<Bytes> for Call {
    type Response = Bytes;
    type ResponseStream = Messages;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<tonic::Response<Messages>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Streaming<Bytes>>) -> Self::Future {
        let Self { path, left } = self.clone();
        Box::pin(async move {
            let mut response = tonic::Response::new(called(&path, request.into_inner(), left).await?);
            response.metadata_mut().insert("x-answered", "yes".parse().unwrap());
            Ok(response)
        })
    }
}

/// A client of the proxy.
async fn caller(address: std::net::SocketAddr) -> tonic::client::Grpc<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    tonic::client::Grpc::new(within(endpoint.connect()).await.unwrap())
}

/// Calls with these messages; answers what came back, or how it failed.
async fn call(
    grpc: &tonic::client::Grpc<Channel>,
    path: &'static str,
    messages: &[&'static str],
) -> Result<Vec<Bytes>, Status> {
    let messages: Vec<Bytes> = messages.iter().map(|text| Bytes::from_static(text.as_bytes())).collect();
    let mut grpc = grpc.clone();
    within(async move {
        grpc.ready().await.unwrap();
        let request = tonic::Request::new(tokio_stream::iter(messages));
        let response = grpc.streaming(request, path.parse().unwrap(), Plain).await?;
        response.into_inner().collect::<Result<Vec<_>, _>>().await
    })
    .await
}

fn fixture(backend: &Backend, change: impl FnOnce(&mut ServiceRoute)) -> Fixture {
    Fixture::with(&[backend.address], |_, route| {
        route.protocol = Protocol::Http2;
        change(route);
    })
}

#[tokio::test]
async fn calls_of_all_kinds_pass_with_their_metadata_and_outcome() {
    let backend = endpoint(&Arc::default()).await;
    let fixture = fixture(&backend, |_| {});
    let grpc = caller(fixture.address).await;
    assert_eq!(call(&grpc, "/t/Echo", &["one"]).await.unwrap(), ["one"]);
    assert_eq!(call(&grpc, "/t/Echo", &["one", "two", "three"]).await.unwrap(), ["one", "two", "three"]);
    assert_eq!(call(&grpc, "/t/Echo", &[]).await.unwrap(), [""; 0]);
    let late = call(&grpc, "/t/Late", &["one"]).await.unwrap_err();
    assert_eq!((late.code(), late.message()), (Code::Internal, "broken: 100 %"));
    let missing = call(&grpc, "/t/Missing", &["one"]).await.unwrap_err();
    assert_eq!((missing.code(), missing.message()), (Code::NotFound, "it is not here"));
    // Each message is answered before the next is sent.
    let (messages, source) = mpsc::channel(1);
    messages.send(Bytes::from_static(b"a")).await.unwrap();
    let request = tonic::Request::new(ReceiverStream::new(source));
    let mut streaming = grpc.clone();
    streaming.ready().await.unwrap();
    let response = within(streaming.streaming(request, "/t/Echo".parse().unwrap(), Plain)).await.unwrap();
    assert_eq!(response.metadata().get("x-answered").unwrap(), "yes");
    let mut answers = response.into_inner();
    for text in ["a", "b", "c"] {
        assert_eq!(within(answers.next()).await.unwrap().unwrap(), text);
        let _ = messages.send(Bytes::from_static(if text == "a" { b"b" } else { b"c" })).await;
    }
    drop(messages);
}

#[tokio::test]
async fn many_concurrent_calls_are_all_answered() {
    let backend = endpoint(&Arc::default()).await;
    let fixture = fixture(&backend, |_| {});
    let grpc = caller(fixture.address).await;
    let calls = (0..500).map(|_| call(&grpc, "/t/Echo", &["x", "y"]));
    for answers in futures_util::future::join_all(calls).await {
        assert_eq!(answers.unwrap(), ["x", "y"]);
    }
}

#[tokio::test]
async fn local_replies_have_a_grpc_status() {
    let empty = Fixture::with(&[], |_, route| route.timeouts.endpoint = Duration::ZERO);
    let status = call(&caller(empty.address).await, "/t/Echo", &["one"]).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), "No endpoint of the service became ready in time; try again.");
    let traffic = empty.traffic();
    assert_eq!((traffic.counts.status[4], traffic.unavailable), (1, 1), "it counts as 503");

    let left = Arc::new(Notify::new());
    let backend = endpoint(&left).await;
    let late = fixture(&backend, |route| {
        route.timeouts.response_head = Duration::from_millis(100);
        route.limits.in_flight = std::num::NonZeroU32::new(1);
    });
    let grpc = caller(late.address).await;
    let slow = call(&grpc, "/t/Never", &["one"]);
    let full = async {
        until(|| late.table.in_flight(SERVICE, id(0)) == 1).await;
        call(&grpc, "/t/Echo", &["one"]).await
    };
    let (slow, full) = tokio::join!(slow, full);
    assert_eq!(slow.unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(full.unwrap_err().code(), Code::ResourceExhausted);
    within(left.notified()).await;
}

#[tokio::test]
async fn an_answer_of_the_proxy_is_its_trailers_only() {
    let empty = Fixture::with(&[], |_, route| route.timeouts.endpoint = Duration::ZERO);
    let mut sent = request("POST", "/t/Echo", "");
    sent.headers_mut().insert("content-type", "application/grpc+proto".parse().unwrap());
    let answer = empty.client().await.send(sent).await.unwrap();
    let header_of = |name: &str| answer.headers().get(name).unwrap().to_str().unwrap();
    assert_eq!(
        (answer.status().as_u16(), header_of("content-type"), header_of("grpc-status")),
        (200, "application/grpc", "14")
    );
    assert_eq!(answer.body(), "");
}

/// A call whose client waits so long; made by hand, since a client of gRPC would end it by itself at the same time.
fn timed(path: &str, timeout: &'static str) -> Request<http2::Body> {
    let mut request = http2::request(path, http2::whole(""));
    request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    request.headers_mut().insert("grpc-timeout", timeout.parse().unwrap());
    request
}

#[tokio::test]
async fn a_call_ends_at_its_deadline() {
    let left = Arc::new(Notify::new());
    let backend = endpoint(&left).await;
    let fixture = fixture(&backend, |_| {});
    let routed = |timeouts: serde_json::Value| {
        let rules = json!([{"backendRefs": [{"name": SERVICE}], "timeouts": timeouts}]);
        let spec =
            Arc::new(serde_json::from_value(json!({"listen": "127.0.0.1:0", "rules": rules})).unwrap());
        let routes = vec![AttachedRoute { name: "calls".into(), created: 1, spec }];
        fixture.table.set_gateway(&Gateway { listen: any(), tls: None, routes }).unwrap()
    };
    let ends = async |address, timeout| {
        let h2_client = http2::Http2Client::at(address).await;
        let answer = within(h2_client.send(timed("/t/Never", timeout))).await.unwrap();
        let header_of = |name: &str| answer.headers().get(name).unwrap().to_str().unwrap();
        let outcome = (answer.status().as_u16(), header_of("content-type"), header_of("grpc-status"));
        assert_eq!(outcome, (200, "application/grpc", "4"));
        assert!(hyper::body::Body::is_end_stream(answer.body()), "trailers only");
        within(left.notified()).await;
    };
    ends(fixture.address, "100m").await;
    ends(routed(json!({})), "100m").await;
    ends(routed(json!({"request": "1h"})), "100000u").await;
    ends(routed(json!({"request": "100ms"})), "1H").await;
    let traffic = fixture.traffic();
    assert_eq!((traffic.counts.requests, traffic.counts.status), (4, [0, 0, 0, 0, 4]), "they count as 504");
    assert_eq!(traffic.counts.abandoned, 0, "each is counted once");
    let counts = &traffic.endpoints[0].counts;
    assert_eq!(counts.failures, 0, "the endpoint is not to blame");
    assert_eq!(counts.abandoned, 4, "it was given up on");
    let least = counts.abandoned_after.as_ref().and_then(|after| after.quantile(0.0));
    assert!(least.is_some_and(|least| least >= Duration::from_millis(90)), "{least:?}");
    let grpc = caller(fixture.address).await;
    assert_eq!(call(&grpc, "/t/Echo", &["still"]).await.unwrap(), ["still"]);
}

#[tokio::test]
async fn an_endpoint_gets_the_remaining_timeout() {
    let backend = Backend::http2(100, |request: Request<Incoming>| async move {
        let timeout = request.headers()["grpc-timeout"].clone();
        Response::builder().header("timeout", timeout).body(Empty::<Bytes>::new()).unwrap()
    })
    .await;
    let mut fixture = Fixture::with(&[], |_, route| route.protocol = Protocol::Http2);
    let h2_client = http2::Http2Client::new(&fixture).await;
    let remaining = async |timeout| {
        let answer = within(h2_client.send(timed("/t/Echo", timeout))).await.unwrap();
        answer.headers().get("timeout").unwrap().to_str().unwrap().to_owned()
    };
    let started = async {
        until(|| fixture.table.load(SERVICE).is_some_and(|load| load.waiting == 1)).await;
        fixture.route.endpoints.push(EndpointRoute::new(id(0), backend.address));
        fixture.table.set_service(&fixture.route).unwrap();
    };
    let (left, ()) = tokio::join!(remaining("60S"), started);
    let micros: u64 = left.strip_suffix('u').unwrap().parse().unwrap();
    assert!((1..60_000_000).contains(&micros), "{left}: it has waited for the endpoint");
    for odd in ["5", "5s", "123456789m"] {
        assert_eq!(remaining(odd).await, odd, "what cannot be read is for the endpoint to judge");
    }
}

#[tokio::test]
async fn rate_limited_calls_get_a_grpc_status() {
    let backend = endpoint(&Arc::default()).await;
    let fixture = fixture(&backend, |_| {});
    let limits = json!({"requests": {"perSecond": 1, "burst": 1}});
    let spec =
        json!({"listen": "127.0.0.1:0", "limits": limits, "rules": [{"backendRefs": [{"name": SERVICE}]}]});
    let spec = Arc::new(serde_json::from_value(spec).unwrap());
    let routes = vec![AttachedRoute { name: "calls".into(), created: 1, spec }];
    let grpc =
        caller(fixture.table.set_gateway(&Gateway { listen: any(), tls: None, routes }).unwrap()).await;
    let calls = (0..4).map(|_| call(&grpc, "/t/Echo", &["x"]));
    let refused: Vec<_> =
        futures_util::future::join_all(calls).await.into_iter().filter_map(Result::err).collect();
    assert!(!refused.is_empty());
    assert!(refused.iter().all(|status| status.code() == Code::ResourceExhausted), "{refused:?}");
}

#[tokio::test]
async fn a_cancelled_call_is_cancelled_at_its_endpoint() {
    let left = Arc::new(Notify::new());
    let backend = endpoint(&left).await;
    let fixture = fixture(&backend, |_| {});
    let grpc = caller(fixture.address).await;
    let given_up = {
        let calling = call(&grpc, "/t/Never", &["one"]);
        tokio::pin!(calling);
        tokio::select! {
            _ = &mut calling => false,
            () = until(|| fixture.table.in_flight(SERVICE, id(0)) == 1) => true,
        }
    };
    assert!(given_up);
    within(left.notified()).await;
    assert_eq!(call(&grpc, "/t/Echo", &["still"]).await.unwrap(), ["still"]);
}

#[tokio::test]
async fn server_side_grpc_statuses_count_as_errors_and_eject() {
    let backend = endpoint(&Arc::default()).await;
    let fixture = fixture(&backend, |route| {
        route.outliers = OutlierPolicy { failures_in_a_row: 3, ..OutlierPolicy::default() };
    });
    let grpc = caller(fixture.address).await;
    for _ in 0..5 {
        call(&grpc, "/t/Missing", &["one"]).await.unwrap_err();
    }
    call(&grpc, "/t/Echo", &["one"]).await.unwrap();
    let traffic = fixture.traffic();
    assert_eq!(traffic.counts.status, [0, 1, 0, 5, 0], "NOT_FOUND is an answer");
    assert!(!traffic.endpoints[0].is_ejected());
    for path in ["/t/Late", "/t/Other", "/t/Late"] {
        call(&grpc, path, &["one"]).await.unwrap_err();
    }
    let traffic = fixture.traffic();
    assert_eq!((traffic.counts.status[4], traffic.errors()), (3, 3), "by trailers as by a head alone");
    assert!(traffic.endpoints[0].is_ejected());
}

#[tokio::test]
async fn calls_are_routed_by_their_method() {
    let backend = endpoint(&Arc::default()).await;
    let fixture = fixture(&backend, |_| {});
    let spec = json!({"listen": "127.0.0.1:0", "rules": [
        {"matches": [{"path": {"type": "PathPrefix", "value": "/t"}}], "backendRefs": [{"name": SERVICE}]}]});
    let spec = Arc::new(serde_json::from_value(spec).unwrap());
    let routes = vec![AttachedRoute { name: "calls".into(), created: 1, spec }];
    let grpc =
        caller(fixture.table.set_gateway(&Gateway { listen: any(), tls: None, routes }).unwrap()).await;
    assert_eq!(call(&grpc, "/t/Echo", &["one"]).await.unwrap(), ["one"]);
    assert_eq!(call(&grpc, "/t/Other", &["one"]).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(call(&grpc, "/t/Late", &["one"]).await.unwrap_err().code(), Code::Internal);
    let unknown = call(&grpc, "/elsewhere/Echo", &["one"]).await.unwrap_err();
    assert_eq!((unknown.code(), unknown.message()), (Code::Unimplemented, "No route matches this request."));
    let route = fixture.table.route_traffic().remove(0);
    assert_eq!(
        (route.requests, route.status),
        (3, [0, 1, 0, 0, 2]),
        "each by its outcome, in its head or in its trailers"
    );
    assert_eq!(route.latency.count(), 3);
}

#[tokio::test]
async fn a_response_that_is_not_grpc_counts_by_its_http_status() {
    let backend = Backend::http2(100, |_| async {
        Response::builder().status(502).body(Empty::<Bytes>::new()).unwrap()
    })
    .await;
    let fixture = fixture(&backend, |_| {});
    let status = call(&caller(fixture.address).await, "/t/Echo", &["one"]).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "as the client maps 502");
    assert_eq!(fixture.traffic().counts.status[4], 1);
}
