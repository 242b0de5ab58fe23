//! The output of replicas, as a stream of text.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{FutureExt as _, StreamExt, stream};
use model::identity::ReplicaId;
use platform::{LogError, LogLines};
use tokio::sync::OwnedSemaphorePermit;

use crate::failure::{Code, Failure, chain};
use crate::state::State;

/// The default number of lines from the end: a screen or two.
pub(crate) const TAIL_DEFAULT: usize = 100;

/// The maximum size of a chunk; lines are grouped so that many short lines need few packets.
const CHUNK_BYTES: usize = 16 * 1024;

/// Where a response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// After the last line that was there when the response began.
    Present,
    /// Never: new lines are sent as they are printed.
    Stopped,
}

/// The output of a replica, from `tail` lines before its end.
pub(crate) async fn logs(
    state: &State,
    replica: &ReplicaId,
    tail: usize,
    until: Until,
) -> Result<Response, Failure> {
    let permit = match until {
        Until::Present => None,
        Until::Stopped => Some(state.open_stream()?),
    };
    let lines = state.agent.logs(replica, tail).await.map_err(|error| failure(&error))?;
    let reader = Reader { _permit: permit, lines, until };
    let chunks =
        stream::unfold(reader, |mut reader| async move { Some((reader.next_chunk().await?, reader)) });
    let until_stop = chunks.take_until(state.stop().clone().cancelled_owned()).map(Ok::<_, Infallible>);
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], Body::from_stream(until_stop)).into_response())
}

struct Reader {
    /// Released when the reader is dropped; `None` for a response with an end.
    _permit: Option<OwnedSemaphorePermit>,
    lines: Box<dyn LogLines>,
    until: Until,
}

impl Reader {
    /// The next lines up to the size of a chunk. When the log is followed and no line is available, waits for one.
    async fn next_chunk(&mut self) -> Option<Bytes> {
        let mut chunk = String::new();
        while chunk.len() < CHUNK_BYTES {
            let line = match self.lines.next_present().await {
                Ok(Some(line)) => Ok(line),
                Ok(None) if self.until == Until::Present => break,
                Ok(None) if chunk.is_empty() => self.lines.next().await,
                Ok(None) => match self.lines.next().now_or_never() {
                    Some(line) => line,
                    None => break,
                },
                Err(error) => Err(error),
            };
            match line {
                Ok(line) => append(&mut chunk, &line.text),
                Err(error) => return self.fail(chunk, &error),
            }
        }
        (!chunk.is_empty()).then(|| chunk.into())
    }

    /// Logs the error and ends the stream: the response headers have already been sent.
    fn fail(&mut self, chunk: String, error: &LogError) -> Option<Bytes> {
        tracing::warn!(error = %chain(error), "log_unreadable");
        self.until = Until::Present;
        (!chunk.is_empty()).then(|| chunk.into())
    }
}

fn append(chunk: &mut String, line: &str) {
    chunk.push_str(line);
    chunk.push('\n');
}

fn failure(error: &LogError) -> Failure {
    let status = match error {
        LogError::NoLog { .. } => StatusCode::NOT_FOUND,
        LogError::Unreadable { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Failure::new(status, Code::Log, chain(error))
}
