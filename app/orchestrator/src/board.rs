//! What happened lately, for people who ask or watch.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::event::Event;
use model::name::ServiceName;
use tokio::sync::{broadcast, watch};

/// Events kept.
///
/// 10,000: a day of ten services that each scale a few hundred times, in about 2 MB.
const EVENTS_MAX: usize = 10_000;

/// Events that a watcher may lag behind before it is told that it has missed some.
const LAG_MAX: usize = 1024;

/// The latest events, and a tick for each change that a watcher could see.
#[derive(Debug)]
pub struct Board {
    recent: Mutex<VecDeque<Arc<Event>>>,
    events: broadcast::Sender<Arc<Event>>,
    changes: watch::Sender<u64>,
}

impl Board {
    pub(crate) fn new() -> Self {
        Self {
            recent: Mutex::new(VecDeque::new()),
            events: broadcast::Sender::new(LAG_MAX),
            changes: watch::Sender::new(0),
        }
    }

    /// Pins up what one step of the loop had to tell.
    pub(crate) fn pin(&self, events: &mut Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let mut recent = self.recent();
        for event in events.drain(..).map(Arc::new) {
            if recent.len() == EVENTS_MAX {
                recent.pop_front();
            }
            recent.push_back(Arc::clone(&event));
            // Nobody watching is no error.
            drop(self.events.send(event));
        }
    }

    /// Lets watchers look again.
    pub(crate) fn tick(&self) {
        self.changes.send_modify(|tick| *tick += 1);
    }

    /// The latest events of `service`, or of all, oldest first, at most `limit`.
    pub fn recent_events(&self, service: Option<&ServiceName>, limit: usize) -> Vec<Arc<Event>> {
        let recent = self.recent();
        let is_meant = |event: &&Arc<Event>| service.is_none_or(|service| event.service == *service);
        let mut latest: Vec<_> = recent.iter().rev().filter(is_meant).take(limit).cloned().collect();
        latest.reverse();
        latest
    }

    /// Every event from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }

    /// Changes whenever there may be something new to see.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// A list of events is whole after every step, so what a panicking reader left is as good as before.
    fn recent(&self) -> MutexGuard<'_, VecDeque<Arc<Event>>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
