//! Accepts connections, within limits.

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
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;

use crate::failure::{Code, Failure};
use crate::state::State;
use crate::{origin, routes};

/// Concurrent connections; more wait to be accepted.
///
/// 256: four times [`STREAMS_MAX`](crate::state::STREAMS_MAX), a quarter of the files that Debian lets a process open.
pub(crate) const CONNECTIONS_MAX: usize = 256;

/// Longest body: a thousand services of 1 KiB. Command lines with more apply in parts.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// How long a client may take for the head of a request, and keep an idle connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a response may take to begin: a replay of a whole journal segment takes some ten seconds.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long connections may take to finish at shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause after a connection could not be accepted, as without free file descriptors: some will be closed meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves requests until the token of `state` is cancelled; then lets those in progress finish.
pub async fn serve(listener: TcpListener, state: State) {
    let router = router(&state);
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let stop = state.stop().clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(count_events(state));
    while !stop.is_cancelled() {
        let seat = Arc::clone(&seats).acquire_owned();
        // All are cancel safe: a connection that was not taken stays in the listener's queue.
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = tasks.join_next() => drop(ended),
            accepted = async { (seat.await, listener.accept().await) } => match accepted {
                (Ok(seat), Ok((socket, _))) => {
                    let connection = graceful.watch(connection(socket, router.clone()));
                    tasks.spawn(async move {
                        if let Err(error) = connection.await {
                            tracing::debug!(error = %error, "connection_broken");
                        }
                        drop(seat);
                    });
                }
                (_, Err(error)) => {
                    tracing::warn!(error = %error, "connection_not_accepted");
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
                "could not answer within {} s; what was asked for may still be done: look with `homeostat get`",
                RESPONSE_TIMEOUT.as_secs()
            );
            Failure::new(StatusCode::GATEWAY_TIMEOUT, Code::TooSlow, sentence).into_response()
        }
    }
}

/// Counts events by kind, for /metrics; ends with the loop.
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
