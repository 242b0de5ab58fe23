//! The health check of gRPC: one call of `grpc.health.v1.Health/Check`.
//!
//! Sources: grpc/doc/health-checking.md; grpc/doc/PROTOCOL-HTTP2.md; grpc/health/v1/health.proto.

use std::future::poll_fn;
use std::net::SocketAddr;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::SendRequest;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use model::resource::GrpcCheck;
use percent_encoding::percent_decode;
use prost::Message;
use tokio::net::TcpStream;

use crate::exchange::answer_over;
use crate::failure::{CheckResult, Failure};

const PATH: &str = "/grpc.health.v1.Health/Check";
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The most bytes of an answer: a status needs two, and newer versions would add little.
const ANSWER_BYTES_MAX: usize = 4 * 1024;

/// The most bytes of all headers of an answer together.
const HEAD_BYTES_MAX: u32 = 16 * 1024;

/// The most characters of a server's error message that are passed on.
const MESSAGE_CHARS_MAX: usize = 200;

/// Bytes before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// The request; an empty name means the server as a whole.
#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// The answer.
#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(enumeration = "ServingStatus", tag = "1")]
    status: i32,
}

/// The status of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
enum ServingStatus {
    Unknown = 0,
    Serving = 1,
    NotServing = 2,
    ServiceUnknown = 3,
}

/// Calls the health check over `stream`, a connection to `address`.
pub(crate) async fn call(stream: TcpStream, address: SocketAddr, check: &GrpcCheck) -> CheckResult {
    let handshake =
        h2::client::Builder::new().max_header_list_size(HEAD_BYTES_MAX).enable_push(false).handshake(stream);
    let (sender, connection) = handshake.await.map_err(|error| broken(&error))?;
    answer_over(connection, exchange(sender, address, check)).await
}

async fn exchange(sender: SendRequest<Bytes>, address: SocketAddr, check: &GrpcCheck) -> CheckResult {
    let mut sender = sender.ready().await.map_err(|error| broken(&error))?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{address}{PATH}"))
        .header(TE, "trailers")
        .header(CONTENT_TYPE, "application/grpc")
        .header(USER_AGENT, "homeostat-probe")
        .body(())
        .map_err(|error| broken(&error))?;
    let (response, mut body) = sender.send_request(request, false).map_err(|error| broken(&error))?;
    body.send_data(framed(check), true).map_err(|error| broken(&error))?;
    let (head, mut answer) = response.await.map_err(|error| broken(&error))?.into_parts();
    if head.status != StatusCode::OK {
        return Err(Failure::Call { why: format!("it was answered with the status {}", head.status) });
    }
    let message = message(&mut answer).await?;
    let trailers = answer.trailers().await.map_err(|error| broken(&error))?;
    // A call that fails at once has its trailers in the headers.
    outcome(trailers.as_ref().unwrap_or(&head.headers))?;
    let response = HealthCheckResponse::decode(message).map_err(|error| broken(&error))?;
    match response.status() {
        ServingStatus::Serving => Ok(()),
        status => Err(Failure::NotServing { service: check.service.clone(), status: name(status) }),
    }
}

/// The request, as one uncompressed message.
fn framed(check: &GrpcCheck) -> Bytes {
    let request = HealthCheckRequest { service: check.service.clone() };
    let length = u32::try_from(request.encoded_len()).expect("the name of a service is short");
    let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + request.encoded_len());
    bytes.put_u8(0);
    bytes.put_u32(length);
    request.encode(&mut bytes).expect("the buffer has space for the encoded length");
    bytes.freeze()
}

/// The one message of an answer, without its prefix; nothing when the call failed.
async fn message(answer: &mut RecvStream) -> Result<Bytes, Failure> {
    let mut read = BytesMut::new();
    while let Some(chunk) = poll_fn(|context| answer.poll_data(context)).await {
        let chunk = chunk.map_err(|error| broken(&error))?;
        if read.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(Failure::Call { why: format!("its answer has more than {ANSWER_BYTES_MAX} bytes") });
        }
        answer.flow_control().release_capacity(chunk.len()).map_err(|error| broken(&error))?;
        read.extend_from_slice(&chunk);
    }
    if read.is_empty() {
        return Ok(Bytes::new());
    }
    let wrong = |what: &str| Failure::Call { why: format!("its answer {what}") };
    if read.len() < PREFIX_BYTES {
        return Err(wrong("is truncated"));
    }
    if read.get_u8() != 0 {
        return Err(wrong("is compressed, although no compression was accepted"));
    }
    let length = read.get_u32() as usize;
    if length == read.len() {
        Ok(read.freeze())
    } else {
        Err(wrong("does not have the length that its prefix declares"))
    }
}

/// Whether a call succeeded, by its trailers.
fn outcome(trailers: &HeaderMap) -> CheckResult {
    match trailers.get(GRPC_STATUS).and_then(|code| code.to_str().ok()) {
        Some("0") => Ok(()),
        Some(code) => {
            let why =
                format!("it ended with the gRPC status {code}{}{}", meaning(code), error_message(trailers));
            Err(Failure::Call { why })
        }
        None => Err(Failure::Call { why: "its answer has no grpc-status, so it is not gRPC".to_owned() }),
    }
}

/// The server's error message after a colon; empty when there is none.
fn error_message(trailers: &HeaderMap) -> String {
    let encoded = trailers.get(GRPC_MESSAGE).map(HeaderValue::as_bytes).unwrap_or_default();
    let message = percent_decode(encoded).decode_utf8_lossy();
    let short: String = message.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS_MAX).collect();
    if short.is_empty() { short } else { format!(": {short}") }
}

/// The meaning of the status codes with which health checks usually fail.
/// Source: grpc/doc/health-checking.md and statuscodes.md.
fn meaning(code: &str) -> &'static str {
    match code {
        "5" => " (NOT_FOUND: the server has no such service)",
        "12" => " (UNIMPLEMENTED: the server has no grpc.health.v1.Health)",
        _ => "",
    }
}

/// The status as the specification writes it.
fn name(status: ServingStatus) -> &'static str {
    match status {
        ServingStatus::Unknown => "UNKNOWN",
        ServingStatus::Serving => "SERVING",
        ServingStatus::NotServing => "NOT_SERVING",
        ServingStatus::ServiceUnknown => "SERVICE_UNKNOWN",
    }
}

fn broken(error: &dyn std::error::Error) -> Failure {
    Failure::Call { why: error.to_string() }
}
