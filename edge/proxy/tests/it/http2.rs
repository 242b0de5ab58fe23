//! Clients that speak HTTP/2: many requests over one connection, each independent of the others.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proxy::EndpointState;
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::kit::*;

pub(crate) type Body = http_body_util::combinators::BoxBody<Bytes, std::io::Error>;

/// A connection of a client that speaks HTTP/2.
pub(crate) struct Http2Client {
    sender: SendRequest<Body>,
    connection: JoinSet<hyper::Result<()>>,
}

impl Http2Client {
    pub(crate) async fn new(fixture: &Fixture) -> Self {
        Self::at(fixture.address).await
    }

    pub(crate) async fn at(address: std::net::SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(connection);
        Self { sender, connection: tasks }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        let mut sender = self.sender.clone();
        sender.ready().await?;
        sender.send_request(request).await
    }

    pub(crate) async fn get(&self, path: &str) -> hyper::Result<Response<Bytes>> {
        let (parts, body) = within(self.send(request(path, whole("")))).await?.into_parts();
        Ok(Response::from_parts(parts, within(body.collect()).await?.to_bytes()))
    }

    /// Waits until the other side has closed the connection.
    async fn closed(mut self) {
        drop(self.sender);
        let _ = within(self.connection.join_next()).await;
    }
}

pub(crate) fn request(path: &str, body: Body) -> Request<Body> {
    Request::post(format!("http://shop.example{path}")).body(body).unwrap()
}

pub(crate) fn whole(text: &'static str) -> Body {
    Full::new(Bytes::from_static(text.as_bytes())).map_err(|never| match never {}).boxed()
}

/// A body whose pieces are sent through the returned channel.
pub(crate) fn piecewise() -> (mpsc::Sender<Frame<Bytes>>, Body) {
    let (pieces, mut source) = mpsc::channel::<Frame<Bytes>>(1);
    let stream = futures_util::stream::poll_fn(move |cx| source.poll_recv(cx).map(|frame| frame.map(Ok)));
    (pieces, StreamBody::new(stream).boxed())
}

pub(crate) fn piece(text: &'static str) -> Frame<Bytes> {
    Frame::data(Bytes::from_static(text.as_bytes()))
}

/// Answers each request with its own body and trailers as they come.
async fn echo() -> Backend {
    Backend::http(|request: Request<Incoming>| async move {
        Response::builder().header("trailer", "x-end").body(request.into_body()).unwrap()
    })
    .await
}

#[tokio::test]
async fn many_concurrent_requests_share_a_connection() {
    let release = Arc::new(Semaphore::new(0));
    let permits = Arc::clone(&release);
    let backend = Backend::http(move |request: Request<_>| {
        let permits = Arc::clone(&permits);
        async move {
            if request.uri().path() == "/slow" {
                let _ = permits.acquire().await;
            }
            let host = request.headers()["host"].to_str().unwrap().to_owned();
            Response::new(Full::new(Bytes::from(format!("{host}{}", request.uri()))))
        }
    })
    .await;
    let fixture = Fixture::new(&[backend.address]);
    let h2_client = Http2Client::new(&fixture).await;
    let mut slow: Vec<_> = (0..50).map(|_| Box::pin(h2_client.get("/slow"))).collect();
    for future in &mut slow {
        assert!(futures_util::poll!(future).is_pending());
    }
    until_async(|| async { fixture.table.in_flight(SERVICE, id(0)) == 50 }, &mut slow).await;
    let quick = h2_client.get("/quick?x=1").await.unwrap();
    assert_eq!(quick.body(), "shop.example/quick?x=1");
    release.add_permits(50);
    for answer in within(futures_util::future::join_all(slow)).await {
        assert_eq!(answer.unwrap().body(), "shop.example/slow");
    }
    assert_eq!(fixture.traffic().counts.requests, 51);
}

/// Waits for a condition while these futures go on.
pub(crate) async fn until_async<F: Future + Unpin, C: Future<Output = bool>>(
    holds: impl Fn() -> C,
    others: &mut [F],
) {
    within(async {
        while !holds().await {
            for other in &mut *others {
                assert!(futures_util::poll!(other).is_pending());
            }
            // tidy: pause between looks
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn bodies_stream_both_ways_followed_by_trailers() {
    let backend = echo().await;
    let fixture = Fixture::new(&[backend.address]);
    let h2_client = Http2Client::new(&fixture).await;
    let (pieces, body) = piecewise();
    let mut sent = request("/", body);
    sent.headers_mut().insert("te", "trailers".parse().unwrap());
    // HTTP/1.1, which the endpoint speaks, wants them announced.
    sent.headers_mut().insert("trailer", "x-end".parse().unwrap());
    let sending = h2_client.send(sent);
    let (answer, ()) = tokio::join!(sending, async { pieces.send(piece("one")).await.unwrap() });
    let mut answer = answer.unwrap().into_body();
    // The answer begins before the request has ended.
    assert_eq!(within(answer.frame()).await.unwrap().unwrap().into_data().unwrap(), "one");
    for text in ["two", "three"] {
        pieces.send(piece(text)).await.unwrap();
        assert_eq!(within(answer.frame()).await.unwrap().unwrap().into_data().unwrap(), text);
    }
    let trailers = HeaderMap::from_iter([("x-end".parse().unwrap(), "yes".parse().unwrap())]);
    pieces.send(Frame::trailers(trailers.clone())).await.unwrap();
    drop(pieces);
    let rest = within(answer.collect()).await.unwrap();
    assert_eq!(rest.trailers(), Some(&trailers));
    assert_eq!(rest.to_bytes(), "");
}

#[tokio::test]
async fn a_large_body_passes_with_small_windows() {
    let backend = echo().await;
    let fixture = Fixture::new(&[backend.address]);
    let h2_client = Http2Client::new(&fixture).await;
    let bytes = Bytes::from((0..20_000_000_u32).map(|n| (n % 251) as u8).collect::<Vec<_>>());
    let body = Full::new(bytes.clone()).map_err(|never| match never {}).boxed();
    let answer = within(h2_client.send(request("/", body))).await.unwrap().into_body();
    assert!(within(answer.collect()).await.unwrap().to_bytes() == bytes);
    assert_eq!(
        (fixture.traffic().counts.bytes_in, fixture.traffic().counts.bytes_out),
        (20_000_000, 20_000_000)
    );
}

#[tokio::test]
async fn an_answer_without_its_request_ends_the_stream_at_once() {
    let backend = Backend::raw(|mut stream| async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 405 No\r\nContent-Length: 2\r\n\r\nno").await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let fixture = Fixture::new(&[backend.address]);
    let h2_client = Http2Client::new(&fixture).await;
    let (pieces, body) = piecewise();
    let (answer, _) = tokio::join!(h2_client.send(request("/", body)), pieces.send(piece("one")));
    let answer = answer.unwrap();
    assert_eq!(answer.status(), 405);
    // The other pieces are not waited for, though they are not over.
    assert_eq!(within(answer.into_body().collect()).await.unwrap().to_bytes(), "no");
    drop(pieces);
    assert_eq!(h2_client.get("/").await.unwrap().status(), 405);
}

#[tokio::test]
async fn each_request_has_deadlines_of_its_own() {
    let backend = Backend::http(|request: Request<Incoming>| async move {
        match request.uri().path() {
            "/never" => std::future::pending().await,
            "/upload" => drop(request.into_body().collect().await),
            _ => {}
        }
        Response::new(Full::new(Bytes::from_static(b"yes")))
    })
    .await;
    let fixture = Fixture::with(&[backend.address], |_, route| {
        route.timeouts.response_head = Duration::from_millis(200);
        route.timeouts.stream_idle = Duration::from_millis(400);
        route.timeouts.client_idle = DEADLINE;
    });
    let h2_client = Http2Client::new(&fixture).await;
    let (pieces, body) = piecewise();
    let stalled = async {
        let (answer, _) = tokio::join!(h2_client.send(request("/upload", body)), pieces.send(piece("one")));
        answer
    };
    let (late, reset) = within(async { tokio::join!(h2_client.get("/never"), stalled) }).await;
    assert_eq!(late.unwrap().status(), StatusCode::GATEWAY_TIMEOUT);
    reset.unwrap_err();
    // The connection and its other streams have nothing to do with it.
    assert_eq!(h2_client.get("/").await.unwrap().body(), "yes");
}

#[tokio::test]
async fn a_reset_request_is_cancelled_at_its_endpoint() {
    let came = Arc::new(Notify::new());
    let signal = Arc::clone(&came);
    let backend = Backend::http(move |_request: Request<_>| {
        signal.notify_one();
        std::future::pending::<Response<Full<Bytes>>>()
    })
    .await;
    let fixture = Fixture::new(&[backend.address]);
    let h2_client = Http2Client::new(&fixture).await;
    let asking = h2_client.get("/");
    tokio::select! {
        _ = asking => unreachable!("it never answers"),
        () = within(came.notified()) => {}
    }
    until(|| fixture.table.in_flight(SERVICE, id(0)) == 0).await;
}

#[tokio::test]
async fn a_draining_endpoint_finishes_its_streams() {
    let (came, release) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let (signal, permits) = (Arc::clone(&came), Arc::clone(&release));
    let leaving = Backend::http(move |_request: Request<_>| {
        signal.notify_one();
        let permits = Arc::clone(&permits);
        async move {
            let _ = permits.acquire().await;
            Response::new(Full::new(Bytes::from_static(b"slow")))
        }
    })
    .await;
    let staying = Backend::named("staying").await;
    let fixture = Fixture::new(&[leaving.address]);
    let h2_client = Http2Client::new(&fixture).await;
    let mut pending = Box::pin(h2_client.get("/"));
    tokio::select! {
        _ = &mut pending => unreachable!("it waits"),
        () = within(came.notified()) => {}
    }
    let mut route = fixture.route.clone();
    route.endpoints.push(proxy::EndpointRoute::new(id(1), staying.address));
    fixture.table.set_service(&route).unwrap();
    fixture.table.set_endpoint_state(SERVICE, id(0), EndpointState::Draining).unwrap();
    for _ in 0..20 {
        assert_eq!(h2_client.get("/").await.unwrap().body(), "staying");
    }
    assert_eq!(fixture.table.in_flight(SERVICE, id(0)), 1);
    release.add_permits(1);
    let (answer, ()) = within(async { tokio::join!(pending, fixture.table.drained(SERVICE, id(0))) }).await;
    assert_eq!(answer.unwrap().body(), "slow");
}

#[tokio::test]
async fn removed_services_and_stopping_proxies_send_goaway_and_let_streams_finish() {
    for stops in [false, true] {
        let (came, release) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
        let (signal, permits) = (Arc::clone(&came), Arc::clone(&release));
        let backend = Backend::http(move |_request: Request<_>| {
            signal.notify_one();
            let permits = Arc::clone(&permits);
            async move {
                let _ = permits.acquire().await;
                Response::new(Full::new(Bytes::from_static(b"slow")))
            }
        })
        .await;
        let fixture = Fixture::new(&[backend.address]);
        let (busy, idle) = (Http2Client::new(&fixture).await, Http2Client::new(&fixture).await);
        let mut pending = Box::pin(busy.get("/"));
        tokio::select! {
            _ = &mut pending => unreachable!("it waits"),
            () = within(came.notified()) => {}
        }
        let mut ending = JoinSet::new();
        if stops {
            let proxy = fixture.proxy;
            ending.spawn(async move { proxy.shutdown(DEADLINE).await.connections_cut });
        } else {
            assert!(fixture.table.remove_service(SERVICE));
        }
        idle.closed().await;
        release.add_permits(1);
        assert_eq!(within(pending).await.unwrap().body(), "slow");
        busy.closed().await;
        assert!(within(ending.join_next()).await.is_none_or(|cut| cut.unwrap() == 0));
    }
}

#[tokio::test]
async fn an_idle_connection_is_ended_without_losing_a_request() {
    let backend = Backend::named("a").await;
    let fixture = Fixture::with(&[backend.address], |_, route| {
        route.timeouts.client_idle = Duration::from_millis(50);
        // Invalid bytes do not count as the beginning of a request.
        route.timeouts.request_head = DEADLINE * 10;
    });
    let h2_client = Http2Client::new(&fixture).await;
    h2_client.get("/").await.unwrap();
    within(h2_client.closed()).await;
    assert_eq!(fixture.traffic().malformed, 0);
}

#[tokio::test]
async fn local_replies_over_http2_have_no_connection_headers() {
    let fixture = Fixture::with(&[], |_, route| route.timeouts.endpoint = Duration::ZERO);
    let h2_client = Http2Client::new(&fixture).await;
    let answer = h2_client.get("/").await.unwrap();
    assert_eq!(
        (answer.status(), answer.headers().get("retry-after").is_some()),
        (StatusCode::SERVICE_UNAVAILABLE, true)
    );
    let tunnel = Request::connect("shop.example:80").body(whole("")).unwrap();
    let answer = within(h2_client.send(tunnel)).await.unwrap();
    assert_eq!((answer.status(), answer.headers().get("connection")), (StatusCode::NOT_IMPLEMENTED, None));
}
