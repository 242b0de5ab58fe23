//! Upgrades become tunnels.

use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use proxy::EndpointState;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::kit::*;

/// Switches to a protocol that sends every byte back, and says hello first.
pub(crate) async fn echo() -> Backend {
    let tunnels = std::sync::Arc::new(std::sync::Mutex::new(JoinSet::new()));
    Backend::http(move |mut request: Request<hyper::body::Incoming>| {
        let tunnels = std::sync::Arc::clone(&tunnels);
        async move {
            let mut response = empty(101);
            let protocol = request.headers()["upgrade"].clone();
            response.headers_mut().insert("upgrade", protocol);
            response.headers_mut().insert("connection", "upgrade".parse().unwrap());
            let upgrade = hyper::upgrade::on(&mut request);
            tunnels.lock().unwrap().spawn(async move {
                let mut tunnel = TokioIo::new(upgrade.await.unwrap());
                tunnel.write_all(b"hello").await.unwrap();
                let (mut read, mut write) = tokio::io::split(tunnel);
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
            response
        }
    })
    .await
}

pub(crate) const UPGRADE: &str =
    "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

#[tokio::test]
async fn a_websocket_is_tunnelled() {
    let backend = echo().await;
    let fixture = Fixture::new(&[backend.address]);
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    // The first bytes of the new protocol come right behind the request.
    stream.write_all(format!("{UPGRADE}early ").as_bytes()).await.unwrap();
    let head = within(read_head(&mut stream)).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("upgrade: websocket"), "{head}");
    stream.write_all(b"and late").await.unwrap();
    assert_eq!(fixture.table.in_flight(SERVICE, id(0)), 1, "draining waits for tunnels");
    stream.shutdown().await.unwrap();
    let mut received = head.split_once("\r\n\r\n").unwrap().1.as_bytes().to_vec();
    within(stream.read_to_end(&mut received)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&received), "helloearly and late");
    fixture.table.set_endpoint_state(SERVICE, id(0), EndpointState::Draining).unwrap();
    within(fixture.table.drained(SERVICE, id(0))).await;
    assert_eq!(fixture.traffic().counts.status[0], 1);
}

/// Its head is longer than what is read at first, and all that comes is more than hyper takes at once.
#[tokio::test]
async fn early_client_data_after_a_long_head_reaches_the_tunnel() {
    let backend = echo().await;
    let fixture = Fixture::new(&[backend.address]);
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    let head = UPGRADE.replace("\r\n\r\n", &format!("\r\nCookie: a={}\r\n\r\n", "b".repeat(4000)));
    let early: String = (1000..3000).map(|number| number.to_string()).collect();
    stream.write_all(format!("{head}{early}").as_bytes()).await.unwrap();
    let head = within(read_head(&mut stream)).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream.shutdown().await.unwrap();
    let mut received = head.split_once("\r\n\r\n").unwrap().1.as_bytes().to_vec();
    within(stream.read_to_end(&mut received)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&received), format!("hello{early}"));
}

#[tokio::test]
async fn an_upgrade_to_http2_is_answered_in_http1() {
    let backend = Backend::http(|request: Request<_>| async move {
        assert!(!request.headers().contains_key("upgrade"));
        assert!(!request.headers().contains_key("http2-settings"));
        empty(200)
    })
    .await;
    let fixture = Fixture::new(&[backend.address]);
    let h2c = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
    assert!(send_raw(fixture.address, h2c).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn an_unsolicited_protocol_switch_is_a_bad_gateway() {
    let backend = Backend::raw(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
            .await;
        std::future::pending::<()>().await;
    })
    .await;
    let fixture = Fixture::new(&[backend.address]);
    assert_eq!(fixture.client().await.get("/").await.unwrap().status(), 502);
}

#[tokio::test]
async fn a_refused_upgrade_leaves_an_http_connection() {
    let backend = Backend::http(|_request: Request<_>| async {
        Response::new(http_body_util::Full::new(bytes::Bytes::from("no")))
    })
    .await;
    let fixture = Fixture::new(&[backend.address]);
    let received =
        send_raw(fixture.address, format!("{UPGRADE}{}", UPGRADE.replace("Upgrade\r", "Upgrade, close\r")))
            .await;
    assert_eq!(received.matches("HTTP/1.1 200 ").count(), 2, "{received:?}");
}

/// Switches protocols, says goodbye, and ends its side; then reads until the other side has ended, and says what came.
async fn leaving(received_texts: tokio::sync::mpsc::UnboundedSender<String>) -> Backend {
    Backend::raw(move |mut stream| {
        let received_texts = received_texts.clone();
        async move {
            read_head(&mut stream).await;
            let head =
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
            let _ = stream.write_all(format!("{head}goodbye").as_bytes()).await;
            let _ = stream.shutdown().await;
            let mut received = Vec::new();
            let _ = stream.read_to_end(&mut received).await;
            let _ = received_texts.send(String::from_utf8_lossy(&received).into_owned());
        }
    })
    .await
}

#[tokio::test]
async fn a_close_of_the_endpoint_reaches_the_client_which_may_still_send() {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let backend = leaving(sender).await;
    let fixture = Fixture::new(&[backend.address]);
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    stream.write_all(UPGRADE.as_bytes()).await.unwrap();
    let began = tokio::time::Instant::now();
    let mut received = Vec::new();
    within(stream.read_to_end(&mut received)).await.unwrap();
    assert!(String::from_utf8_lossy(&received).ends_with("goodbye"));
    assert!(began.elapsed() < std::time::Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(fixture.table.in_flight(SERVICE, id(0)), 1, "the client may have something to say");
    stream.write_all(b"you too").await.unwrap();
    drop(stream);
    assert_eq!(within(receiver.recv()).await.unwrap(), "you too");
    until(|| fixture.table.in_flight(SERVICE, id(0)) == 0).await;
}

#[tokio::test]
async fn a_client_that_ignores_the_close_of_its_endpoint_does_not_hold_the_tunnel() {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let backend = leaving(sender).await;
    // Five minutes without a byte are allowed.
    let fixture = Fixture::new(&[backend.address]);
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    stream.write_all(UPGRADE.as_bytes()).await.unwrap();
    let began = tokio::time::Instant::now();
    until(|| fixture.traffic().endpoints[0].counts.requests == 1).await;
    assert_eq!(within(receiver.recv()).await.unwrap(), "");
    until(|| fixture.table.in_flight(SERVICE, id(0)) == 0).await;
    assert!(
        began.elapsed() > std::time::Duration::from_secs(3),
        "it was waited for the client: {:?}",
        began.elapsed()
    );
}
