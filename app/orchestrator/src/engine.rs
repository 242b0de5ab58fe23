//! The thread that owns the loop.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use control::{ControlLoop, Outbox};
use journal::{AppendError, ReadError, Segment, Writer, segments};
use model::action::{Action, ActionKind};
use model::event::EventKind;
use model::identity::Epoch;
use model::input::{Input, Report, Start};
use model::name::NodeName;
use model::settings::Settings;
use model::time::Time;
use os::Clock;
use store::Store;

use crate::event_log::{self, EventLog};
use crate::handle::{Handle, Message, Shared};
use crate::health::{Health, LoopState};
use crate::history::{HistoryConfig, HistoryWriter};
use crate::memory_writer::{self, MemoryWrite};
use crate::metric_sources::MetricSources;
use crate::registry::Registry;
use crate::replica_access::Versions;
use crate::routing::Routing;
use crate::start_error::StartError;
use crate::state_store::StateStore;

/// Capacity of the queue of messages to the loop.
///
/// 8192: four reports a second of each of 1,000 services for two seconds, which is longer than any step takes.
const MESSAGES_MAX: usize = 8192;

/// Most messages processed with one write to the disk, before the resulting actions are dispatched.
const BATCH_MAX: usize = 256;

/// Interval between attempts to begin a new journal segment while the disk cannot be written.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// What the loop needs from outside.
#[derive(Debug)]
pub struct Config {
    /// The store of intent and memory.
    pub store: Arc<dyn Store>,
    /// The folder of the journal; created when it does not exist.
    pub journal: PathBuf,
    /// The history of decisions.
    pub history: HistoryConfig,
    /// The node whose replicas the loop controls.
    pub node: NodeName,
    /// The latest epoch of which the node has accepted an action. It refuses earlier ones, which a store that was restored from a backup would begin.
    pub epoch_of_node: Epoch,
    /// The seed of every random stream.
    pub seed: u64,
    /// The settings of the loop.
    pub settings: Settings,
    /// Receives the orders in the sequence of their execution. An order that cannot be sent is lost; the loop repeats its actions.
    pub orders: Sender<Order>,
}

/// An order to the agent.
#[derive(Clone, Debug)]
pub enum Order {
    /// Execute this action and report its outcome.
    Act(Action),
    /// Report the inventory.
    Report,
    /// Reach and probe replicas as these versions declare.
    Versions(Arc<Versions>),
    /// Follow these routes, and no others.
    Route(Arc<Routing>),
    /// Scrape these sources of metrics, and no others.
    Measure(Arc<MetricSources>),
}

pub(crate) fn start(config: Config) -> Result<Handle, StartError> {
    let state_store = StateStore::new(Arc::clone(&config.store));
    let registry = Registry::open(state_store.clone())?;
    let clock = Clock::continued_after(last_journaled(&config)?);
    let (messages, inbox) = sync_channel(MESSAGES_MAX);
    let events = Arc::new(EventLog::open(&config.journal)?);
    let health = Arc::new(Health::default());
    let history = HistoryWriter::start(&config.history).map_err(StartError::Thread)?;
    let handle = Handle {
        shared: Arc::new(Shared {
            messages,
            change: Mutex::new(()),
            registry: Mutex::new(registry),
            events: Arc::clone(&events),
            clock,
            health: Arc::clone(&health),
            journal: config.journal.clone(),
            history: history.clone(),
            thread: Mutex::default(),
        }),
    };
    let memory_writes =
        memory_writer::start(state_store.clone(), handle.clone()).map_err(StartError::Thread)?;
    let journal = Writer::begin(&config.journal)?;
    let mut engine = Engine {
        control: ControlLoop::new(config.settings.clone()),
        out: Outbox::default(),
        handle: handle.clone(),
        journal,
        config,
        state_store,
        clock,
        events,
        health,
        memory_writes,
        history,
        folder_checked: Time::ZERO,
    };
    if let Err(error) = engine.begin_run() {
        engine.journal.abandon();
        return Err(error);
    }
    let thread = thread::Builder::new()
        .name("loop".into())
        .spawn(move || engine.run(&inbox))
        .map_err(StartError::Thread)?;
    *handle.shared.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    Ok(handle)
}

/// The time of the last record, from which the clock of the loop continues. A damaged segment is skipped and kept for analysis.
fn last_journaled(config: &Config) -> Result<Time, StartError> {
    let in_folder = |source| StartError::Folder { folder: config.journal.clone(), source };
    let mut last = Time::ZERO;
    for (_, path) in segments(&config.journal).map_err(in_folder)?.into_iter().rev() {
        match Segment::open(&path) {
            Ok(segment) => {
                for record in segment {
                    match record {
                        Ok(record) => last = last.max(record.now.time),
                        Err(error) => log_damage(&error),
                    }
                }
            }
            Err(error) => log_damage(&error),
        }
        // A crash may leave a segment without a readable record: then the one before it has the time.
        if last > Time::ZERO {
            break;
        }
    }
    Ok(last)
}

fn log_damage(error: &ReadError) {
    tracing::warn!(error = %error, "journal_segment_unreadable");
}

struct Engine {
    control: ControlLoop,
    out: Outbox,
    handle: Handle,
    journal: Writer,
    config: Config,
    state_store: StateStore,
    clock: Clock,
    events: Arc<EventLog>,
    health: Arc<Health>,
    memory_writes: Sender<MemoryWrite>,
    history: HistoryWriter,
    /// When the journal's folder was checked last.
    folder_checked: Time,
}

impl Engine {
    /// Begins a run from the state in the store: epoch, intents and memories. Then orders an inventory.
    ///
    /// A new segment begins a run the same way as a restart of the process, so that this path is exercised often.
    fn begin_run(&mut self) -> Result<(), StartError> {
        self.out.clear();
        // Everything is read before anything is written, so that no value of a newer homeostat is overwritten.
        let intents = self.handle.registry().intents();
        let (orders, memories) = (self.state_store.orders()?, self.state_store.memories()?);
        let epoch = self.state_store.next_epoch(self.config.epoch_of_node)?;
        self.events.begin_run(epoch);
        self.history.begin_run(epoch);
        let start = Start {
            epoch,
            node: self.config.node.clone(),
            seed: self.config.seed,
            settings: Arc::new(self.config.settings.clone()),
        };
        let inputs = std::iter::once(Input::Started(start))
            .chain(intents.into_iter().map(Input::Intent))
            .chain(orders.into_iter().map(Input::Intent))
            .chain(memories.into_iter().map(Input::Remembered));
        for input in inputs {
            self.step(&input)?;
        }
        self.journal.sync()?;
        self.journal.retire_oldest()?;
        // Declarations from the store are not new, so they cause no events.
        self.out.events.clear();
        self.order_resources();
        self.dispatch();
        self.send_order(Order::Report);
        Ok(())
    }

    fn run(&mut self, inbox: &Receiver<Message>) {
        let mut retry = None;
        while self.process_messages(inbox, &mut retry) {
            if self.journal.is_full() && retry.is_none() {
                self.restart(&mut retry);
            }
        }
        tracing::debug!("loop_ended");
    }

    /// Receives messages, steps the loop and dispatches the results. Returns false when the loop is to stop.
    ///
    /// While the journal cannot be written, inputs are dropped: intents are in the store, and everything else is reported again. `retry`
    /// is then the time of the next attempt.
    fn process_messages(&mut self, inbox: &Receiver<Message>, retry: &mut Option<Time>) -> bool {
        let now = self.clock.time();
        let due = retry.or(self.control.next_deadline());
        let wait = due.map_or(RETRY_INTERVAL, |due| due.since(now).min(RETRY_INTERVAL));
        let first = match inbox.recv_timeout(wait) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => Message::Input(Input::Woke),
            Err(RecvTimeoutError::Disconnected) => return false,
        };
        self.health.begin_round(self.clock.time());
        if retry.is_some_and(|at| self.clock.time() >= at) {
            self.restart(retry);
        }
        self.check_folder(retry);
        let mut queries = Vec::new();
        let mut continues = true;
        let mut result = Ok(());
        for message in std::iter::once(first).chain(inbox.try_iter().take(BATCH_MAX - 1)) {
            match message {
                Message::Input(input) if retry.is_none() => {
                    result = result.and_then(|()| self.step(&input));
                    if matches!(input, Input::Report(Report::Inventory { .. })) {
                        self.health.set(LoopState::Running);
                    }
                }
                Message::Input(_) => {}
                Message::ResourcesChanged => self.order_resources(),
                Message::Event(event) => self.events.record(event),
                Message::Query(query) => queries.push(query),
                Message::Stop => continues = false,
            }
        }
        let result = result.and_then(|()| {
            if self.out.actions.is_empty() { self.journal.flush() } else { self.journal.sync() }
        });
        match result {
            Ok(()) => self.dispatch(),
            Err(error) => self.suspend(&error, retry),
        }
        let now = self.clock.now();
        for query in queries {
            query(&self.control, now);
        }
        self.events.notify_watchers();
        continues
    }

    /// Steps the loop, and journals the input with the digest of its output.
    ///
    /// A report that is too long for the journal is dropped, as one that was lost: it must not suspend the loop, since it may be sent again.
    fn step(&mut self, input: &Input) -> Result<(), AppendError> {
        let encoded = match self.journal.encode(input) {
            Err(error) if matches!(input, Input::Report(_)) => {
                tracing::warn!(%error, "report_dropped");
                return Ok(());
            }
            encoded => encoded?,
        };
        let now = self.clock.now();
        let mut out = Outbox::default();
        self.control.step(now, input, &mut out);
        let digest = out.digest();
        self.out.actions.append(&mut out.actions);
        self.out.events.append(&mut out.events);
        self.out.decisions.append(&mut out.decisions);
        self.journal.append(now, &encoded, digest)
    }

    /// Sends the actions to their executors and the events to watchers. The inputs that caused them are already on the disk.
    fn dispatch(&mut self) {
        self.history.append(std::mem::take(&mut self.out.decisions));
        let actions = std::mem::take(&mut self.out.actions);
        for action in actions {
            match &action.kind {
                ActionKind::Remember(memory) => {
                    self.write_memory(MemoryWrite::Save(action.id, Arc::clone(memory)));
                }
                ActionKind::Start { .. }
                | ActionKind::Stop { .. }
                | ActionKind::Admit { .. }
                | ActionKind::Allot { .. }
                | ActionKind::Expose(_)
                | ActionKind::Conceal(_) => self.send_order(Order::Act(action)),
            }
        }
        let gone: Vec<_> = self.out.events.iter().filter(|event| event.kind == EventKind::Gone).collect();
        for event in gone {
            self.write_memory(MemoryWrite::Delete(event.service.clone()));
        }
        for event in &self.out.events {
            let replica = event.replica.map(|(ordinal, _)| ordinal);
            event_log::log(&event.service, replica, event.kind, &event.reason);
        }
        if let Err(error) = self.events.publish(&mut self.out.events) {
            tracing::warn!(error = %sentence(&error), "events_not_kept");
        }
    }

    /// Suspends the loop because the journal cannot be written: inputs that are not journaled must have no effect. Replicas and traffic
    /// continue.
    fn suspend(&mut self, error: &dyn std::error::Error, retry: &mut Option<Time>) {
        let why: Arc<str> = sentence(error).into();
        if retry.is_none() {
            tracing::error!(error = %why, "loop_suspended");
        }
        self.health.set(LoopState::Suspended(why));
        self.out.clear();
        *retry = Some(self.clock.time() + RETRY_INTERVAL);
    }

    /// Suspends the loop when the data folder is no longer at its path, where the next start would read it; checked every
    /// [`RETRY_INTERVAL`].
    fn check_folder(&mut self, retry: &mut Option<Time>) {
        let now = self.clock.time();
        if retry.is_some() || now.since(self.folder_checked) < RETRY_INTERVAL {
            return;
        }
        self.folder_checked = now;
        if let Err(error) = self.journal.check_folder() {
            self.suspend(&error, retry);
        }
    }

    /// Begins a new run in a new segment. Until one has begun, the last one stays to be read, without further inputs.
    fn restart(&mut self, retry: &mut Option<Time>) {
        // A journal in a new data folder would have no store that belongs to it.
        let begun = self.journal.check_data_folder().map_err(StartError::from);
        let begun = begun.and_then(|()| Ok(Writer::begin(&self.config.journal)?));
        let renewed = begun.and_then(|journal| {
            let control = ControlLoop::new(self.config.settings.clone());
            let last = (
                std::mem::replace(&mut self.journal, journal),
                std::mem::replace(&mut self.control, control),
            );
            self.begin_run().inspect_err(|_| {
                let (journal, control) = last;
                std::mem::replace(&mut self.journal, journal).abandon();
                self.control = control;
            })
        });
        match renewed {
            Ok(()) => {
                self.health.set(LoopState::Starting);
                *retry = None;
            }
            Err(error) => self.suspend(&error, retry),
        }
    }

    /// Sends versions, routes and metric sources to the agent. They bypass the loop, which makes no decisions about them, and so need no
    /// journal.
    ///
    /// Versions are first: a replica is then reached as its own version declares from the first route or action on.
    fn order_resources(&self) {
        let registry = self.handle.registry();
        let (versions, routing) = (registry.versions(), registry.routing());
        let metric_sources = registry.metric_sources();
        drop(registry);
        self.send_order(Order::Versions(Arc::new(versions)));
        self.send_order(Order::Route(Arc::new(routing)));
        self.send_order(Order::Measure(Arc::new(metric_sources)));
    }

    fn send_order(&self, order: Order) {
        if self.config.orders.send(order).is_err() {
            tracing::debug!("order_not_taken");
        }
    }

    fn write_memory(&self, write: MemoryWrite) {
        if self.memory_writes.send(write).is_err() {
            tracing::debug!("memory_writer_stopped");
        }
    }
}

/// An error with its causes as one sentence.
fn sentence(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |sentence, cause| format!("{sentence}: {cause}"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::mpsc::channel;

    use journal::SEGMENTS_MAX;
    use model::identity::{ActionId, Generation, Incarnation, Ordinal, ReplicaId};
    use model::input::{Observed, ReplicaState};
    use model::measure::{Labels, Measured, MeasurementResult, MetricKey, MetricSubject, Series};
    use model::name::ServiceName;
    use model::quantity::Milli;
    use store::memory::MemoryStore;

    use super::*;

    /// Much longer than any wait should take: the test fails instead of hanging.
    const DEADLINE: Duration = Duration::from_secs(30);

    /// A loop with its data in `folder` and the node whose replicas it controls; its orders are lost.
    fn started(folder: &Path) -> (Handle, NodeName) {
        let node = NodeName::parse("local").unwrap();
        let config = Config {
            store: Arc::new(MemoryStore::default()),
            journal: folder.join("journal"),
            history: HistoryConfig::in_folder(folder.join("history")),
            node: node.clone(),
            epoch_of_node: Epoch(0),
            seed: 1,
            settings: Settings::default(),
            orders: channel().0,
        };
        (start(config).unwrap(), node)
    }

    fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
        let clock = Clock::continued_after(Time::ZERO);
        let begun = clock.time();
        while !is_so() {
            assert!(clock.time().since(begun) < DEADLINE, "{what} did not come");
            // tidy: pause between looks
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_report_that_is_too_long_for_the_journal_does_not_suspend_the_loop() {
        let folder = tempfile::tempdir().unwrap();
        let (handle, node) = started(folder.path());
        let labels: Labels = [("page".into(), "x".repeat(17 << 20).into())].into();
        let measured = Measured {
            source: ServiceName::parse("shop").unwrap(),
            key: MetricKey { metric: "hits".into(), subject: MetricSubject::External },
            stale_after: Duration::from_secs(1),
            result: MeasurementResult::Series(vec![Series { labels, value: Milli(1) }]),
        };
        let up_to = ActionId::default();
        let inventory = Report::Inventory { node, up_to, replicas: Vec::new() };
        for report in [inventory, Report::Measured(vec![measured])] {
            handle.report(Input::Report(report)).unwrap();
        }
        // The answer comes after both reports were processed.
        handle.query(|_, _| ()).unwrap();
        assert_eq!(handle.not_ready_reason(), None);
        handle.stop();
    }

    #[test]
    fn a_damaged_journal_does_not_prevent_a_start() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal");
        fs::create_dir(&journal).unwrap();
        fs::write(journal.join("events"), "no events").unwrap();
        fs::write(journal.join("0000000001.journal"), "no journal").unwrap();
        fs::create_dir(journal.join("0000000002.journal")).unwrap();
        let (handle, _) = started(folder.path());
        handle.stop();
        assert_eq!(fs::read(journal.join("events.damaged")).unwrap(), b"no events");
        assert!(Segment::open(&journal.join("0000000003.journal")).unwrap().next().unwrap().is_ok());
    }

    #[test]
    fn an_event_from_outside_of_the_loop_does_not_wait_for_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let (handle, _) = started(folder.path());
        let shop = ServiceName::parse("shop").unwrap();
        let (report, reported) = channel();
        handle.events().while_locked(|| {
            let (handle, shop) = (handle.clone(), shop.clone());
            // On a thread of its own, so that one that waits fails this test.
            thread::spawn(move || {
                handle.record_event(&shop, None, EventKind::Ejected, "it was slow".to_owned());
                report.send(()).unwrap();
            });
            // As while events are written to a disk that hangs.
            reported.recv_timeout(DEADLINE).expect("it does not wait");
        });
        wait_until("the event", || handle.events().recent_events(Some(&shop), 1).len() == 1);
        handle.stop();
        handle.record_event(&shop, None, EventKind::Returned, "it is over".to_owned());
        assert_eq!(handle.events().recent_events(Some(&shop), 9).len(), 2, "also after the end of the loop");
    }

    #[test]
    fn a_run_that_cannot_begin_leaves_the_last_state_to_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let (data, elsewhere) = (folder.path().join("data"), folder.path().join("elsewhere"));
        let (handle, node) = started(&data);
        let service = ServiceName::parse("shop").unwrap();
        let (incarnation, generation) = (Incarnation(7), Generation(1));
        let state = ReplicaState::Running { ready: true, live: true };
        let replica = ReplicaId { service: service.clone(), ordinal: Ordinal(0) };
        let replicas = vec![Observed { replica, incarnation, generation, state }];
        let up_to = ActionId::default();
        handle.report(Input::Report(Report::Inventory { node, up_to, replicas })).unwrap();
        let running = || {
            let name = service.clone();
            let of_place = move |control: &ControlLoop, _| {
                control.knowledge().place(&name, Ordinal(0)).map(|place| place.incarnation)
            };
            handle.query(of_place).unwrap()
        };
        wait_until("the replica", || running() == Some(incarnation));

        // The oldest segment cannot be removed, which is the last thing that a new run does before it begins.
        let segment = |number: usize| data.join(format!("journal/{number:010}.journal"));
        fs::create_dir(segment(0)).unwrap();
        (2..=SEGMENTS_MAX).for_each(|number| fs::write(segment(number), "").unwrap());
        let is_why = |why: &str| handle.not_ready_reason().is_some_and(|reason| reason.contains(why));
        fs::rename(&data, &elsewhere).unwrap();
        wait_until("the loop is suspended", || is_why("was moved"));
        fs::rename(&elsewhere, &data).unwrap();
        wait_until("a run has failed to begin", || is_why("could not use the journal's folder"));
        assert_eq!(running(), Some(incarnation));

        fs::remove_dir(segment(0)).unwrap();
        wait_until("the next run", || is_why("the list of running replicas"));
        handle.stop();
    }
}
