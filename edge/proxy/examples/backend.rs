//! A small HTTP server to put behind the proxy, for its tests and measurements.
//!
//! `backend [ADDRESS] [BYTES]` listens, prints where on one line, and answers every request with BYTES bytes; a request
//! with a body gets its body back, and one for `/empty` nothing at all. It speaks HTTP/1.1 and HTTP/2, as its client does, and runs until it is killed.

use std::convert::Infallible;
use std::io::Write;

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:0".into());
    let bytes = args.next().and_then(|n| n.parse().ok()).unwrap_or(1024);
    let page = Bytes::from(vec![b'x'; bytes]);
    let listener = TcpListener::bind(address).await?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    let mut connections = JoinSet::new();
    loop {
        let (stream, _peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let page = page.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let page = page.clone();
            async move { Ok::<_, Infallible>(answer(request, page).await) }
        });
        connections.spawn(async move {
            // A client that goes away is no event here.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

type Answer = Response<Either<http_body_util::combinators::BoxBody<Bytes, hyper::Error>, Full<Bytes>>>;

async fn answer(request: Request<Incoming>, page: Bytes) -> Answer {
    if request.uri().path() == "/empty" {
        // Fails only if the client has closed the connection.
        let _ = request.into_body().collect().await;
        Response::new(Either::Right(Full::default()))
    } else if request.body().is_end_stream() {
        Response::new(Either::Right(Full::new(page)))
    } else {
        Response::new(Either::Left(request.into_body().boxed()))
    }
}
