//! The program of replicas in these tests: this test binary itself, as a small HTTP server that speaks HTTP/1.1 and HTTP/2.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::any;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

/// The variable that makes the test binary a replica, with its port.
pub(crate) const PORT: &str = "HOMEOSTAT_TEST_REPLICA_PORT";

/// The variable with an additional UDP port.
pub(crate) const UDP_PORT: &str = "HOMEOSTAT_TEST_REPLICA_UDP_PORT";

/// The variable with a second HTTP port.
pub(crate) const ADMIN_PORT: &str = "HOMEOSTAT_TEST_REPLICA_ADMIN_PORT";

/// The arguments with which the test binary runs only [`serves_on_the_address_of_its_environment`].
pub(crate) const ARGUMENTS: [&str; 3] =
    ["--exact", "replica::serves_on_the_address_of_its_environment", "--nocapture"];

/// Serves until it is stopped. Requests and datagrams are answered with the process id, except:
/// - `/fail`: 500
/// - `/metrics`: 20 jobs, and as many sessions as the process id
/// - `/uneven`: the response takes 80 ms from replica 1
/// - `/version`: the version of HTTP
/// - `/whose`: the value of `X-Forwarded-For`
/// - `/hold`: no response
/// - any path on the second port: `admin of` the process id
///
/// In a normal run of the tests, without the variable [`PORT`], it returns at once.
#[test]
fn serves_on_the_address_of_its_environment() {
    #[expect(clippy::disallowed_methods, reason = "a replica gets its port in its environment")]
    let Ok(port) = std::env::var(PORT) else { return };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().expect("a port")));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await.expect("a free port");
        println!("serving on {address}");
        let pid = std::process::id().to_string();
        let metrics =
            format!("# TYPE jobs_running gauge\njobs_running 20\n# TYPE sessions gauge\nsessions {pid}\n");
        let router = Router::new()
            .route("/fail", any(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
            .route("/uneven", any(uneven))
            .route(
                "/version",
                any(|request: Request<axum::body::Body>| async move { format!("{:?}", request.version()) }),
            )
            .route(
                "/whose",
                any(|headers: HeaderMap| async move { headers["x-forwarded-for"].as_bytes().to_vec() }),
            )
            .route(
                "/metrics",
                any(move || {
                    let metrics = metrics.clone();
                    async move { metrics }
                }),
            )
            .route("/hold", any(std::future::pending::<StatusCode>))
            .fallback(move || async move { pid });
        let mut connections = JoinSet::new();
        #[expect(clippy::disallowed_methods, reason = "a replica gets its port in its environment")]
        if let Ok(port) = std::env::var(UDP_PORT) {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().expect("a port")));
            let socket = UdpSocket::bind(address).await.expect("a free port");
            connections.spawn(async move {
                while let Ok((_, client)) = socket.recv_from(&mut [0; 1024]).await {
                    let _ = socket.send_to(std::process::id().to_string().as_bytes(), client).await;
                }
            });
        }
        #[expect(clippy::disallowed_methods, reason = "a replica gets its port in its environment")]
        if let Ok(port) = std::env::var(ADMIN_PORT) {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().expect("a port")));
            let listener = TcpListener::bind(address).await.expect("a free port");
            let pid = std::process::id();
            let router = Router::new().fallback(move || async move { format!("admin of {pid}") });
            connections.spawn(async move {
                axum::serve(listener, router).await.expect("it serves until the process is stopped");
            });
        }
        loop {
            let (stream, _) = listener.accept().await.expect("it serves until it is stopped");
            let service = TowerToHyperService::new(router.clone());
            connections.spawn(async move {
                // A failed connection does not affect the others.
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
}

async fn uneven() -> &'static str {
    #[expect(clippy::disallowed_methods, reason = "a replica gets its name in its environment")]
    let is_slow = std::env::var("HOMEOSTAT_REPLICA").is_ok_and(|name| name.ends_with("-1"));
    // tidy: slow on purpose
    tokio::time::sleep(Duration::from_millis(if is_slow { 80 } else { 0 })).await;
    "done"
}
