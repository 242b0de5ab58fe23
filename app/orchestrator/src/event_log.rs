//! The latest events: they can be read and watched, and survive restarts.

use std::collections::VecDeque;
use std::fmt::Display;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use journal::{EVENTS_MAX, EventFile, EventFileError, EventId, EventRecord, EventWriteError, OpenedEvents};
use model::event::{Event, EventKind};
use model::identity::{Epoch, Ordinal};
use model::name::ServiceName;
use model::time::Wall;
use tokio::sync::{broadcast, watch};

/// How many events a watcher may lag behind before it misses some.
const LAG_MAX: usize = 1024;

/// The latest events, including those of earlier runs, and a notification when watchers should read the state again.
#[derive(Debug)]
pub struct EventLog {
    recent: Mutex<Recent>,
    events: broadcast::Sender<Arc<EventRecord>>,
    changes: watch::Sender<u64>,
}

/// The latest events, in memory and on disk.
#[derive(Debug)]
struct Recent {
    /// The latest, oldest first; at most [`EVENTS_MAX`].
    events: VecDeque<Arc<EventRecord>>,
    file: EventFile,
    /// The id of the latest event; the next one of the same run has the next number.
    last: EventId,
}

/// An event that does not come from the loop.
#[derive(Debug)]
pub(crate) struct OutsideEvent {
    pub(crate) at: Wall,
    pub(crate) service: ServiceName,
    pub(crate) replica: Option<Ordinal>,
    pub(crate) kind: EventKind,
    pub(crate) message: String,
}

/// Logs an event, at level WARN if it is a warning.
pub(crate) fn log(service: &ServiceName, replica: Option<Ordinal>, kind: EventKind, reason: &dyn Display) {
    let replica = replica.map(|Ordinal(ordinal)| ordinal);
    if kind.is_warning() {
        tracing::warn!(service = %service, replica, reason = %reason, "{}", kind.name());
    } else {
        tracing::info!(service = %service, replica, reason = %reason, "{}", kind.name());
    }
}

impl EventLog {
    /// Opens the event log in the folder of the journal. Events that cannot be read are reported in the log and missing from then on.
    pub(crate) fn open(folder: &Path) -> Result<Self, EventFileError> {
        let OpenedEvents { file, events, damage } = EventFile::open(folder)?;
        if let Some(damage) = damage {
            tracing::warn!(error = %format_args!("{damage}: {}", damage.source), "events_damaged");
        }
        let last = EventId { epoch: Epoch(0), number: 0 };
        Ok(Self {
            recent: Mutex::new(Recent { events, file, last }),
            events: broadcast::Sender::new(LAG_MAX),
            changes: watch::Sender::new(0),
        })
    }

    /// Begins a run: the ids of events from now on carry its epoch.
    pub(crate) fn begin_run(&self, epoch: Epoch) {
        self.recent().last = EventId { epoch, number: 0 };
    }

    /// The epoch of the current run.
    pub(crate) fn epoch(&self) -> Epoch {
        self.recent().last.epoch
    }

    /// Publishes the events of one step of the loop, and empties `events`.
    ///
    /// Watchers receive them even if they could not be written; after an error a restart may lose them.
    pub(crate) fn publish(&self, events: &mut Vec<Event>) -> Result<(), EventWriteError> {
        if events.is_empty() {
            return Ok(());
        }
        let recent = &mut *self.recent();
        let new = events.drain(..).map(|event| EventRecord::new(recent.next_id(), &event)).collect();
        self.append(recent, new)
    }

    /// Publishes an event that does not come from the loop. Watchers receive it even if it could not be written.
    pub(crate) fn record(&self, event: OutsideEvent) {
        let OutsideEvent { at, service, replica, kind, message } = event;
        let recent = &mut *self.recent();
        let event = EventRecord {
            id: recent.next_id(),
            at,
            service,
            replica,
            kind: kind.name().to_owned(),
            is_warning: kind.is_warning(),
            message,
        };
        if let Err(error) = self.append(recent, vec![event]) {
            tracing::warn!(error = %error, "events_not_kept");
        }
    }

    fn append(&self, recent: &mut Recent, new: Vec<EventRecord>) -> Result<(), EventWriteError> {
        let new: Vec<_> = new.into_iter().map(Arc::new).collect();
        recent.events.extend(new.iter().cloned());
        let excess = recent.events.len().saturating_sub(EVENTS_MAX);
        recent.events.drain(..excess);
        let result = recent.file.append(&recent.events, new.len());
        for event in new {
            // An error means that there is no watcher.
            drop(self.events.send(event));
        }
        result
    }

    /// Makes watchers read the state again.
    pub(crate) fn notify_watchers(&self) {
        self.changes.send_modify(|tick| *tick += 1);
    }

    /// The latest events of `service`, or of all, oldest first, at most `limit`.
    pub fn recent_events(&self, service: Option<&ServiceName>, limit: usize) -> Vec<Arc<EventRecord>> {
        let recent = self.recent();
        let is_of_service =
            |event: &&Arc<EventRecord>| service.is_none_or(|service| event.service == *service);
        let mut latest: Vec<_> =
            recent.events.iter().rev().filter(is_of_service).take(limit).cloned().collect();
        latest.reverse();
        latest
    }

    /// All events of `service`, or of all, after the event `after`, oldest first. `None` when some of them may be missing: they are no
    /// longer kept, or there was no such event.
    pub fn events_after(
        &self,
        after: EventId,
        service: Option<&ServiceName>,
    ) -> Option<Vec<Arc<EventRecord>>> {
        let recent = self.recent();
        let oldest = recent.events.front().map_or(recent.last, |event| event.id);
        if !(oldest..=recent.last).contains(&after) {
            return None;
        }
        let begin = recent.events.partition_point(|event| event.id <= after);
        let is_of_service =
            |event: &&Arc<EventRecord>| service.is_none_or(|service| event.service == *service);
        Some(recent.events.range(begin..).filter(is_of_service).cloned().collect())
    }

    /// Receives every event from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<EventRecord>> {
        self.events.subscribe()
    }

    /// Changes whenever the state may have changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Does something while the events are locked.
    #[cfg(test)]
    pub(crate) fn while_locked(&self, act: impl FnOnce()) {
        let _locked = self.recent();
        act();
    }

    /// The events are consistent after every change, so a panic while they were locked does no harm.
    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    fn next_id(&mut self) -> EventId {
        self.last.number += 1;
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(log: &EventLog, service: &str, count: usize) {
        let service = ServiceName::parse(service).unwrap();
        for _ in 0..count {
            let (at, service, message) = (Wall::from_millis(1), service.clone(), String::new());
            let kind = EventKind::Declared;
            log.record(OutsideEvent { at, service, replica: None, kind, message });
        }
    }

    fn ids_after(log: &EventLog, after: &str, service: Option<&str>) -> Option<Vec<String>> {
        let service = service.map(|service| ServiceName::parse(service).unwrap());
        let events = log.events_after(EventId::parse(after).unwrap(), service.as_ref())?;
        Some(events.iter().map(|event| event.id.to_string()).collect())
    }

    #[test]
    fn events_after_an_event_reach_over_runs() {
        let folder = tempfile::tempdir().unwrap();
        let log = EventLog::open(folder.path()).unwrap();
        log.begin_run(Epoch(3));
        record(&log, "shop", 2);
        drop(log);
        let log = EventLog::open(folder.path()).unwrap();
        log.begin_run(Epoch(4));
        record(&log, "web", 1);
        record(&log, "shop", 1);
        let ids = |ids: &[&str]| Some(ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>());
        assert_eq!(ids_after(&log, "3-1", None), ids(&["3-2", "4-1", "4-2"]));
        assert_eq!(ids_after(&log, "3-1", Some("shop")), ids(&["3-2", "4-2"]));
        assert_eq!(ids_after(&log, "4-2", None), ids(&[]));
        // A watcher had received that event, and then it was lost with the power.
        assert_eq!(ids_after(&log, "3-9", None), ids(&["4-1", "4-2"]));
    }

    #[test]
    fn after_an_event_that_is_not_kept_or_never_was_nothing_is_returned() {
        let folder = tempfile::tempdir().unwrap();
        let log = EventLog::open(folder.path()).unwrap();
        log.begin_run(Epoch(3));
        assert_eq!(ids_after(&log, "2-1", None), None);
        record(&log, "shop", EVENTS_MAX + 1);
        assert_eq!(ids_after(&log, "3-1", None), None, "3-2 is the oldest that is kept");
        assert_eq!(ids_after(&log, "3-2", None).map(|ids| ids.len()), Some(EVENTS_MAX - 1));
        assert_eq!(ids_after(&log, "3-10002", None), None);
        assert_eq!(ids_after(&log, "9-1", None), None);
    }
}
