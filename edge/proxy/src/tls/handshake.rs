//! The beginning of a TLS connection.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;

use rustls::server::Acceptor;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::Terminator;
use crate::worker::Worker;

/// Shakes hands with a client; the caller limits the time that it may take.
///
/// The costly part, a signature of up to a millisecond for RSA, is done in turns: a worker does only so many before it looks at its other tasks,
/// so that a flood of new clients delays the others by no more than a few milliseconds.
pub(crate) async fn accept(
    worker: &Worker,
    terminator: &Terminator,
    stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let challenge = worker.shared.challenges.config(&hello.client_hello());
    let turn = worker.handshake_permits.acquire().await.map_err(io::Error::other)?;
    // Only now, so that a handshake that had to wait for its turn does not use outdated certificates.
    let config = challenge.unwrap_or_else(|| terminator.config());
    let mut rest = pin!(hello.into_stream(config));
    let first = poll_fn(|cx| Poll::Ready(rest.as_mut().poll(cx))).await;
    tokio::task::yield_now().await;
    drop(turn);
    match first {
        Poll::Ready(ended) => ended,
        Poll::Pending => rest.await,
    }
}
