//! gRPC health checks of a server that uses a common implementation.

use model::resource::Check;
use probe::{Failure, run_check};
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
async fn serving_is_a_success_and_not_serving_a_failure_that_names_it() {
    let (port, reporter) = health().await;
    let replica = replica(port);
    assert_eq!(run_check(&replica, &check(r#"{"grpc": {}}"#), LONG).await, Ok(()));
    for (status, name) in [
        (ServingStatus::Serving, None),
        (ServingStatus::NotServing, Some("NOT_SERVING")),
        (ServingStatus::Unknown, Some("UNKNOWN")),
        (ServingStatus::Serving, None),
    ] {
        reporter.set_service_status(CART, status).await;
        let no = name.map(|status| Failure::NotServing { service: CART.to_owned(), status });
        assert_eq!(run_check(&replica, &of_cart(), LONG).await, no.map_or(Ok(()), Err));
    }
}

#[tokio::test]
async fn an_unknown_service_is_a_failure_with_a_reason() {
    let (port, _reporter) = health().await;
    let failure = run_check(&replica(port), &of_cart(), LONG).await.unwrap_err();
    let text = failure.to_string();
    assert!(text.contains("gRPC status 5 (NOT_FOUND"), "{text}");
}

#[tokio::test]
async fn a_server_without_the_health_service_is_named_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let nothing = tonic::service::Routes::default();
    tokio::spawn(Server::builder().add_routes(nothing).serve_with_incoming(TcpListenerStream::new(listener)));
    let failure = run_check(&replica(port), &of_cart(), LONG).await.unwrap_err();
    let text = failure.to_string();
    assert!(text.contains("gRPC status 12 (UNIMPLEMENTED"), "{text}");
}

#[tokio::test]
async fn another_protocol_fails_within_the_timeout() {
    let http1 = server(std::sync::Arc::new(200.into())).await;
    let failure = run_check(&replica(http1), &of_cart(), LONG).await.unwrap_err();
    assert!(matches!(failure, Failure::Call { .. }), "{failure}");

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    assert_eq!(run_check(&replica(port), &of_cart(), SHORT).await, Err(Failure::TimedOut(SHORT)));

    let port = ports::free();
    let answer = run_check(&replica(port), &of_cart(), LONG).await;
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
async fn malformed_answers_are_failures() {
    const SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];
    static ENDLESS: [u8; 8000] = [0; 8000];
    let cases: [(Option<&str>, &[u8], &str); 8] = [
        (None, SERVING, "no grpc-status"),
        (Some("14"), SERVING, "gRPC status 14"),
        (Some("0"), &[0, 0, 0], "truncated"),
        (Some("0"), &[1, 0, 0, 0, 2, 8, 1], "compressed"),
        (Some("0"), &[0, 0, 0, 0, 9, 8, 1], "length"),
        (Some("0"), &[0, 255, 255, 255, 255, 8, 1], "length"),
        (Some("0"), &[0, 0, 0, 0, 2, 8, 255], "varint"),
        (Some("0"), &ENDLESS, "bytes"),
    ];
    for (trailers, message, expected) in cases {
        let port = answers(trailers, message).await;
        let text = run_check(&replica(port), &of_cart(), LONG).await.unwrap_err().to_string();
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let port = answers(Some("0"), SERVING).await;
    assert_eq!(run_check(&replica(port), &of_cart(), LONG).await, Ok(()));
    // An empty message has the status 0.
    let port = answers(Some("0"), &[0, 0, 0, 0, 0]).await;
    let unknown = Failure::NotServing { service: CART.to_owned(), status: "UNKNOWN" };
    assert_eq!(run_check(&replica(port), &of_cart(), LONG).await, Err(unknown));
}

#[tokio::test]
async fn a_connection_that_is_closed_at_once_is_a_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.shutdown().await.unwrap();
    });
    let failure = run_check(&replica(port), &of_cart(), LONG).await.unwrap_err();
    assert!(matches!(failure, Failure::Call { .. }), "{failure}");
}
