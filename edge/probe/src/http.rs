//! HTTP probes: one GET request.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use model::resource::HttpCheck;
use tokio::net::TcpStream;

use crate::exchange::answer_over;
use crate::failure::{CheckResult, Failure};

/// The most bytes of a body that are read and discarded before the connection is closed: more than any health page has.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// How long to wait for the body. The result is known by then; this only spares the replica a reset connection.
const BODY_WAIT: Duration = Duration::from_millis(100);

/// The most bytes of the head of an answer: twice what common servers allow.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Requests the page of the check over `stream`, a connection to `address`.
pub(crate) async fn get(stream: TcpStream, address: SocketAddr, check: &HttpCheck) -> CheckResult {
    let broken =
        |error: &dyn std::error::Error| Failure::Broken { path: check.path.clone(), why: error.to_string() };
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    let request = Request::get(&check.path)
        .header(HOST, address.to_string())
        .header(USER_AGENT, "homeostat-probe")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| broken(&error))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect();
        // A server whose connection is reset while it still writes logs an error, once for each probe.
        let _ = tokio::time::timeout(BODY_WAIT, body).await;
        if (200..400).contains(&status) {
            return Ok(());
        }
        Err(Failure::Status { path: check.path.clone(), status })
    };
    answer_over(connection, exchange).await
}
