//! What the tests share: scripted endpoints, and clients that send exactly what they are given.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proxy::{EndpointId, EndpointRoute, Proxy, ProxyConfig, ServiceRoute, ServiceTraffic, Table};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Longer than any wait of a test should last, so that tests fail instead of hanging.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) const SERVICE: &str = "shop";

pub(crate) fn id(ordinal: u32) -> EndpointId {
    EndpointId { ordinal, incarnation: 1 }
}

pub(crate) fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A proxy with one service.
pub(crate) struct Fixture {
    pub(crate) proxy: Proxy,
    pub(crate) table: Table,
    pub(crate) route: ServiceRoute,
    pub(crate) address: SocketAddr,
}

impl Fixture {
    pub(crate) fn new(endpoints: &[SocketAddr]) -> Self {
        Self::with(endpoints, |_config, _route| {})
    }

    pub(crate) fn with(
        endpoints: &[SocketAddr],
        change: impl FnOnce(&mut ProxyConfig, &mut ServiceRoute),
    ) -> Self {
        let mut config =
            ProxyConfig { workers: NonZeroUsize::new(2).unwrap(), seed: 7, ..ProxyConfig::default() };
        let mut route = ServiceRoute::new(SERVICE, any());
        route.endpoints = (0..).zip(endpoints).map(|(i, &a)| EndpointRoute::new(id(i), a)).collect();
        change(&mut config, &mut route);
        let proxy = Proxy::start(&config).unwrap();
        let table = proxy.table();
        let address = table.set_service(&route).unwrap().unwrap();
        Self { proxy, table, route, address }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    pub(crate) fn traffic(&self) -> ServiceTraffic {
        self.table.traffic().remove(0)
    }
}

/// A keep-alive connection of a client.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    _connection: JoinSet<()>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap()).await
    }

    /// Over an existing stream.
    pub(crate) async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _ = connection.await;
        });
        Self { sender, _connection: tasks }
    }

    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Bytes>> {
        within(async {
            self.sender.ready().await?;
            let (parts, body) = self.sender.send_request(request).await?.into_parts();
            Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
        })
        .await
    }

    pub(crate) async fn get(&mut self, path: &str) -> hyper::Result<Response<Bytes>> {
        self.send(request("GET", path, "")).await
    }

    pub(crate) async fn post(&mut self, path: &str, body: &str) -> hyper::Result<Response<Bytes>> {
        self.send(request("POST", path, body)).await
    }
}

pub(crate) fn request(method: &str, path: &str, body: &str) -> Request<Full<Bytes>> {
    let body = Full::new(Bytes::from(body.to_owned()));
    Request::builder().method(method).uri(path).header("host", "shop.example").body(body).unwrap()
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it took too long")
}

/// Waits until a condition holds, and lets other tasks run in between.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    within(async {
        while !holds() {
            // tidy: pause between looks
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// Sends bytes as they are and reads until the other side closes.
pub(crate) async fn send_raw(address: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The proxy may have closed after the first wrong byte.
    let _ = stream.write_all(bytes.as_ref()).await;
    let mut received = Vec::new();
    let _ = within(stream.read_to_end(&mut received)).await;
    String::from_utf8_lossy(&received).into_owned()
}

/// An endpoint in this process; it closes everything when dropped.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    tasks: JoinSet<()>,
}

impl Backend {
    /// Answers with what `answer` makes of each request.
    pub(crate) async fn http<A, F, B>(answer: A) -> Self
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + 'static,
    {
        let serve = move |stream: TcpStream| {
            let answer = answer.clone();
            async move {
                let service = service_fn(move |request| {
                    let answered = answer(request);
                    async move { Ok::<_, Infallible>(answered.await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades();
                let _ = connection.await;
            }
        };
        Self::raw(serve).await
    }

    /// As [`Self::http`], over HTTP/2, with at most this many concurrent `streams` on a connection.
    pub(crate) async fn http2<A, F, B>(streams: u32, answer: A) -> Self
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + 'static,
    {
        let serve = move |stream: TcpStream| {
            let answer = answer.clone();
            async move {
                let service = service_fn(move |request| {
                    let answered = answer(request);
                    async move { Ok::<_, Infallible>(answered.await) }
                });
                let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .max_concurrent_streams(streams)
                    .serve_connection(TokioIo::new(stream), service);
                let _ = connection.await;
            }
        };
        Self::raw(serve).await
    }

    /// Serves each connection with `serve`.
    pub(crate) async fn raw<S, F>(serve: S) -> Self
    where
        S: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(any()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _peer) = listener.accept().await.unwrap();
                connections.spawn(serve(stream));
            }
        });
        Self { address, tasks }
    }

    /// Answers every request with its own name.
    pub(crate) async fn named(name: &'static str) -> Self {
        Self::http(
            move |_request| async move { Response::new(Full::new(Bytes::from_static(name.as_bytes()))) },
        )
        .await
    }

    /// Closes the listener and all connections at once, and returns the address that is free now.
    pub(crate) async fn stop(mut self) -> SocketAddr {
        self.tasks.shutdown().await;
        self.address
    }
}

pub(crate) fn empty(status: u16) -> Response<Empty<Bytes>> {
    Response::builder().status(status).body(Empty::new()).unwrap()
}

/// Reads the head of a request, and as much of the body as was received with it, from a raw connection.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        match stream.read(&mut piece).await {
            Ok(n) if n > 0 => head.extend_from_slice(&piece[..n]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// An address without a listener.
pub(crate) fn unused_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], ports::free()))
}
