//! Sources against real sockets and real programs.

#![expect(clippy::disallowed_methods, reason = "the servers of a test end with its runtime")]

mod command;
mod http;
mod queues;
mod replicas;
mod servers;
mod tls;

use std::sync::Arc;

use measure::Source;
use model::measure::{MeasurementResult, Series};
use model::resource::MetricSourceSpec;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A source of `jobs` from this origin, with this timeout.
fn source(from: &Value, timeout: &str) -> Source {
    let spec = json!({"metric": "jobs", "from": from, "every": "1s", "timeout": timeout});
    let spec: MetricSourceSpec = serde_json::from_value(spec).unwrap();
    Source::new(Arc::new(spec))
}

/// A server that calls `answer` for every connection once it has received the head of a request.
async fn server<F>(answer: impl Fn(TcpStream, String) -> F + Send + Sync + 'static) -> u16
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match socket.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            tokio::spawn(answer(socket, String::from_utf8(head).unwrap()));
        }
    });
    port
}

/// A server that answers everything with this status and body.
async fn answers(status: &'static str, more: &'static str, body: &'static str) -> u16 {
    server(move |mut socket, _| async move {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{more}\r\n{body}", body.len());
        let _ = socket.write_all(answer.as_bytes()).await;
    })
    .await
}

/// The series that were measured, by their values.
fn values(result: &MeasurementResult) -> Vec<i64> {
    match result {
        MeasurementResult::Series(series) => series.iter().map(|Series { value, .. }| value.0).collect(),
        other => panic!("no series: {other:?}"),
    }
}

fn why(result: &MeasurementResult) -> String {
    match result {
        MeasurementResult::Failed(why) => why.to_string(),
        other => panic!("no failure: {other:?}"),
    }
}
