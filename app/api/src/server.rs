//! Accepts connections, within limits.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::failure::{Code, Failure};
use crate::request::BODY_BYTES_MAX;
use crate::state::State;
use crate::{limits, origin, routes, v1};

/// Connections beyond the limit that are refused at the same time; further ones wait to be accepted.
const REFUSALS_MAX: usize = 8;

/// How long a refused client may take to read the response.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a client may leave a response unread once all socket buffers are full. Without this limit, clients that never read would
/// occupy all connections.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a client may take to send the headers of a request, and keep a connection idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a response may take to begin: a replay of a whole journal segment takes some ten seconds.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long connections may take to finish at shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause after a connection could not be accepted, for example for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The shortest time between two log lines about that.
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Serves requests until `state` is stopped, then waits for requests in progress to finish.
pub async fn serve(listener: TcpListener, state: State) {
    let mut tasks = JoinSet::new();
    let (router, connections_max, stop) = (router(&state), state.connections_max(), state.stop().clone());
    tasks.spawn(count_events(state));
    serve_router(listener, router, connections_max, stop, tasks).await;
}

/// Answers all requests with the reason `why` nothing else can be said, except `/healthz`, until `stop` is cancelled.
pub async fn serve_unavailable(listener: TcpListener, why: &str, stop: CancellationToken) {
    let router = routes::unavailable(why);
    serve_router(listener, router, limits::connections_max(os::open_files()), stop, JoinSet::new()).await;
}

/// Serves requests within limits, beside other `tasks`, until `stop` is cancelled.
async fn serve_router(
    listener: TcpListener,
    router: axum::Router,
    connections_max: usize,
    stop: CancellationToken,
    mut tasks: JoinSet<()>,
) {
    let permits = Arc::new(Semaphore::new(connections_max));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let refusal: Arc<str> = refusal(connections_max).into();
    let graceful = GracefulShutdown::new();
    let mut accept_failures = AcceptFailures::default();
    while !stop.is_cancelled() {
        let refusal_permit = Arc::clone(&refusals).acquire_owned();
        // All are cancel safe: a connection that was not taken stays in the listener's queue.
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = tasks.join_next() => drop(ended),
            accepted = async { (refusal_permit.await, listener.accept().await) } => match accepted {
                (Ok(refusal_permit), Ok((socket, _))) => match Arc::clone(&permits).try_acquire_owned() {
                    Ok(permit) => {
                        let connection = graceful.watch(connection(socket, router.clone()));
                        tasks.spawn(async move {
                            if let Err(error) = connection.await {
                                tracing::debug!(error = %error, "connection_broken");
                            }
                            drop(permit);
                        });
                    }
                    Err(_) => {
                        let refusal = Arc::clone(&refusal);
                        tasks.spawn(async move {
                            let refusing = refuse(socket, &refusal);
                            drop(tokio::time::timeout(REFUSAL_TIMEOUT, refusing).await);
                            drop(refusal_permit);
                        });
                    }
                },
                (_, Err(error)) => {
                    if let Some(failures) = accept_failures.count(os::since_boot()) {
                        tracing::warn!(error = %error, failures, "connection_not_accepted");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                (Err(closed), Ok(_)) => unreachable!("nobody closes the semaphore: {closed}"),
            },
        }
    }
    drop(listener);
    // Connections that have not finished by then end with their task.
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::debug!("connections_cut");
    }
}

/// Failures to accept a connection, of which few are logged: a shortage of descriptors lasts, and is met ten times a second.
#[derive(Debug, Default)]
struct AcceptFailures {
    /// Since the last one that was logged.
    unlogged: u64,
    next_log: Duration,
}

impl AcceptFailures {
    /// Counts a failure; returns how many there were since the last log line, if one is due `now`: at first, and then once a minute.
    fn count(&mut self, now: Duration) -> Option<u64> {
        self.unlogged += 1;
        if now < self.next_log {
            return None;
        }
        self.next_log = now + ACCEPT_LOG_INTERVAL;
        Some(std::mem::take(&mut self.unlogged))
    }
}

/// The response to a client beyond the limit.
fn refusal(connections_max: usize) -> String {
    let error = format!(
        "could not accept the request: {connections_max} connections to the API are open already; try again in a moment"
    );
    let body = v1::Failure { error, code: Code::TooMany.as_str().into(), problems: Vec::new() };
    let body = serde_json::to_string(&body).expect("a failure consists of strings");
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         retry-after: 1\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Responds before reading the request, and then reads it: closing a socket with unread bytes would reset the connection and discard
/// the response.
async fn refuse(mut socket: TcpStream, refusal: &str) -> io::Result<()> {
    socket.write_all(refusal.as_bytes()).await?;
    socket.shutdown().await?;
    tokio::io::copy(&mut socket, &mut tokio::io::sink()).await.map(drop)
}

fn router(state: &State) -> axum::Router {
    routes::router()
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(with_timeout))
        .layer(middleware::from_fn_with_state(state.listen(), origin::check_request))
        .with_state(state.clone())
}

fn connection(
    socket: TcpStream,
    router: axum::Router,
) -> http1::Connection<TokioIo<TcpStream>, TowerToHyperService<axum::Router>> {
    let timeout = u32::try_from(UNREAD_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = set_tcp_user_timeout(&socket, timeout) {
        tracing::debug!(%error, "unread_timeout_not_set");
    }
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(router))
}

async fn with_timeout(request: Request, next: Next) -> Response {
    match tokio::time::timeout(RESPONSE_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let sentence = format!(
                "could not complete the request within {} s; it may still take effect: check with `homeostat get`",
                RESPONSE_TIMEOUT.as_secs()
            );
            Failure::new(StatusCode::GATEWAY_TIMEOUT, Code::TooSlow, sentence).into_response()
        }
    }
}

/// Counts events by kind for `/metrics`, until the loop ends.
async fn count_events(state: State) {
    let mut events = state.handle.events().subscribe();
    loop {
        match events.recv().await {
            Ok(event) => state.count_event(&event.kind),
            Err(RecvError::Lagged(missed)) => tracing::debug!(missed, "events_not_counted"),
            Err(RecvError::Closed) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_to_accept_are_logged_at_once_and_then_counted_for_a_minute() {
        let mut failures = AcceptFailures::default();
        let logged = (0..1201).filter_map(|nth| failures.count(Duration::from_secs(9) + ACCEPT_PAUSE * nth));
        assert_eq!(logged.collect::<Vec<_>>(), [1, 600, 600]);
    }
}
