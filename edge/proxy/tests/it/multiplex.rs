//! Endpoints that speak HTTP/2: few connections carry all requests, and one that ends takes none with it that may be repeated.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Response, StatusCode};
use proxy::{EndpointRoute, EndpointState, Protocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};

use crate::frames::{
    ACK, DATA, END_HEADERS, END_STREAM, FrameStream, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, frame,
};
use crate::http2::{Http2Client, piece, piecewise, until_async, whole};
use crate::kit::*;

/// As many as any test needs.
const MANY: u32 = 1000;

fn fixture(endpoints: &[&Backend]) -> Fixture {
    fixture_with(endpoints, |_| {})
}

fn fixture_with(endpoints: &[&Backend], change: impl FnOnce(&mut proxy::ServiceRoute)) -> Fixture {
    let addresses: Vec<_> = endpoints.iter().map(|backend| backend.address).collect();
    Fixture::with(&addresses, |_, route| {
        route.protocol = Protocol::Http2;
        change(route);
    })
}

async fn named(name: &'static str) -> Backend {
    Backend::http2(
        MANY,
        move |_| async move { Response::new(Full::new(Bytes::from_static(name.as_bytes()))) },
    )
    .await
}

/// Answers each request with its own body and trailers as they come.
async fn echo() -> Backend {
    Backend::http2(MANY, |request: Request<Incoming>| async move { Response::new(request.into_body()) }).await
}

/// An endpoint that is scripted frame by frame; it has received the preface and sent its settings.
async fn by_frames<F>(serve: impl Fn(FrameStream, usize) -> F + Clone + Send + 'static) -> Backend
where
    F: Future<Output = ()> + Send + 'static,
{
    let count = Arc::new(AtomicUsize::new(0));
    Backend::raw(move |mut stream: TcpStream| {
        let (nth, serve) = (count.fetch_add(1, Ordering::SeqCst), serve.clone());
        async move {
            let mut preface = [0; PREFACE.len()];
            stream.read_exact(&mut preface).await.unwrap();
            assert_eq!(preface, PREFACE);
            let mut raw = FrameStream(stream);
            raw.send(&[frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, ACK, 0, &[])]).await;
            serve(raw, nth).await;
        }
    })
    .await
}

/// Answers a stream with 200 and a body. 0x88 is `:status: 200` in HPACK's static table.
async fn answer(raw: &mut FrameStream, stream: u32, body: &str) {
    let head = frame(HEADERS, END_HEADERS, stream, &[0x88]);
    raw.send(&[head, frame(DATA, END_STREAM, stream, body.as_bytes())]).await;
}

#[tokio::test]
async fn many_concurrent_requests_share_one_connection() {
    let (go, connections) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let received = Arc::new(AtomicUsize::new(0));
    let (permits, count, heads) = (Arc::clone(&go), Arc::clone(&connections), Arc::clone(&received));
    let backend = by_frames(move |mut raw, _| {
        let (permits, count, heads) = (Arc::clone(&permits), Arc::clone(&count), Arc::clone(&heads));
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            let mut held = Vec::new();
            while held.len() < 50 {
                held.push(raw.find(HEADERS).await.unwrap().stream);
                heads.store(held.len(), Ordering::SeqCst);
            }
            // The one that came last is the first to be answered.
            let quick = raw.find(HEADERS).await.unwrap().stream;
            answer(&mut raw, quick, "quick").await;
            let _ = permits.acquire().await;
            for stream in held {
                answer(&mut raw, stream, "slow").await;
            }
            while raw.next().await.is_some() {}
        }
    })
    .await;
    let fixture = fixture(&[&backend]);
    let h2_client = Http2Client::new(&fixture).await;
    let mut slow: Vec<_> = (0..50).map(|_| Box::pin(h2_client.get("/slow"))).collect();
    // They count as in flight before their heads are sent.
    until_async(|| async { received.load(Ordering::SeqCst) == 50 }, &mut slow).await;
    assert_eq!(h2_client.get("/quick").await.unwrap().body(), "quick");
    go.add_permits(1);
    for answer in within(join_all(slow)).await {
        assert_eq!(answer.unwrap().body(), "slow");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_response_head_that_is_too_large_is_not_requested_again() {
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    let backend = Backend::http2(MANY, move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Response::builder().header("x", "y".repeat(70_000)).body(Full::<Bytes>::default()).unwrap() }
    })
    .await;
    let fixture = fixture(&[&backend, &backend]);
    let answer = fixture.client().await.get("/").await.unwrap();
    let message = "The endpoint's response is not valid HTTP/2, or its head is larger than 64 KiB.";
    assert_eq!((answer.status().as_u16(), &answer.body()[..]), (502, message.as_bytes()));
    assert_eq!((requests.load(Ordering::SeqCst), fixture.traffic().counts.failures), (1, 1));
}

#[tokio::test]
async fn the_head_is_translated_to_http2_from_any_client_protocol() {
    let backend = Backend::http2(MANY, |request: Request<Incoming>| async move {
        let headers = request.headers();
        let named = |name: &str| headers.get(name).map_or("-", |value| value.to_str().unwrap());
        let description =
            [request.uri().to_string().as_str(), named("host"), named("te"), named("connection")].join(" ");
        Response::new(Full::new(Bytes::from(description)))
    })
    .await;
    let fixture = fixture(&[&backend]);
    let mut old = request("GET", "/a?b=c", "");
    for (name, value) in [("te", "trailers"), ("connection", "te, keep-alive")] {
        old.headers_mut().append(name, value.parse().unwrap());
    }
    let answer = fixture.client().await.send(old).await.unwrap();
    assert_eq!(answer.body(), "http://shop.example/a?b=c - trailers -");
    let answer = Http2Client::new(&fixture).await.get("/a?b=c").await.unwrap();
    assert_eq!(answer.body(), "http://shop.example/a?b=c - - -");
    // A server may answer a request to switch to another protocol as if it were a usual one; this one has no WebSocket key.
    let mut upgrade = request("GET", "/", "");
    for (name, value) in [("connection", "upgrade"), ("upgrade", "websocket")] {
        upgrade.headers_mut().append(name, value.parse().unwrap());
    }
    let answer = fixture.client().await.send(upgrade).await.unwrap();
    assert_eq!(
        (answer.status(), answer.body()),
        (StatusCode::OK, &Bytes::from("http://shop.example/ - - -"))
    );
}

#[tokio::test]
async fn no_more_requests_are_on_a_connection_than_the_endpoint_allows() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now_of, most_of) = (Arc::clone(&now), Arc::clone(&most));
    let backend = Backend::raw(move |stream| {
        // Counted for each connection.
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&most_of));
        let all = Arc::clone(&now_of);
        async move {
            let service = hyper::service::service_fn(move |_request: Request<Incoming>| {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                all.fetch_add(1, Ordering::SeqCst);
                let now = Arc::clone(&now);
                async move {
                    tokio::task::yield_now().await;
                    now.fetch_sub(1, Ordering::SeqCst);
                    Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from_static(b"yes"))))
                }
            });
            let executor = hyper_util::rt::TokioExecutor::new();
            let mut builder = hyper::server::conn::http2::Builder::new(executor);
            builder.max_concurrent_streams(3);
            let _ = builder.serve_connection(hyper_util::rt::TokioIo::new(stream), service).await;
        }
    })
    .await;
    let fixture = fixture(&[&backend]);
    let h2_client = Http2Client::new(&fixture).await;
    for answer in within(join_all((0..90).map(|_| h2_client.get("/")))).await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    assert_eq!(now.load(Ordering::SeqCst), 90, "each came once: none was refused and sent again");
    assert!(most.load(Ordering::SeqCst) <= 3, "{most:?}");
    assert_eq!(fixture.traffic().counts.retries, 0);
}

#[tokio::test]
async fn refused_streams_are_retried_at_another_endpoint_whatever_the_method() {
    const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];
    let busy = by_frames(|mut raw, _| async move {
        while let Some(head) = raw.find(HEADERS).await {
            raw.send(&[frame(RST_STREAM, 0, head.stream, &REFUSED_STREAM)]).await;
        }
    })
    .await;
    let idle = echo().await;
    let fixture = fixture(&[&busy, &idle]);
    let mut client = fixture.client().await;
    for _ in 0..20 {
        assert_eq!(client.post("/", "body").await.unwrap().body(), "body");
    }
    let traffic = fixture.traffic();
    assert!(traffic.counts.retries > 0);
    assert_eq!((traffic.counts.failures, traffic.counts.status[4]), (0, 0), "it has the right to say no");
}

#[tokio::test]
async fn a_goaway_loses_no_request_and_accepted_streams_are_finished() {
    let (go, connections) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (permitted, count) = (Arc::clone(&go), Arc::clone(&connections));
    let backend = by_frames(move |mut raw, nth| {
        let (permitted, count) = (Arc::clone(&permitted), Arc::clone(&count));
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            if nth > 0 {
                while let Some(head) = raw.find(HEADERS).await {
                    answer(&mut raw, head.stream, "second").await;
                }
                return;
            }
            let first = raw.find(HEADERS).await.unwrap().stream;
            for _ in 0..9 {
                raw.find(HEADERS).await.unwrap();
            }
            // The last that it has looked at, and that nothing is wrong.
            raw.send(&[frame(GOAWAY, 0, 0, &[first.to_be_bytes(), [0; 4]].concat())]).await;
            // Nobody waits for the first to be answered.
            permitted.notified().await;
            answer(&mut raw, first, "first").await;
            while raw.next().await.is_some() {}
        }
    })
    .await;
    let fixture = fixture(&[&backend]);
    let h2_client = Http2Client::new(&fixture).await;
    let mut pending: Vec<_> = (0..10).map(|_| Box::pin(h2_client.get("/"))).collect();
    for _ in 0..9 {
        let (answer, _, rest) = within(futures_util::future::select_all(pending)).await;
        // The endpoint has not processed them, so they may be sent again.
        assert_eq!(answer.unwrap().body(), "second");
        pending = rest;
    }
    go.notify_one();
    assert_eq!(within(pending.remove(0)).await.unwrap().body(), "first");
    // One that is sent again while the settings of the second connection are on their way does not wait for them.
    assert!((2..10).contains(&connections.load(Ordering::SeqCst)));
    assert_eq!(fixture.traffic().counts.retries, 9);
}

#[tokio::test]
async fn a_request_that_may_have_been_processed_is_retried_only_if_idempotent() {
    let dying = by_frames(|mut raw, _| async move {
        raw.find(HEADERS).await;
    })
    .await;
    let fixture = fixture(&[&dying]);
    let mut client = fixture.client().await;
    assert_eq!(client.post("/", "order").await.unwrap().status(), StatusCode::BAD_GATEWAY);
    assert_eq!(fixture.traffic().counts.retries, 0);
    let living = named("living").await;
    let mut route = fixture.route.clone();
    route.endpoints.push(EndpointRoute::new(id(1), living.address));
    fixture.table.set_service(&route).unwrap();
    for _ in 0..10 {
        assert_eq!(client.get("/").await.unwrap().body(), "living");
    }
}

#[tokio::test]
async fn a_connection_that_the_endpoint_has_closed_is_not_reused() {
    let backend = by_frames(|mut raw, _| async move {
        let head = raw.find(HEADERS).await.unwrap();
        answer(&mut raw, head.stream, "once").await;
        // Its end is the end of the connection, without a GOAWAY.
    })
    .await;
    let fixture = fixture(&[&backend]);
    let mut client = fixture.client().await;
    for _ in 0..50 {
        assert_eq!(client.send(request("POST", "/", "")).await.unwrap().body(), "once");
    }
}

#[tokio::test]
async fn bodies_stream_both_ways_followed_by_trailers() {
    let backend = echo().await;
    let fixture = fixture(&[&backend]);
    let h2_client = Http2Client::new(&fixture).await;
    let (pieces, body) = piecewise();
    let sending = h2_client.send(crate::http2::request("/", body));
    let (answer, ()) = tokio::join!(sending, async { pieces.send(piece("one")).await.unwrap() });
    let mut answer = answer.unwrap().into_body();
    assert_eq!(within(answer.frame()).await.unwrap().unwrap().into_data().unwrap(), "one");
    for text in ["two", "three"] {
        pieces.send(piece(text)).await.unwrap();
        assert_eq!(within(answer.frame()).await.unwrap().unwrap().into_data().unwrap(), text);
    }
    let trailers = HeaderMap::from_iter([("x-end".parse().unwrap(), "yes".parse().unwrap())]);
    pieces.send(hyper::body::Frame::trailers(trailers.clone())).await.unwrap();
    drop(pieces);
    let rest = within(answer.collect()).await.unwrap();
    assert_eq!(rest.trailers(), Some(&trailers));
    assert_eq!(rest.to_bytes(), "");
}

#[tokio::test]
async fn a_large_body_passes_with_small_windows() {
    let backend = echo().await;
    let fixture = fixture(&[&backend]);
    let h2_client = Http2Client::new(&fixture).await;
    let bytes = Bytes::from((0..20_000_000_u32).map(|n| (n % 251) as u8).collect::<Vec<_>>());
    let body = Full::new(bytes.clone()).map_err(|never| match never {}).boxed();
    let answer = within(h2_client.send(crate::http2::request("/", body))).await.unwrap().into_body();
    assert!(within(answer.collect()).await.unwrap().to_bytes() == bytes);
    // The same for a client of HTTP/1.1.
    let mut client = fixture.client().await;
    let text = "x".repeat(3_000_000);
    assert!(client.post("/", &text).await.unwrap().body() == &text);
    assert_eq!(fixture.traffic().counts.bytes_in, 23_000_000);
}

#[tokio::test]
async fn clients_that_do_not_read_block_no_other_stream_of_the_connection() {
    let long = Bytes::from(vec![b'x'; 1_000_000]);
    let backend = Backend::http2(MANY, move |request: Request<Incoming>| {
        let body = if request.uri().path() == "/long" { long.clone() } else { Bytes::from_static(b"short") };
        async move { Response::new(Full::new(body)) }
    })
    .await;
    let fixture = Fixture::with(&[backend.address], |config, route| {
        config.workers = std::num::NonZeroUsize::MIN;
        route.protocol = Protocol::Http2;
    });
    let mut lazy = Vec::new();
    for _ in 0..40 {
        let h2_client = Http2Client::new(&fixture).await;
        // The answer has begun and is not read: all windows on its way fill up.
        lazy.push((
            within(h2_client.send(crate::http2::request("/long", whole("")))).await.unwrap(),
            h2_client,
        ));
    }
    let h2_client = Http2Client::new(&fixture).await;
    for _ in 0..20 {
        assert_eq!(h2_client.get("/short").await.unwrap().body(), "short");
    }
}

#[tokio::test]
async fn a_request_body_is_sent_on_while_the_response_is_not_read() {
    let received = Arc::new(AtomicUsize::new(0));
    let (counted, readers) = (Arc::clone(&received), tokio_util::task::TaskTracker::new());
    let backend = Backend::http2(MANY, move |request: Request<Incoming>| {
        let (counted, readers) = (Arc::clone(&counted), readers.clone());
        async move {
            readers.spawn(async move {
                let mut body = request.into_body();
                while let Some(Ok(frame)) = body.frame().await {
                    counted.fetch_add(frame.data_ref().map_or(0, Bytes::len), Ordering::SeqCst);
                }
            });
            Response::new(Full::new(Bytes::from(vec![b'x'; 10_000_000])))
        }
    })
    .await;
    let fixture = fixture(&[&backend]);
    let h2_client = Http2Client::new(&fixture).await;
    let (pieces, body) = piecewise();
    let answer = within(h2_client.send(crate::http2::request("/", body))).await.unwrap();
    for n in 1..=100 {
        within(pieces.send(piece("0123456789"))).await.unwrap();
        until(|| received.load(Ordering::SeqCst) == n * 10).await;
    }
    drop(answer);
}

#[tokio::test]
async fn a_reset_request_resets_its_own_stream_only() {
    let (came, resets) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (arrived, was_reset) = (Arc::clone(&came), Arc::clone(&resets));
    let backend = by_frames(move |mut raw, _| {
        let (arrived, was_reset) = (Arc::clone(&arrived), Arc::clone(&was_reset));
        async move {
            let first = raw.find(HEADERS).await.unwrap().stream;
            arrived.notify_one();
            let reset = raw.find(RST_STREAM).await.unwrap();
            assert_eq!((reset.stream, reset.error_code()), (first, 8), "CANCEL");
            was_reset.notify_one();
            let second = raw.find(HEADERS).await.unwrap().stream;
            answer(&mut raw, second, "still here").await;
            while raw.next().await.is_some() {}
        }
    })
    .await;
    let fixture = fixture(&[&backend]);
    let h2_client = Http2Client::new(&fixture).await;
    let (pieces, body) = piecewise();
    let asking = h2_client.send(crate::http2::request("/", body));
    tokio::select! {
        _ = asking => unreachable!("it never answers"),
        () = within(came.notified()) => {}
    }
    within(resets.notified()).await;
    drop(pieces);
    assert_eq!(h2_client.get("/").await.unwrap().body(), "still here");
    until(|| fixture.table.in_flight(SERVICE, id(0)) == 0).await;
}

#[tokio::test]
async fn a_stream_that_times_out_is_reset_and_its_connection_retired() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let backend = by_frames(move |mut raw, nth| {
        let count = Arc::clone(&count);
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            while let Some(head) = raw.find(HEADERS).await {
                // Frozen, for all the other side can tell.
                if nth > 0 {
                    answer(&mut raw, head.stream, "awake").await;
                }
            }
        }
    })
    .await;
    let fixture =
        fixture_with(&[&backend], |route| route.timeouts.response_head = Duration::from_millis(200));
    let h2_client = Http2Client::new(&fixture).await;
    assert_eq!(h2_client.get("/").await.unwrap().status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(h2_client.get("/").await.unwrap().body(), "awake");
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_draining_endpoint_finishes_its_streams_and_its_connection_closes() {
    let (go, ended) = (Arc::new(Semaphore::new(0)), Arc::new(Notify::new()));
    let (permits, signal) = (Arc::clone(&go), Arc::clone(&ended));
    let leaving = by_frames(move |mut raw, _| {
        let (permits, signal) = (Arc::clone(&permits), Arc::clone(&signal));
        async move {
            let stream = raw.find(HEADERS).await.unwrap().stream;
            let _ = permits.acquire().await;
            answer(&mut raw, stream, "slow").await;
            while raw.next().await.is_some() {}
            signal.notify_one();
        }
    })
    .await;
    let staying = named("staying").await;
    let fixture = fixture(&[&leaving]);
    let h2_client = Http2Client::new(&fixture).await;
    let mut pending = vec![Box::pin(h2_client.get("/"))];
    until_async(|| async { fixture.table.in_flight(SERVICE, id(0)) == 1 }, &mut pending).await;
    let mut route = fixture.route.clone();
    route.endpoints.push(EndpointRoute::new(id(1), staying.address));
    fixture.table.set_service(&route).unwrap();
    fixture.table.set_endpoint_state(SERVICE, id(0), EndpointState::Draining).unwrap();
    for _ in 0..20 {
        assert_eq!(h2_client.get("/").await.unwrap().body(), "staying");
    }
    go.add_permits(1);
    let (answer, ()) =
        within(async { tokio::join!(pending.remove(0), fixture.table.drained(SERVICE, id(0))) }).await;
    assert_eq!(answer.unwrap().body(), "slow");
    within(ended.notified()).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_with_goaway() {
    let ended = Arc::new(Notify::new());
    let signal = Arc::clone(&ended);
    let backend = by_frames(move |mut raw, _| {
        let signal = Arc::clone(&signal);
        async move {
            let head = raw.find(HEADERS).await.unwrap();
            answer(&mut raw, head.stream, "yes").await;
            let goodbye = raw.find(GOAWAY).await.unwrap();
            assert_eq!(goodbye.error_code(), 0);
            let _ = raw.0.shutdown().await;
            signal.notify_one();
        }
    })
    .await;
    let fixture = fixture_with(&[&backend], |route| route.timeouts.upstream_idle = Duration::from_millis(50));
    assert_eq!(fixture.client().await.get("/").await.unwrap().body(), "yes");
    within(ended.notified()).await;
}
