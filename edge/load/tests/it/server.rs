//! Servers on free ports that answer as a test wants them to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// What a request was, as the server saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) host: String,
    pub(crate) body: Bytes,
}

/// A server that is gone, with its connections, when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

impl Server {
    /// Serves each connection by `serve`.
    async fn of_connections<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                serving.spawn(serve(stream));
            }
        });
        Self { address, connections, _accepting: accepting }
    }

    /// Answers each request by `answer`, over kept connections.
    pub(crate) async fn of_requests<F>(answer: impl Fn(Seen) -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        Self::of_connections(move |stream| {
            let answer = answer.clone();
            async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = answer.clone();
                    async move { Ok::<_, Infallible>(answer(see(request).await).await) }
                });
                // A client that goes away in the middle is part of the tests.
                drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
            }
        })
        .await
    }

    /// Answers each request at once, with `status`.
    pub(crate) async fn with_status(status: StatusCode) -> Self {
        Self::of_requests(move |_| async move { respond(status) }).await
    }

    /// Reads a request, answers `bytes` to any, and closes the connection.
    pub(crate) async fn of_bytes(bytes: &'static [u8]) -> Self {
        Self::of_connections(move |mut stream| async move {
            // A socket closed with bytes unread resets the connection and may take the answer with it.
            drop(stream.read(&mut [0; 4096]).await);
            drop(stream.write_all(bytes).await);
        })
        .await
    }

    /// Answers nothing until `gate` has permits: one for each answer.
    pub(crate) async fn behind(gate: Arc<Semaphore>) -> Self {
        Self::of_requests(move |_| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.expect("the gate is never closed").forget();
                respond(StatusCode::OK)
            }
        })
        .await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

pub(crate) fn respond(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"hello")));
    *response.status_mut() = status;
    response
}

async fn see(request: Request<Incoming>) -> Seen {
    let (head, body) = request.into_parts();
    let host = head.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    Seen { method: head.method.to_string(), path: head.uri.to_string(), host, body }
}
