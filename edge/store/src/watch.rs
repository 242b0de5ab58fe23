//! Watches: the changes of each write, in order, without gaps or duplicates.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};

use crate::entry::{Entry, Revision};
use crate::key::{Key, Prefix};

/// The most changes in one watcher's queue.
///
/// 1,024: at the store's highest rate (some 10,000 writes a second) a watcher may pause for a tenth of a second.
pub const WATCH_QUEUE_CHANGES_MAX: usize = 1024;

/// The most bytes in one watcher's queue: 1,024 changes of 8 KB. A larger change is accepted when the queue is empty.
pub const WATCH_QUEUE_BYTES_MAX: usize = 8 << 20;

/// The most watches open on one store.
///
/// 1,024: some ten for each part of Homeostat and the rest for clients of the API. Queues share the bytes of their changes, so full
/// queues take the changes once and 8 bytes × 1,024 × 1,024 = 8 MiB of pointers.
pub const WATCHERS_MAX: usize = 1024;

/// What a write did to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The key has this row now.
    Put(Entry),
    /// The key had a row and has none now.
    Delete {
        /// The key.
        key: Key,
    },
}

/// All events of one write, in the order of keys; a watcher gets those of its prefix together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The write.
    pub revision: Revision,
    /// At least one event, at most one for a key.
    pub events: Vec<Event>,
}

/// Why a watch gives no more changes. It has given everything that was queued before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchEnd {
    /// The watcher read too slowly, or began so far in the past that its queue cannot hold all changes since.
    ///
    /// Nothing is lost so far: a new watch from `next` continues exactly here, unless the history from there on is compacted.
    #[error("the watch fell behind and ended before revision {next}; watch again from there")]
    Lagged {
        /// The first revision that was not given.
        next: Revision,
    },
    /// The store was closed, or stopped after a failure.
    #[error("the watch ended because the store was closed")]
    Closed,
}

/// The receiving end of a watch. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    changes: mpsc::Receiver<Arc<Change>>,
    backlog: Arc<Backlog>,
}

/// The watches of a store, and the last published revision. Every implementation of a store has one.
#[derive(Debug)]
pub struct WatchHub {
    listeners: Mutex<Listeners>,
}

#[derive(Debug)]
struct Listeners {
    published: Revision,
    feeds: Vec<Feed>,
}

/// The sending end of a watch.
#[derive(Debug)]
struct Feed {
    prefix: Prefix,
    from: Revision,
    changes: mpsc::Sender<Arc<Change>>,
    backlog: Arc<Backlog>,
}

/// The state that both ends of a watch share.
#[derive(Debug, Default)]
struct Backlog {
    bytes: AtomicUsize,
    lagged: OnceLock<Revision>,
}

/// Whether a feed accepts more changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offer {
    Taken,
    Ended,
}

impl Event {
    /// The key that it concerns.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Delete { key } => key,
        }
    }

    fn cost_bytes(&self) -> usize {
        match self {
            Self::Put(entry) => entry.cost_bytes(),
            Self::Delete { key } => key.as_str().len() + size_of::<Self>(),
        }
    }
}

impl Change {
    /// What the change costs in a queue or a history, in bytes.
    pub fn cost_bytes(&self) -> usize {
        self.events.iter().map(Event::cost_bytes).sum()
    }

    /// The part of a change that concerns `prefix`; `None` when nothing does.
    fn within(self: &Arc<Self>, prefix: &Prefix) -> Option<Arc<Self>> {
        let matching = self.events.iter().filter(|event| prefix.holds(event.key())).count();
        if matching == self.events.len() {
            return Some(Arc::clone(self));
        }
        let events: Vec<_> = self.events.iter().filter(|event| prefix.holds(event.key())).cloned().collect();
        (!events.is_empty()).then(|| Arc::new(Self { revision: self.revision, events }))
    }
}

impl Watch {
    /// Waits for the next change. Cancel-safe: a change is not lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Arc<Change>, WatchEnd> {
        let received = self.changes.recv().await;
        received.map(|change| self.taken(change)).ok_or_else(|| self.end())
    }

    /// Waits for the next change on this thread; panics inside an async task, as `tokio`'s `blocking_recv` does.
    pub fn blocking_next(&mut self) -> Result<Arc<Change>, WatchEnd> {
        let received = self.changes.blocking_recv();
        received.map(|change| self.taken(change)).ok_or_else(|| self.end())
    }

    /// The next change, if there is one in the queue.
    pub fn try_next(&mut self) -> Result<Option<Arc<Change>>, WatchEnd> {
        match self.changes.try_recv() {
            Ok(change) => Ok(Some(self.taken(change))),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(self.end()),
        }
    }

    fn taken(&self, change: Arc<Change>) -> Arc<Change> {
        self.backlog.bytes.fetch_sub(change.cost_bytes(), Ordering::Relaxed);
        change
    }

    fn end(&self) -> WatchEnd {
        self.backlog.lagged.get().map_or(WatchEnd::Closed, |&next| WatchEnd::Lagged { next })
    }
}

impl WatchHub {
    /// The hub of a store that is at `revision`.
    pub fn new(revision: Revision) -> Self {
        Self { listeners: Mutex::new(Listeners { published: revision, feeds: Vec::new() }) }
    }

    /// Passes a change to every watcher, without waiting. Called once for each write, in the order of revisions.
    pub fn publish(&self, change: &Arc<Change>) {
        let mut listeners = self.lock();
        assert!(change.revision > listeners.published, "a change is published once and in order");
        listeners.published = change.revision;
        listeners.feeds.retain(|feed| feed.offer(change) == Offer::Taken);
    }

    /// Ends every watch once its queue is read.
    pub fn close(&self) {
        self.lock().feeds.clear();
    }

    /// Starts a watch at `from`; `None` when [`WATCHERS_MAX`] are open.
    ///
    /// `history(first, last, give)` gives the past changes of that range in order until `give` breaks. It is called twice: without
    /// the lock for most of them, and then, while no write can be published, for those that were written in the meantime.
    pub fn watch<E>(
        &self,
        prefix: &Prefix,
        from: Revision,
        mut history: impl FnMut(Revision, Revision, &mut dyn FnMut(Change) -> ControlFlow<()>) -> Result<(), E>,
    ) -> Result<Option<Watch>, E> {
        let (feed, watch) = Feed::open(prefix.clone(), from);
        let mut replay = |first: Revision, last: Revision| {
            let mut offered = Offer::Taken;
            let mut give = |change: Change| {
                offered = feed.offer(&Arc::new(change));
                match offered {
                    Offer::Taken => ControlFlow::Continue(()),
                    Offer::Ended => ControlFlow::Break(()),
                }
            };
            if first <= last {
                history(first, last, &mut give)?;
            }
            Ok(offered)
        };
        let seen = self.lock().published;
        if replay(from, seen)? == Offer::Ended {
            return Ok(Some(watch));
        }
        let mut listeners = self.lock();
        if replay(from.max(seen.next()), listeners.published)? == Offer::Ended {
            return Ok(Some(watch));
        }
        listeners.feeds.retain(|feed| !feed.changes.is_closed());
        if listeners.feeds.len() >= WATCHERS_MAX {
            return Ok(None);
        }
        listeners.feeds.push(feed);
        Ok(Some(watch))
    }

    fn lock(&self) -> MutexGuard<'_, Listeners> {
        self.listeners
            .lock()
            .expect("nothing panics while it holds the listeners, but for a change out of order")
    }
}

impl Feed {
    fn open(prefix: Prefix, from: Revision) -> (Self, Watch) {
        let (sender, receiver) = mpsc::channel(WATCH_QUEUE_CHANGES_MAX);
        let backlog = Arc::new(Backlog::default());
        let watch = Watch { changes: receiver, backlog: Arc::clone(&backlog) };
        (Self { prefix, from, changes: sender, backlog }, watch)
    }

    fn offer(&self, change: &Arc<Change>) -> Offer {
        if self.changes.is_closed() {
            return Offer::Ended;
        }
        let Some(change) = change.within(&self.prefix).filter(|change| change.revision >= self.from) else {
            return Offer::Taken;
        };
        let (revision, bytes) = (change.revision, change.cost_bytes());
        let waiting = self.backlog.bytes.fetch_add(bytes, Ordering::Relaxed);
        if waiting > 0 && waiting + bytes > WATCH_QUEUE_BYTES_MAX {
            return self.cut_off(revision);
        }
        match self.changes.try_send(change) {
            Ok(()) => Offer::Taken,
            Err(TrySendError::Full(_)) => self.cut_off(revision),
            Err(TrySendError::Closed(_)) => Offer::Ended,
        }
    }

    fn cut_off(&self, next: Revision) -> Offer {
        // Set before the sender is dropped, so that a receiver that sees the channel closed finds the reason.
        self.backlog.lagged.get_or_init(|| next);
        Offer::Ended
    }
}
