//! Streamed answers, line by line: logs, and server-sent events.

use std::io;
use std::time::Duration;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::BodyStream;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
use tokio_util::io::StreamReader;

/// Longest line.
///
/// 4 MiB: an inventory-sized resource is far below; a longer one is no line of ours.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long a watch may be silent: four times the pause between two comments by which the server shows that it is there.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// An answer that goes on; read line by line.
pub(crate) struct Lines {
    lines: FramedRead<Reader, LinesCodec>,
    /// What has come of the next event.
    event: String,
}

type Reader = StreamReader<stream::BoxStream<'static, io::Result<Bytes>>, Bytes>;

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

impl Lines {
    /// Reads `body` to its end.
    pub(crate) fn of(body: Incoming) -> Self {
        let pieces = BodyStream::new(body).filter_map(async |frame| match frame {
            Ok(frame) => frame.into_data().ok().map(Ok),
            Err(error) => Some(Err(io::Error::other(error))),
        });
        Self::of_stream(pieces.boxed())
    }

    fn of_stream(pieces: stream::BoxStream<'static, io::Result<Bytes>>) -> Self {
        let codec = LinesCodec::new_with_max_length(LINE_BYTES_MAX);
        Self { lines: FramedRead::new(StreamReader::new(pieces), codec), event: String::new() }
    }

    /// The next line without its end; `None` at the end of the answer.
    pub(crate) async fn next(&mut self) -> Option<Result<String, LinesCodecError>> {
        self.lines.next().await
    }

    /// The data of the next server-sent event; `None` at the end of the answer. Cancel safe.
    ///
    /// Several `data` lines of one event are joined; comments and other fields are passed over. Source: HTML Living Standard,
    /// section 9.2.6.
    pub(crate) async fn next_event<T: DeserializeOwned>(&mut self) -> Option<anyhow::Result<T>> {
        loop {
            let line = match timeout(SILENCE_MAX, self.next()).await {
                Ok(Some(Ok(line))) => line,
                Ok(Some(Err(error))) => return Some(Err(anyhow::Error::new(error).context(BROKE_OFF))),
                Ok(None) => return None,
                Err(_) => {
                    let seconds = SILENCE_MAX.as_secs();
                    return Some(Err(anyhow!("{BROKE_OFF}: nothing came within {seconds} s")));
                }
            };
            if let Some(more) = line.strip_prefix("data:") {
                if self.event.len() + more.len() > LINE_BYTES_MAX {
                    return Some(Err(anyhow!("{BROKE_OFF}: an event is longer than {LINE_BYTES_MAX} bytes")));
                }
                if !self.event.is_empty() {
                    self.event.push('\n');
                }
                self.event.push_str(more.strip_prefix(' ').unwrap_or(more));
            } else if line.is_empty() && !self.event.is_empty() {
                let read = serde_json::from_str(&std::mem::take(&mut self.event));
                return Some(read.context("could not understand an event of the watch"));
            }
        }
    }
}

const BROKE_OFF: &str = "the watch broke off";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    async fn events_of(pieces: &'static [&'static str]) -> Vec<Value> {
        let pieces = stream::iter(pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))));
        let mut lines = Lines::of_stream(pieces.boxed());
        let mut events = Vec::new();
        while let Some(event) = lines.next_event().await {
            events.push(event.unwrap());
        }
        events
    }

    #[tokio::test]
    async fn an_event_is_read_however_it_was_cut() {
        let events =
            events_of(&[": hello\n\ndata: {\"a\"", ":1}\n", "\ndata:{\"b\":\ndata: 2}\n\nevent: x\n\n"])
                .await;
        assert_eq!(events, [json!({"a": 1}), json!({"b": 2})]);
    }

    #[tokio::test]
    async fn an_event_that_was_cut_off_is_none() {
        assert!(events_of(&["data: {\"a\":1}\n"]).await.is_empty());
    }
}
