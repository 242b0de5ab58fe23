//! How others talk to the loop.

use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use control::ControlLoop;
use model::event::EventKind;
use model::identity::{Epoch, ReplicaId};
use model::input::{Declared, Input, Intent};
use model::name::ServiceName;
use model::resource::{Kind, Resource};
use model::time::{Now, Wall};
use os::Clock;

use crate::event_log::{self, EventLog};
use crate::health::Health;
use crate::history::HistoryWriter;
use crate::intake::{Applied, ApplyError, Intake};
use crate::state_store::StoredResource;

/// A question to the loop, asked on its own thread.
pub(crate) type Look = Box<dyn FnOnce(&ControlLoop, Now) + Send>;

/// A message to the thread that owns the loop.
pub(crate) enum Message {
    /// An input of the loop.
    Input(Input),
    /// Routes, the services behind them, or sources of metrics may have changed in the store.
    KeptMayHaveChanged,
    /// A question to the loop.
    Look(Look),
    /// End the loop.
    Stop,
}

/// The loop has ended; nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("homeostat is stopping")]
pub struct Stopped;

/// Talks to the loop; cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) messages: SyncSender<Message>,
    /// Held for a whole change, until it is kept and the loop was told: both then hear of changes in the same order.
    pub(crate) turn: Mutex<()>,
    /// What is kept. Never locked while waiting for the loop, which locks it itself when it begins a run.
    pub(crate) intake: Mutex<Intake>,
    pub(crate) events: Arc<EventLog>,
    pub(crate) clock: Clock,
    pub(crate) health: Arc<Health>,
    pub(crate) journal: std::path::PathBuf,
    pub(crate) history: HistoryWriter,
    /// The thread of the loop, until it was joined.
    pub(crate) thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Input(input) => f.debug_tuple("Input").field(input).finish(),
            Self::KeptMayHaveChanged => f.write_str("KeptMayHaveChanged"),
            Self::Look(_) => f.write_str("Look"),
            Self::Stop => f.write_str("Stop"),
        }
    }
}

impl Handle {
    /// Checks `resources` with all that is kept, keeps them, all or nothing, and tells the loop. Blocks for a disk write.
    pub fn apply(&self, resources: &[Resource]) -> Result<Vec<Applied>, ApplyError> {
        let _turn = self.turn();
        let (applied, intents) = self.intake().apply(resources)?;
        self.tell_around()?;
        self.tell(intents)?;
        Ok(applied)
    }

    /// What [`Self::apply`] would change; keeps nothing.
    pub fn plan(&self, resources: &[Resource]) -> Result<Vec<Applied>, ApplyError> {
        self.intake().plan(resources)
    }

    /// What would be declared of every service that [`Self::apply`] would change; keeps nothing.
    pub fn declarations(&self, resources: &[Resource]) -> Result<Vec<Arc<Declared>>, ApplyError> {
        self.intake().declarations(resources)
    }

    /// Deletes a resource; the replicas of a deleted service are drained and stopped. Warns of other resources that lack it from then
    /// on. Blocks for a disk write.
    pub fn delete(&self, kind: Kind, name: &str) -> Result<Applied, ApplyError> {
        let _turn = self.turn();
        let (applied, intents) = self.intake().delete(kind, name)?;
        self.tell_around()?;
        self.tell(intents)?;
        Ok(applied)
    }

    /// Holds a service at a size, for a time or until released. Blocks for a disk write.
    pub fn hold(
        &self,
        service: &ServiceName,
        replicas: u32,
        lasting: Option<Duration>,
    ) -> Result<(), ApplyError> {
        let _turn = self.turn();
        let until = lasting.map(|span| self.inner.clock.time() + span);
        let intent = self.intake().hold(service, replicas, until)?;
        Ok(self.tell(vec![intent])?)
    }

    /// Ends the hold on a service; harmless when there is none. Blocks for a disk write.
    pub fn release(&self, service: &ServiceName) -> Result<(), ApplyError> {
        let _turn = self.turn();
        let intent = self.intake().release(service)?;
        Ok(self.tell(vec![intent])?)
    }

    /// Pauses the autoscaler of a service, for a time or until resumed. Blocks for a disk write.
    pub fn pause(&self, service: &ServiceName, lasting: Option<Duration>) -> Result<(), ApplyError> {
        let _turn = self.turn();
        let until = lasting.map(|span| self.inner.clock.time() + span);
        let intent = self.intake().pause(service, until)?;
        Ok(self.tell(vec![intent])?)
    }

    /// Ends the pause of an autoscaler; harmless when there is none. Blocks for a disk write.
    pub fn resume(&self, service: &ServiceName) -> Result<(), ApplyError> {
        let _turn = self.turn();
        let intent = self.intake().resume(service)?;
        Ok(self.tell(vec![intent])?)
    }

    /// Protects the life of a replica that runs now from being removed when its service shrinks, for a time. Blocks for a disk write.
    ///
    /// Fails with [`ApplyError::NoSuchReplica`] when none runs, or it is on its way out already.
    pub fn protect(&self, replica: &ReplicaId, lasting: Duration) -> Result<(), ApplyError> {
        let _turn = self.turn();
        let whom = replica.clone();
        let life = self.look(move |control, _| {
            let place = control.knowledge().place(&whom.service, whom.ordinal)?;
            (place.is_occupied() && !place.is_leaving()).then_some(place.incarnation)
        })?;
        let incarnation = life.ok_or_else(|| ApplyError::NoSuchReplica(replica.clone()))?;
        let now = self.inner.clock.time();
        let intent = self.intake().protect(replica, incarnation, (now, now + lasting))?;
        Ok(self.tell(vec![intent])?)
    }

    /// Lets a replica be removed again; harmless when it is not protected. Blocks for a disk write.
    pub fn unprotect(&self, replica: &ReplicaId) -> Result<(), ApplyError> {
        let _turn = self.turn();
        let now = self.inner.clock.time();
        let intent = self.intake().unprotect(replica, now)?;
        Ok(self.tell(vec![intent])?)
    }

    /// All resources that are kept, by kind and name.
    pub fn resources(&self) -> Vec<StoredResource> {
        self.intake().resources().cloned().collect()
    }

    /// Runs `look` on the loop's own thread and waits for its answer. It should be quick: the loop waits meanwhile.
    pub fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&ControlLoop, Now) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (answer, asked) = std::sync::mpsc::sync_channel(1);
        let look = Box::new(move |control: &ControlLoop, now| drop(answer.send(look(control, now))));
        self.inner.messages.send(Message::Look(look)).map_err(|_| Stopped)?;
        asked.recv().map_err(|_| Stopped)
    }

    /// Hands an observation or an outcome to the loop.
    ///
    /// Dropped when the queue is full: the loop is level-triggered, and what matters is reported again.
    pub fn report(&self, input: Input) -> Result<(), Stopped> {
        match self.inner.messages.try_send(Message::Input(input)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => {
                tracing::warn!("input dropped, the loop's queue is full");
                Ok(())
            }
            Err(TrySendError::Disconnected(_)) => Err(Stopped),
        }
    }

    /// Records an event that does not come from the loop.
    pub fn record_event(&self, service: &ServiceName, kind: EventKind, message: String) {
        event_log::log(service, None, kind, &message);
        let recorded = self.inner.events.record(self.now().wall, service, kind, message);
        if let Err(error) = recorded {
            tracing::warn!(error = %error, "events_not_kept");
        }
        self.inner.events.notify_watchers();
    }

    /// The latest events, and notifications for watchers.
    pub fn events(&self) -> &EventLog {
        &self.inner.events
    }

    /// The folder of the journal.
    pub fn journal_folder(&self) -> &Path {
        &self.inner.journal
    }

    /// The latest `limit` of what was decided on `service` within `since` and `until`. Blocks for the disk.
    pub fn history(
        &self,
        service: &ServiceName,
        within: (Wall, Wall),
        limit: usize,
    ) -> Result<journal::Past, std::io::Error> {
        self.inner.history.read(service, within, limit)
    }

    /// Both clocks at this moment.
    pub fn now(&self) -> Now {
        self.inner.clock.now()
    }

    /// Whether the loop steers: it has begun, has seen what runs, and its journal takes what it writes.
    pub fn is_ready(&self) -> bool {
        self.inner.health.is_ready()
    }

    /// Why the loop does not steer; `None` while it does.
    pub fn trouble(&self) -> Option<Arc<str>> {
        self.inner.health.trouble()
    }

    /// Ends the loop after its current step, waits for that, and lets the history be written. Replicas are left running.
    ///
    /// Returns the epoch of the loop, in which later orders have to be given: one of an older epoch is refused.
    pub fn stop(&self) -> Epoch {
        drop(self.inner.messages.send(Message::Stop));
        let thread = self.inner.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("loop_panicked");
        }
        self.inner.history.flush();
        self.inner.events.epoch()
    }

    /// Tells the loop all of what was just kept, however long its queue is.
    fn tell(&self, intents: Vec<Intent>) -> Result<(), Stopped> {
        for intent in intents {
            self.inner.messages.send(Message::Input(Input::Intent(intent))).map_err(|_| Stopped)?;
        }
        Ok(())
    }

    /// Lets routes and sources be ordered anew. Called before [`Self::tell`], so that an address that a route gives up is free for the
    /// service that takes it.
    fn tell_around(&self) -> Result<(), Stopped> {
        self.inner.messages.send(Message::KeptMayHaveChanged).map_err(|_| Stopped)
    }

    /// A turn guards no data, so a panic while it was held does no harm.
    fn turn(&self) -> MutexGuard<'_, ()> {
        self.inner.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept changes only after its write was acknowledged, so a panic while it was locked does no harm.
    pub(crate) fn intake(&self) -> MutexGuard<'_, Intake> {
        self.inner.intake.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{channel, sync_channel};
    use std::thread;

    use model::time::Time;
    use store::memory::MemoryStore;

    use super::*;
    use crate::state_store::StateStore;

    /// No wait of a test is meant to last so long: it is there to fail instead of hanging.
    const DEADLINE: Duration = Duration::from_secs(30);

    fn services(count: usize) -> Vec<Resource> {
        let of = |n| {
            let written = r#"{"apiVersion":"homeostat/v1","kind":"Service","metadata":{"name":"NAME"},"spec":{"run":{"command":["true"]}}}"#;
            serde_json::from_str(&written.replace("NAME", &format!("s{n}"))).unwrap()
        };
        (0..count).map(of).collect()
    }

    #[test]
    fn while_an_apply_waits_for_the_loop_what_is_kept_can_be_read() {
        let (messages, inbox) = sync_channel(0);
        let folder = tempfile::tempdir().unwrap();
        let intake = Intake::open(StateStore::new(Arc::new(MemoryStore::default()))).unwrap();
        let inner = Inner {
            messages,
            turn: Mutex::new(()),
            intake: Mutex::new(intake),
            events: Arc::new(EventLog::open(folder.path()).unwrap()),
            clock: Clock::continued_after(Time::ZERO),
            health: Arc::default(),
            journal: "unused".into(),
            history: HistoryWriter::start(&crate::HistoryConfig::in_folder("unused".into())).unwrap(),
            thread: Mutex::default(),
        };
        let handle = Handle { inner: Arc::new(inner) };
        let applier = handle.clone();
        let apply = thread::spawn(move || applier.apply(&services(200)).unwrap().len());
        // As the loop does when it begins a run, and takes no message meanwhile.
        let (seen, sees) = channel();
        thread::spawn(move || {
            while handle.resources().is_empty() {
                thread::yield_now();
            }
            seen.send(handle.resources().len())
        });
        assert_eq!(sees.recv_timeout(DEADLINE), Ok(200), "a whole folder is kept at once");
        assert_eq!(inbox.iter().take(201).count(), 201, "each service, and once that there may be routes");
        assert_eq!(apply.join().unwrap(), 200);
    }
}
