//! The health check of gRPC, asked of the server that others use.

use model::resource::Check;
use probe::{Failure, ask};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::{LONG, SHORT, check, replica, server};

const CART: &str = "shop.v1.Cart";

/// A gRPC server with nothing but its health.
async fn health() -> (u16, HealthReporter) {
    let (reporter, service) = tonic_health::server::health_reporter();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(
        Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)),
    );
    (port, reporter)
}

fn of_cart() -> Check {
    check(r#"{"grpc": {"service": "shop.v1.Cart"}}"#)
}

#[tokio::test]
async fn who_serves_is_a_yes_and_who_does_not_is_a_no_that_says_so() {
    let (port, reporter) = health().await;
    let replica = replica(port);
    assert_eq!(ask(&replica, &check(r#"{"grpc": {}}"#), LONG).await, Ok(()));
    for (status, name) in [
        (ServingStatus::Serving, None),
        (ServingStatus::NotServing, Some("NOT_SERVING")),
        (ServingStatus::Unknown, Some("UNKNOWN")),
        (ServingStatus::Serving, None),
    ] {
        reporter.set_service_status(CART, status).await;
        let no = name.map(|status| Failure::NotServing { service: CART.to_owned(), status });
        assert_eq!(ask(&replica, &of_cart(), LONG).await, no.map_or(Ok(()), Err));
    }
}

#[tokio::test]
async fn a_service_that_the_server_does_not_know_is_a_no_with_its_reason() {
    let (port, _reporter) = health().await;
    let failure = ask(&replica(port), &of_cart(), LONG).await.unwrap_err();
    let text = failure.to_string();
    assert!(text.contains("gRPC status 5 (NOT_FOUND"), "{text}");
}

#[tokio::test]
async fn a_server_without_the_health_service_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let nothing = tonic::service::Routes::default();
    tokio::spawn(Server::builder().add_routes(nothing).serve_with_incoming(TcpListenerStream::new(listener)));
    let failure = ask(&replica(port), &of_cart(), LONG).await.unwrap_err();
    let text = failure.to_string();
    assert!(text.contains("gRPC status 12 (UNIMPLEMENTED"), "{text}");
}

#[tokio::test]
async fn what_is_no_grpc_is_a_no_within_its_time() {
    let http1 = server(std::sync::Arc::new(200.into())).await;
    let failure = ask(&replica(http1), &of_cart(), LONG).await.unwrap_err();
    assert!(matches!(failure, Failure::Call { .. }), "{failure}");

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    assert_eq!(ask(&replica(port), &of_cart(), SHORT).await, Err(Failure::TimedOut(SHORT)));

    let port = ports::free();
    let answer = ask(&replica(port), &of_cart(), LONG).await;
    assert!(matches!(answer, Err(Failure::Refused { port: named, .. }) if named == port), "{answer:?}");
}

/// An HTTP/2 server that answers each call with `status`, and `message` as the body.
async fn answers(trailers: Option<&'static str>, message: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let mut body = respond.send_response(hyper::Response::new(()), false).unwrap();
            body.send_data(bytes::Bytes::from_static(message), trailers.is_none()).unwrap();
            if let Some(code) = trailers {
                let headers = [("grpc-status", code)].map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()));
                body.send_trailers(headers.into_iter().collect()).unwrap();
            }
        }
    });
    port
}

#[tokio::test]
async fn answers_that_lie_about_themselves_are_a_no() {
    const SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];
    static ENDLESS: [u8; 8000] = [0; 8000];
    let cases: [(Option<&str>, &[u8], &str); 8] = [
        (None, SERVING, "no grpc-status"),
        (Some("14"), SERVING, "gRPC status 14"),
        (Some("0"), &[0, 0, 0], "cut off"),
        (Some("0"), &[1, 0, 0, 0, 2, 8, 1], "compressed"),
        (Some("0"), &[0, 0, 0, 0, 9, 8, 1], "length"),
        (Some("0"), &[0, 255, 255, 255, 255, 8, 1], "length"),
        (Some("0"), &[0, 0, 0, 0, 2, 8, 255], "varint"),
        (Some("0"), &ENDLESS, "bytes"),
    ];
    for (trailers, message, expected) in cases {
        let port = answers(trailers, message).await;
        let text = ask(&replica(port), &of_cart(), LONG).await.unwrap_err().to_string();
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let port = answers(Some("0"), SERVING).await;
    assert_eq!(ask(&replica(port), &of_cart(), LONG).await, Ok(()));
    // Nothing said is the status that is 0.
    let port = answers(Some("0"), &[0, 0, 0, 0, 0]).await;
    let unknown = Failure::NotServing { service: CART.to_owned(), status: "UNKNOWN" };
    assert_eq!(ask(&replica(port), &of_cart(), LONG).await, Err(unknown));
}

#[tokio::test]
async fn a_replica_that_accepts_and_hangs_up_is_a_no() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.shutdown().await.unwrap();
    });
    let failure = ask(&replica(port), &of_cart(), LONG).await.unwrap_err();
    assert!(matches!(failure, Failure::Call { .. }), "{failure}");
}
