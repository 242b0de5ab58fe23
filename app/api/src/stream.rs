//! Watches: streams of changes as server-sent events.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use futures_util::stream::{self, Stream};
use model::name::ServiceName;
use orchestrator::{EventId, EventRecord, Handle};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast};

use crate::failure::{Code, Failure};
use crate::state::State;
use crate::v1::{self, ChangeKind};
use crate::view;

/// The minimum time between two batches of one watch: people cannot follow numbers faster than four times a second.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// The interval of comments on an idle stream, so that both ends notice a broken connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Streams all objects that `fetch` returns, and then their changes.
pub(crate) fn watch<S, F>(state: &State, fetch: F) -> Result<Response, Failure>
where
    S: Serialize + Send + 'static,
    F: Fn(&Handle) -> Result<Vec<v1::Object<S>>, Failure> + Clone + Send + Sync + 'static,
{
    let watcher = Watcher {
        _permit: state.open_stream()?,
        ticks: state.handle.events().changes(),
        state: state.clone(),
        fetch,
        last_sent: BTreeMap::new(),
        has_fetched: false,
    };
    let batches = stream::unfold(watcher, |mut watcher| async move {
        let batch = watcher.next_batch().await?;
        Some((stream::iter(batch), watcher))
    });
    Ok(response(state, batches.flatten()))
}

struct Watcher<F> {
    /// Released when this watch ends.
    _permit: OwnedSemaphorePermit,
    ticks: tokio::sync::watch::Receiver<u64>,
    state: State,
    fetch: F,
    last_sent: BTreeMap<String, Value>,
    has_fetched: bool,
}

impl<F> Watcher<F> {
    /// The changes since the last batch, possibly none; `None` when the loop has ended.
    async fn next_batch<S>(&mut self) -> Option<Vec<Message>>
    where
        S: Serialize + Send + 'static,
        F: Fn(&Handle) -> Result<Vec<v1::Object<S>>, Failure> + Clone + Send + Sync + 'static,
    {
        if self.has_fetched {
            tokio::time::sleep(POLL_INTERVAL).await;
            self.ticks.changed().await.ok()?;
        }
        self.has_fetched = true;
        let fetch = self.fetch.clone();
        let objects = match self.state.query(move |handle| fetch(handle)).await {
            Ok(objects) => objects,
            // The object that is watched by its name was deleted.
            Err(failure) if failure.is(Code::NotFound) => Vec::new(),
            // The loop has ended, which deletes nothing.
            Err(_) => return None,
        };
        let now: BTreeMap<String, Value> = objects
            .iter()
            .filter_map(|object| Some((object.name().to_owned(), serde_json::to_value(object).ok()?)))
            .collect();
        let batch = differences(&self.last_sent, &now);
        self.last_sent = now;
        Some(batch.iter().map(change_message).collect())
    }
}

fn differences(before: &BTreeMap<String, Value>, now: &BTreeMap<String, Value>) -> Vec<v1::Change<Value>> {
    let change = |kind, object: &Value| v1::Change { kind, object: object.clone() };
    let gone = before
        .iter()
        .filter(|(name, _)| !now.contains_key(*name))
        .map(|(_, object)| change(ChangeKind::Deleted, object));
    let rest = now.iter().filter_map(|(name, object)| match before.get(name) {
        None => Some(change(ChangeKind::Added, object)),
        Some(old) if old != object => Some(change(ChangeKind::Modified, object)),
        Some(_) => None,
    });
    gone.chain(rest).collect()
}

fn change_message(change: &v1::Change<Value>) -> Message {
    Message::default().data(serde_json::to_string(change).expect("a change consists of JSON values"))
}

/// Streams the events that `earlier` reads, and then each new event, without gaps and duplicates.
pub(crate) async fn events(
    state: &State,
    service: Option<ServiceName>,
    earlier: impl FnOnce(&Handle) -> Result<Vec<Arc<EventRecord>>, Failure> + Send + 'static,
) -> Result<Response, Failure> {
    let permit = state.open_stream()?;
    // Subscribing first leaves no gap. Events that arrive in between are in both; the listener drops the duplicates.
    let receiver = state.handle.events().subscribe();
    let read = move |handle: &Handle| {
        let latest = handle.events().recent_events(None, 1).pop().map(|event| event.id);
        Ok((latest, earlier(handle)?))
    };
    let (last_seen, earlier) = state.query(read).await?;
    let listener = Listener {
        _permit: permit,
        receiver,
        state: state.clone(),
        service,
        unsent: earlier.into(),
        last_seen,
    };
    let events =
        stream::unfold(listener, |mut listener| async move { Some((listener.next().await?, listener)) });
    Ok(response(state, events))
}

struct Listener {
    /// Released when this watch ends.
    _permit: OwnedSemaphorePermit,
    receiver: broadcast::Receiver<Arc<EventRecord>>,
    state: State,
    service: Option<ServiceName>,
    /// Events from the log, to be sent before those that are received.
    unsent: VecDeque<Arc<EventRecord>>,
    /// The latest event that was read or received, of any service.
    last_seen: Option<EventId>,
}

impl Listener {
    /// The next event to send. `None` when the loop has ended, or when events were missed that are no longer kept: a client that
    /// continues the watch is told so.
    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(event) = self.unsent.pop_front() {
                self.last_seen = self.last_seen.max(Some(event.id));
                return Some(event_message(&event));
            }
            match self.receiver.recv().await {
                Ok(event) if self.last_seen < Some(event.id) => {
                    self.last_seen = Some(event.id);
                    if self.service.as_ref().is_none_or(|service| event.service == *service) {
                        return Some(event_message(&event));
                    }
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => self.unsent = self.missed().await?,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// The events that were dropped because the client reads slowly, from the log; `None` if some are no longer there.
    async fn missed(&self) -> Option<VecDeque<Arc<EventRecord>>> {
        let (service, last_seen) = (self.service.clone(), self.last_seen);
        let missed = self.state.query(move |handle| {
            Ok(match last_seen {
                Some(last) => handle.events().events_after(last, service.as_ref()),
                None => Some(handle.events().recent_events(service.as_ref(), usize::MAX)),
            })
        });
        missed.await.ok().flatten().map(VecDeque::from)
    }
}

fn event_message(event: &EventRecord) -> Message {
    Message::default()
        .id(event.id.to_string())
        .data(serde_json::to_string(&view::event(event)).expect("an event consists of strings"))
}

fn response(state: &State, events: impl Stream<Item = Message> + Send + 'static) -> Response {
    let stop = state.stop().clone();
    let until_stop = events.take_until(stop.cancelled_owned()).map(Ok::<_, Infallible>);
    Sse::new(until_stop).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_watch_sends_added_modified_and_deleted_objects() {
        let state = |items: &[(&str, u32)]| -> BTreeMap<String, Value> {
            items.iter().map(|(name, n)| ((*name).to_owned(), json!({"name": name, "n": n}))).collect()
        };
        let before = state(&[("a", 1), ("b", 1), ("c", 1)]);
        let now = state(&[("b", 1), ("c", 2), ("d", 1)]);
        let found: Vec<(ChangeKind, String)> = differences(&before, &now)
            .into_iter()
            .map(|change| (change.kind, change.object["name"].as_str().unwrap().to_owned()))
            .collect();
        let expected = [(ChangeKind::Deleted, "a"), (ChangeKind::Modified, "c"), (ChangeKind::Added, "d")];
        assert_eq!(found, expected.map(|(kind, name)| (kind, name.to_owned())));
    }
}
