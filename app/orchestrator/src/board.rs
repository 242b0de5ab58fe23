//! The latest events, for people who ask or watch; they survive restarts.

use std::collections::VecDeque;
use std::fmt::Display;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use journal::{EVENTS_MAX, EventId, KeepError, Told, ToldError, ToldFile};
use model::event::{Event, EventKind};
use model::identity::Epoch;
use model::name::ServiceName;
use model::time::Wall;
use tokio::sync::{broadcast, watch};

/// How many events a watcher may lag behind before it misses some.
const LAG_MAX: usize = 1024;

/// The latest events, those of earlier runs included, and a tick whenever a watcher should look again.
#[derive(Debug)]
pub struct Board {
    kept: Mutex<Kept>,
    events: broadcast::Sender<Arc<Told>>,
    changes: watch::Sender<u64>,
}

/// The events in memory and on disk.
#[derive(Debug)]
struct Kept {
    /// The latest, oldest first; at most [`EVENTS_MAX`].
    recent: VecDeque<Arc<Told>>,
    file: ToldFile,
    /// The id of the latest event; the next one of the same run has the next number.
    last: EventId,
}

/// Writes an event to the log; signs of trouble as warnings.
pub(crate) fn log(service: &ServiceName, replica: Option<u32>, kind: EventKind, reason: &dyn Display) {
    if kind.is_warning() {
        tracing::warn!(service = %service, replica, reason = %reason, "{}", kind.name());
    } else {
        tracing::info!(service = %service, replica, reason = %reason, "{}", kind.name());
    }
}

impl Board {
    /// Opens the board with what is kept in the folder of the journal.
    pub(crate) fn open(folder: &Path) -> Result<Self, ToldError> {
        let (file, recent) = ToldFile::open(folder)?;
        let last = EventId { epoch: Epoch(0), number: 0 };
        Ok(Self {
            kept: Mutex::new(Kept { recent, file, last }),
            events: broadcast::Sender::new(LAG_MAX),
            changes: watch::Sender::new(0),
        })
    }

    /// Gives events from now on the ids of this run, which no other run has.
    pub(crate) fn begin_run(&self, epoch: Epoch) {
        self.kept().last = EventId { epoch, number: 0 };
    }

    /// The run whose ids events get.
    pub(crate) fn epoch(&self) -> Epoch {
        self.kept().last.epoch
    }

    /// Publishes the events of one step of the loop, and empties `events`.
    ///
    /// Watchers hear of them even if they could not be written; the error says that a restart would forget them.
    pub(crate) fn publish(&self, events: &mut Vec<Event>) -> Result<(), KeepError> {
        if events.is_empty() {
            return Ok(());
        }
        let kept = &mut *self.kept();
        let new = events.drain(..).map(|event| Told::new(kept.next_id(), &event)).collect();
        self.keep(kept, new)
    }

    /// Publishes an event that does not come from the loop.
    pub(crate) fn post(
        &self,
        at: Wall,
        service: &ServiceName,
        kind: EventKind,
        message: String,
    ) -> Result<(), KeepError> {
        let kept = &mut *self.kept();
        let event = Told {
            id: kept.next_id(),
            at,
            service: service.clone(),
            replica: None,
            kind: kind.name().to_owned(),
            is_warning: kind.is_warning(),
            message,
        };
        self.keep(kept, vec![event])
    }

    fn keep(&self, kept: &mut Kept, new: Vec<Told>) -> Result<(), KeepError> {
        let new: Vec<_> = new.into_iter().map(Arc::new).collect();
        kept.recent.extend(new.iter().cloned());
        let excess = kept.recent.len().saturating_sub(EVENTS_MAX);
        kept.recent.drain(..excess);
        let result = kept.file.keep(&kept.recent, new.len());
        for event in new {
            // Nobody watching is no error.
            drop(self.events.send(event));
        }
        result
    }

    /// Lets watchers look again.
    pub(crate) fn tick(&self) {
        self.changes.send_modify(|tick| *tick += 1);
    }

    /// The latest events of `service`, or of all, oldest first, at most `limit`.
    pub fn recent_events(&self, service: Option<&ServiceName>, limit: usize) -> Vec<Arc<Told>> {
        let kept = self.kept();
        let is_meant = |event: &&Arc<Told>| service.is_none_or(|service| event.service == *service);
        let mut latest: Vec<_> = kept.recent.iter().rev().filter(is_meant).take(limit).cloned().collect();
        latest.reverse();
        latest
    }

    /// Every event from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Told>> {
        self.events.subscribe()
    }

    /// Changes whenever there may be something new to see.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The events are whole after every change, so a panic while they were locked does no harm.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn next_id(&mut self) -> EventId {
        self.last.number += 1;
        self.last
    }
}
