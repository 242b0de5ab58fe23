//! The output of replicas, as a stream of text.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use model::identity::ReplicaId;
use platform::{LogError, LogLines};
use tokio::sync::OwnedSemaphorePermit;

use crate::failure::{Code, Failure, chain};
use crate::state::State;

/// Lines before the end by default: a screen or two.
pub(crate) const TAIL_DEFAULT: usize = 100;

/// Bytes that are sent in one piece, so that many short lines cost few packets.
const PIECE_BYTES: usize = 16 * 1024;

/// Whether a response ends with the present output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// It ends with the last present line.
    Present,
    /// It goes on with what is printed later.
    Stopped,
}

/// The output of a replica, from `tail` lines before its end.
pub(crate) async fn logs(
    state: &State,
    replica: &ReplicaId,
    tail: usize,
    until: Until,
) -> Result<Response, Failure> {
    let permit = state.open_stream()?;
    let lines = state.agent.logs(replica, tail).await.map_err(|error| failure(&error))?;
    let reader = Reader { _permit: permit, lines, until };
    let pieces =
        stream::unfold(reader, |mut reader| async move { Some((reader.next_piece().await?, reader)) });
    let until_stop = pieces.take_until(state.stop().clone().cancelled_owned()).map(Ok::<_, Infallible>);
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], Body::from_stream(until_stop)).into_response())
}

struct Reader {
    /// Released when this reader ends.
    _permit: OwnedSemaphorePermit,
    lines: Box<dyn LogLines>,
    until: Until,
}

impl Reader {
    /// The present lines, up to a piece's size; waits for one when there is none and more may come.
    async fn next_piece(&mut self) -> Option<Bytes> {
        let mut piece = String::new();
        while piece.len() < PIECE_BYTES {
            match self.lines.next_present().await {
                Ok(Some(line)) => append(&mut piece, &line.text),
                Ok(None) => break,
                Err(error) => return self.broken(piece, &error),
            }
        }
        if piece.is_empty() && self.until == Until::Stopped {
            match self.lines.next().await {
                Ok(line) => append(&mut piece, &line.text),
                Err(error) => return self.broken(piece, &error),
            }
        }
        (!piece.is_empty()).then(|| piece.into())
    }

    /// The head of the response is sent already, so the error can only be logged, and the stream ended.
    fn broken(&mut self, piece: String, error: &LogError) -> Option<Bytes> {
        tracing::warn!(error = %chain(error), "log_unreadable");
        self.until = Until::Present;
        (!piece.is_empty()).then(|| piece.into())
    }
}

fn append(piece: &mut String, line: &str) {
    piece.push_str(line);
    piece.push('\n');
}

fn failure(error: &LogError) -> Failure {
    let status = match error {
        LogError::NoLog { .. } => StatusCode::NOT_FOUND,
        LogError::Unreadable { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Failure::new(status, Code::Log, chain(error))
}
