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
use crate::route::Protocol;
use crate::worker::Worker;

/// Does the TLS handshake with a client for which this `protocol` is relayed; the caller limits the time that it may take.
///
/// The expensive part, a signature of up to a millisecond for RSA, needs a permit: a worker does a limited number before it polls its other
/// tasks, so that a flood of new clients delays the others by no more than a few milliseconds.
pub(crate) async fn accept(
    worker: &Worker,
    terminator: &Terminator,
    protocol: Protocol,
    stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let challenge = worker.shared.challenges.config(&hello.client_hello());
    let permit = worker.handshake_permits.acquire().await.map_err(io::Error::other)?;
    // Only now, so that a handshake that had to wait for a permit does not use outdated certificates.
    let config = challenge.unwrap_or_else(|| terminator.config(protocol));
    let mut rest = pin!(hello.into_stream(config));
    let first = poll_fn(|cx| Poll::Ready(rest.as_mut().poll(cx))).await;
    tokio::task::yield_now().await;
    drop(permit);
    match first {
        Poll::Ready(ended) => ended,
        Poll::Pending => rest.await,
    }
}
