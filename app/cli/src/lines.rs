//! Reads streamed responses line by line: logs, and server-sent events.

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

/// The longest line: 4 MiB, far above the size of any resource.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long a watch may be silent: four times the interval of the comments that the server sends on an idle stream.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A streamed response, read line by line.
pub(crate) struct Lines {
    lines: FramedRead<Reader, LinesCodec>,
    /// The part of the next event that has arrived.
    event: String,
}

type Reader = StreamReader<stream::BoxStream<'static, io::Result<Bytes>>, Bytes>;

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

impl Lines {
    /// The lines of `body`.
    pub(crate) fn of(body: Incoming) -> Self {
        let chunks = BodyStream::new(body).filter_map(async |frame| match frame {
            Ok(frame) => frame.into_data().ok().map(Ok),
            Err(error) => Some(Err(io::Error::other(error))),
        });
        Self::of_stream(chunks.boxed())
    }

    fn of_stream(chunks: stream::BoxStream<'static, io::Result<Bytes>>) -> Self {
        let codec = LinesCodec::new_with_max_length(LINE_BYTES_MAX);
        Self { lines: FramedRead::new(StreamReader::new(chunks), codec), event: String::new() }
    }

    /// The next line without its line ending; `None` at the end of the response.
    pub(crate) async fn next(&mut self) -> Option<Result<String, LinesCodecError>> {
        self.lines.next().await
    }

    /// The data of the next server-sent event; `None` at the end of the response. Cancel safe.
    ///
    /// Several `data` lines of one event are joined; comments and other fields are ignored. Source: HTML Living Standard,
    /// section 9.2.6.
    pub(crate) async fn next_event<T: DeserializeOwned>(&mut self) -> Option<anyhow::Result<T>> {
        loop {
            let line = match timeout(SILENCE_MAX, self.next()).await {
                Ok(Some(Ok(line))) => line,
                Ok(Some(Err(error))) => return Some(Err(anyhow::Error::new(error).context(INTERRUPTED))),
                Ok(None) => return None,
                Err(_) => {
                    let seconds = SILENCE_MAX.as_secs();
                    return Some(Err(anyhow!("{INTERRUPTED}: nothing arrived within {seconds} s")));
                }
            };
            if let Some(more) = line.strip_prefix("data:") {
                if self.event.len() + more.len() > LINE_BYTES_MAX {
                    return Some(Err(anyhow!(
                        "{INTERRUPTED}: an event is longer than {LINE_BYTES_MAX} bytes"
                    )));
                }
                if !self.event.is_empty() {
                    self.event.push('\n');
                }
                self.event.push_str(more.strip_prefix(' ').unwrap_or(more));
            } else if line.is_empty() && !self.event.is_empty() {
                let read = serde_json::from_str(&std::mem::take(&mut self.event));
                return Some(read.context("could not parse an event of the watch"));
            }
        }
    }
}

const INTERRUPTED: &str = "the watch was interrupted";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    async fn events_of(chunks: &'static [&'static str]) -> Vec<Value> {
        let chunks = stream::iter(chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))));
        let mut lines = Lines::of_stream(chunks.boxed());
        let mut events = Vec::new();
        while let Some(event) = lines.next_event().await {
            events.push(event.unwrap());
        }
        events
    }

    #[tokio::test]
    async fn an_event_is_read_however_the_stream_is_split() {
        let events =
            events_of(&[": hello\n\ndata: {\"a\"", ":1}\n", "\ndata:{\"b\":\ndata: 2}\n\nevent: x\n\n"])
                .await;
        assert_eq!(events, [json!({"a": 1}), json!({"b": 2})]);
    }

    #[tokio::test]
    async fn an_incomplete_event_is_dropped() {
        assert!(events_of(&["data: {\"a\":1}\n"]).await.is_empty());
    }
}
