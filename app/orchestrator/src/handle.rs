//! The handle through which other threads use the loop.

use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use control::ControlLoop;
use model::event::EventKind;
use model::identity::{Epoch, Ordinal, ReplicaId};
use model::input::{Declared, Input, Intent};
use model::name::ServiceName;
use model::resource::{Kind, Resource, ResourceVersion};
use model::time::{Now, Wall};
use os::Clock;

use crate::event_log::{self, EventLog, OutsideEvent};
use crate::health::Health;
use crate::history::HistoryWriter;
use crate::registry::{Applied, ApplyError, Registry};
use crate::state_store::StoredResource;

/// Reads the state of the loop, on the thread of the loop.
pub(crate) type Query = Box<dyn FnOnce(&ControlLoop, Now) + Send>;

/// A message to the thread that owns the loop.
pub(crate) enum Message {
    /// An input of the loop.
    Input(Input),
    /// Versions of services, routes, the services behind them, or metric sources may have changed.
    ResourcesChanged,
    /// Record this event.
    Event(OutsideEvent),
    /// Run this query.
    Query(Query),
    /// End the loop.
    Stop,
}

/// The loop has ended, or is about to; nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Homeostat is stopping")]
pub struct Stopped;

/// A handle to the loop; cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) messages: SyncSender<Message>,
    /// Locked from the beginning of a change until it is stored and sent, so that the store and the loop see changes in the same order.
    pub(crate) change: Mutex<()>,
    /// Never locked while waiting for the loop, which locks it when it begins a run.
    pub(crate) registry: Mutex<Registry>,
    pub(crate) events: Arc<EventLog>,
    pub(crate) clock: Clock,
    pub(crate) health: Arc<Health>,
    pub(crate) journal: std::path::PathBuf,
    pub(crate) history: HistoryWriter,
    /// The thread of the loop, until it is joined.
    pub(crate) thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Input(input) => f.debug_tuple("Input").field(input).finish(),
            Self::ResourcesChanged => f.write_str("ResourcesChanged"),
            Self::Event(event) => f.debug_tuple("Event").field(event).finish(),
            Self::Query(_) => f.write_str("Query"),
            Self::Stop => f.write_str("Stop"),
        }
    }
}

impl Handle {
    /// Checks `resources` together with those declared, stores them, all or nothing, and informs the loop. Blocks for a disk write.
    ///
    /// A resource that would change must still be at the version that its manifest names, if it names one.
    pub fn apply(&self, resources: &[Resource]) -> Result<Vec<Applied>, ApplyError> {
        let _change = self.begin_change()?;
        let (applied, intents) = self.registry().apply(resources)?;
        self.notify_resources_changed()?;
        self.send(intents)?;
        Ok(applied)
    }

    /// Returns what [`Self::apply`] would change; stores nothing.
    pub fn plan(&self, resources: &[Resource]) -> Result<Vec<Applied>, ApplyError> {
        self.registry().plan(resources)
    }

    /// Returns those of `resources` that [`Self::apply`] would create or configure.
    pub fn changed(&self, resources: &[Resource]) -> Vec<Resource> {
        self.registry().changed(resources)
    }

    /// Returns the new declarations of all services that [`Self::apply`] would change; stores nothing.
    pub fn declarations(&self, resources: &[Resource]) -> Result<Vec<Arc<Declared>>, ApplyError> {
        self.registry().declarations(resources)
    }

    /// Deletes a resource; the replicas of a deleted service are drained and stopped. Warns of resources that refer to it. Blocks for a
    /// disk write.
    ///
    /// The resource must still be at version `from`, if that is given; the same holds for the service in [`Self::hold`] and
    /// [`Self::release`].
    pub fn delete(
        &self,
        kind: Kind,
        name: &str,
        from: Option<ResourceVersion>,
    ) -> Result<Applied, ApplyError> {
        let _change = self.begin_change()?;
        let (applied, intents) = self.registry().delete(kind, name, from)?;
        self.notify_resources_changed()?;
        self.send(intents)?;
        Ok(applied)
    }

    /// Holds a service at a size, for a time or until released. Blocks for a disk write.
    pub fn hold(
        &self,
        service: &ServiceName,
        replicas: u32,
        duration: Option<Duration>,
        from: Option<ResourceVersion>,
    ) -> Result<(), ApplyError> {
        let _change = self.begin_change()?;
        let until = duration.map(|span| self.shared.clock.time() + span);
        let intent = self.registry().hold(service, replicas, until, from)?;
        Ok(self.send(vec![intent])?)
    }

    /// Ends the hold on a service; harmless when there is none. Blocks for a disk write.
    pub fn release(&self, service: &ServiceName, from: Option<ResourceVersion>) -> Result<(), ApplyError> {
        let _change = self.begin_change()?;
        let intent = self.registry().release(service, from)?;
        Ok(self.send(vec![intent])?)
    }

    /// Pauses the autoscaler of a service, for a time or until resumed. Blocks for a disk write.
    pub fn pause(&self, service: &ServiceName, duration: Option<Duration>) -> Result<(), ApplyError> {
        let _change = self.begin_change()?;
        let until = duration.map(|span| self.shared.clock.time() + span);
        let intent = self.registry().pause(service, until)?;
        Ok(self.send(vec![intent])?)
    }

    /// Ends the pause of an autoscaler; harmless when there is none. Blocks for a disk write.
    pub fn resume(&self, service: &ServiceName) -> Result<(), ApplyError> {
        let _change = self.begin_change()?;
        let intent = self.registry().resume(service)?;
        Ok(self.send(vec![intent])?)
    }

    /// Protects the current incarnation of a replica from being removed when its service scales in, for a time. Blocks for a disk write.
    ///
    /// Fails with [`ApplyError::NoSuchReplica`] when the replica does not run, or is being removed already.
    pub fn protect(&self, replica: &ReplicaId, duration: Duration) -> Result<(), ApplyError> {
        let _change = self.begin_change()?;
        let target = replica.clone();
        let life = self.query(move |control, _| {
            let place = control.knowledge().place(&target.service, target.ordinal)?;
            (place.is_occupied() && !place.is_leaving()).then_some(place.incarnation)
        })?;
        let incarnation = life.ok_or_else(|| ApplyError::NoSuchReplica(replica.clone()))?;
        let now = self.shared.clock.time();
        let intent = self.registry().protect(replica, incarnation, (now, now + duration))?;
        Ok(self.send(vec![intent])?)
    }

    /// Lets a replica be removed again; harmless when it is not protected. Blocks for a disk write.
    pub fn unprotect(&self, replica: &ReplicaId) -> Result<(), ApplyError> {
        let _change = self.begin_change()?;
        let now = self.shared.clock.time();
        let intent = self.registry().unprotect(replica, now)?;
        Ok(self.send(vec![intent])?)
    }

    /// All declared resources, by kind and name.
    pub fn resources(&self) -> Vec<StoredResource> {
        self.registry().resources().cloned().collect()
    }

    /// Runs `query` on the thread of the loop and waits for its result. The query must be short, since it blocks the loop.
    pub fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&ControlLoop, Now) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        let query = Box::new(move |control: &ControlLoop, now| drop(answer.send(query(control, now))));
        self.shared.messages.send(Message::Query(query)).map_err(|_| Stopped)?;
        answered.recv().map_err(|_| Stopped)
    }

    /// Sends an observation or an outcome to the loop.
    ///
    /// It is dropped when the queue is full: the loop is level-triggered, and current state is reported again.
    pub fn report(&self, input: Input) -> Result<(), Stopped> {
        match self.shared.messages.try_send(Message::Input(input)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => {
                tracing::warn!("input_dropped");
                Ok(())
            }
            Err(TrySendError::Disconnected(_)) => Err(Stopped),
        }
    }

    /// Records an event that does not come from the loop, about a service or one of its replicas. The loop writes it, so that the caller, which
    /// may run probes as well, does not wait for the disk.
    pub fn record_event(
        &self,
        service: &ServiceName,
        replica: Option<Ordinal>,
        kind: EventKind,
        message: String,
    ) {
        event_log::log(service, replica, kind, &message);
        let event = OutsideEvent { at: self.now().wall, service: service.clone(), replica, kind, message };
        match self.shared.messages.try_send(Message::Event(event)) {
            // The loop has ended, so nothing else writes.
            Err(TrySendError::Disconnected(Message::Event(event))) => {
                self.shared.events.record(event);
                self.shared.events.notify_watchers();
            }
            Err(error) => tracing::warn!(%error, "event_dropped"),
            Ok(()) => {}
        }
    }

    /// The latest events, and notifications for watchers.
    pub fn events(&self) -> &EventLog {
        &self.shared.events
    }

    /// The folder of the journal.
    pub fn journal_folder(&self) -> &Path {
        &self.shared.journal
    }

    /// The latest `limit` runs of decisions on `service` within a span of time. Blocks for reads from the disk.
    pub fn history(
        &self,
        service: &ServiceName,
        within: (Wall, Wall),
        limit: usize,
    ) -> Result<journal::DecisionHistory, std::io::Error> {
        self.shared.history.read(service, within, limit)
    }

    /// Both clocks at this moment.
    pub fn now(&self) -> Now {
        self.shared.clock.now()
    }

    /// Whether the loop controls the services: it has received the first inventory, and its journal can be written.
    pub fn is_ready(&self) -> bool {
        self.not_ready_reason().is_none()
    }

    /// Why the loop does not control the services; `None` while it does.
    pub fn not_ready_reason(&self) -> Option<Arc<str>> {
        self.shared.health.not_ready_reason(self.shared.clock.time())
    }

    /// Stops the loop after its current step, and waits for it and for the history to be written. Replicas keep running.
    ///
    /// A change in progress is completed; later ones are refused. Returns the epoch of the loop. Later orders must carry it: those of an
    /// older epoch are refused.
    pub fn stop(&self) -> Epoch {
        let change = self.lock_changes();
        self.shared.health.begin_stop();
        drop(change);
        drop(self.shared.messages.send(Message::Stop));
        let thread = self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("loop_panicked");
        }
        self.shared.history.flush();
        // They see that there is nothing more to watch.
        self.shared.events.notify_watchers();
        self.shared.events.epoch()
    }

    /// Sends intents to the loop after they were stored. Waits while its queue is full.
    fn send(&self, intents: Vec<Intent>) -> Result<(), Stopped> {
        for intent in intents {
            self.shared.messages.send(Message::Input(Input::Intent(intent))).map_err(|_| Stopped)?;
        }
        Ok(())
    }

    /// Makes the engine send versions, routes and metric sources again. Called before [`Self::send`], so that an address released by a route is free
    /// for the service that claims it.
    fn notify_resources_changed(&self) -> Result<(), Stopped> {
        self.shared.messages.send(Message::ResourcesChanged).map_err(|_| Stopped)
    }

    /// Begins a change, of which nothing may be stored once the loop is stopping: its sender would be told that it failed.
    fn begin_change(&self) -> Result<MutexGuard<'_, ()>, Stopped> {
        let change = self.lock_changes();
        if self.shared.health.is_stopping() { Err(Stopped) } else { Ok(change) }
    }

    /// The lock guards no data, so a panic while it was held does no harm.
    fn lock_changes(&self) -> MutexGuard<'_, ()> {
        self.shared.change.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The registry changes only after its write was acknowledged, so a panic while it was locked does no harm.
    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.shared.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, channel, sync_channel};
    use std::thread;

    use model::time::Time;
    use store::memory::MemoryStore;
    use tempfile::TempDir;

    use super::*;
    use crate::state_store::StateStore;

    /// Much longer than any wait should take: the test fails instead of hanging.
    const DEADLINE: Duration = Duration::from_secs(30);

    fn services(count: usize) -> Vec<Resource> {
        let of = |n| {
            let written = r#"{"apiVersion":"homeostat/v1","kind":"Service","metadata":{"name":"NAME"},"spec":{"run":{"command":["true"]}}}"#;
            serde_json::from_str(&written.replace("NAME", &format!("s{n}"))).unwrap()
        };
        (0..count).map(of).collect()
    }

    /// A handle whose messages nobody receives but the test, which waits for each.
    fn handle_without_loop() -> (Handle, Receiver<Message>, TempDir) {
        let (messages, inbox) = sync_channel(0);
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(StateStore::new(Arc::new(MemoryStore::default()))).unwrap();
        let shared = Shared {
            messages,
            change: Mutex::new(()),
            registry: Mutex::new(registry),
            events: Arc::new(EventLog::open(folder.path()).unwrap()),
            clock: Clock::continued_after(Time::ZERO),
            health: Arc::default(),
            journal: "unused".into(),
            history: HistoryWriter::start(&crate::HistoryConfig::in_folder("unused".into())).unwrap(),
            thread: Mutex::default(),
        };
        (Handle { shared: Arc::new(shared) }, inbox, folder)
    }

    #[test]
    fn a_loop_that_stops_is_not_ready_and_no_change_is_stored() {
        let (handle, inbox, _folder) = handle_without_loop();
        drop(inbox);
        handle.stop();
        assert_eq!(handle.not_ready_reason().as_deref(), Some("Homeostat is stopping"));
        assert!(matches!(handle.apply(&services(1)), Err(ApplyError::Stopped(Stopped))));
        assert_eq!(handle.resources(), []);
    }

    #[test]
    fn resources_can_be_read_while_an_apply_waits_for_the_loop() {
        let (handle, inbox, _folder) = handle_without_loop();
        let applier = handle.clone();
        let apply = thread::spawn(move || applier.apply(&services(200)).unwrap().len());
        // As the loop does when it begins a run, during which it receives no messages.
        let (seen, count) = channel();
        thread::spawn(move || {
            while handle.resources().is_empty() {
                thread::yield_now();
            }
            seen.send(handle.resources().len())
        });
        assert_eq!(count.recv_timeout(DEADLINE), Ok(200), "all resources become visible at once");
        assert_eq!(
            inbox.iter().take(201).count(),
            201,
            "one intent for each service, and one ResourcesChanged"
        );
        assert_eq!(apply.join().unwrap(), 200);
    }
}
