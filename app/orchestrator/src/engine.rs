//! The thread that owns the loop.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use control::{ControlLoop, Outbox};
use journal::{AppendError, EventFileError, OpenError, ReadError, Segment, Writer, segments};
use model::action::{Action, ActionKind};
use model::event::EventKind;
use model::input::{Input, Report, Start};
use model::name::NodeName;
use model::settings::Settings;
use model::time::Time;
use os::Clock;
use store::Store;

use crate::event_log::{self, EventLog};
use crate::handle::{Handle, Inner, Message};
use crate::health::{Health, Standing};
use crate::history::{HistoryConfig, HistoryWriter};
use crate::intake::Intake;
use crate::measuring::Measuring;
use crate::memory_writer::{self, MemoryWrite};
use crate::routing::Routing;
use crate::state_store::{StateStore, StateStoreError};

/// Messages that may wait for the loop.
///
/// 8192: four reports a second of each of 1,000 services for two seconds, which is longer than any step takes.
const MESSAGES_MAX: usize = 8192;

/// Messages taken before the actions that follow are handed out: one disk write serves them all.
const BATCH_MAX: usize = 256;

/// From one attempt to begin the journal anew to the next, when the disk does not take it.
const RETRY: Duration = Duration::from_secs(1);

/// Everything outside that the loop needs.
#[derive(Debug)]
pub struct Doors {
    /// Where intent and memory are kept.
    pub store: Arc<dyn Store>,
    /// The folder of the journal; made when it is not there.
    pub journal: PathBuf,
    /// Where and for how long decisions are kept.
    pub history: HistoryConfig,
    /// The node whose replicas the loop steers.
    pub node: NodeName,
    /// Where every random stream grows from.
    pub seed: u64,
    /// The numbers to decide by.
    pub settings: Settings,
    /// Takes the orders, in the order in which they are to be carried out. One that is not taken counts as lost: actions are told
    /// again.
    pub orders: Sender<Order>,
}

/// An order to the agent.
#[derive(Clone, Debug)]
pub enum Order {
    /// Do this, and report how it ended.
    Act(Action),
    /// Report everything there is.
    Report,
    /// Follow these routes, and no others.
    Route(Arc<Routing>),
    /// Ask these sources of metrics, and no others.
    Measure(Arc<Measuring>),
}

/// The loop could not be started; nothing was.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What is kept could not be read or written.
    #[error(transparent)]
    Store(#[from] StateStoreError),
    /// The journal could not be begun.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// The last segment could not be looked at.
    #[error("could not look at the journal in {folder}; check that it may be read")]
    Folder {
        /// Which folder.
        folder: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The events of earlier runs could not be read.
    #[error(transparent)]
    Events(#[from] EventFileError),
    /// The journal did not take the beginning.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// A thread could not be started.
    #[error("could not start a thread; is the limit on processes reached?")]
    Thread(#[source] std::io::Error),
}

pub(crate) fn start(doors: Doors) -> Result<Handle, StartError> {
    let state_store = StateStore::new(Arc::clone(&doors.store));
    let intake = Intake::open(state_store.clone())?;
    let clock = Clock::continued_after(last_journaled(&doors)?);
    let (messages, inbox) = sync_channel(MESSAGES_MAX);
    let events = Arc::new(EventLog::open(&doors.journal)?);
    let health = Arc::new(Health::default());
    let history = HistoryWriter::start(&doors.history).map_err(StartError::Thread)?;
    let handle = Handle {
        inner: Arc::new(Inner {
            messages,
            turn: Mutex::new(()),
            intake: Mutex::new(intake),
            events: Arc::clone(&events),
            clock,
            health: Arc::clone(&health),
            journal: doors.journal.clone(),
            history: history.clone(),
            thread: Mutex::default(),
        }),
    };
    let memory_writes =
        memory_writer::start(state_store.clone(), handle.clone()).map_err(StartError::Thread)?;
    let journal = Writer::begin(&doors.journal)?;
    let mut engine = Engine {
        control: ControlLoop::new(doors.settings.clone()),
        out: Outbox::default(),
        handle: handle.clone(),
        journal,
        doors,
        state_store,
        clock,
        events,
        health,
        memory_writes,
        history,
    };
    if let Err(error) = engine.begin_run() {
        engine.journal.abandon();
        return Err(error);
    }
    let thread = thread::Builder::new()
        .name("loop".into())
        .spawn(move || engine.run(&inbox))
        .map_err(StartError::Thread)?;
    *handle.inner.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    Ok(handle)
}

/// The time of the last record, from which the loop's clock goes on. A damaged segment is skipped, and left as evidence.
fn last_journaled(doors: &Doors) -> Result<Time, StartError> {
    let in_folder = |source| StartError::Folder { folder: doors.journal.clone(), source };
    let mut last = Time::ZERO;
    for (_, path) in segments(&doors.journal).map_err(in_folder)?.into_iter().rev() {
        match Segment::open(&path) {
            Ok(segment) => {
                for record in segment {
                    match record {
                        Ok(record) => last = last.max(record.now.time),
                        Err(error) => tell_damage(&error),
                    }
                }
            }
            Err(error) => tell_damage(&error),
        }
        // A crash may leave a segment without a readable record; the one before it then tells the time.
        if last > Time::ZERO {
            break;
        }
    }
    Ok(last)
}

fn tell_damage(error: &ReadError) {
    tracing::warn!(error = %error, "journal_segment_unreadable");
}

struct Engine {
    control: ControlLoop,
    out: Outbox,
    handle: Handle,
    journal: Writer,
    doors: Doors,
    state_store: StateStore,
    clock: Clock,
    events: Arc<EventLog>,
    health: Arc<Health>,
    memory_writes: Sender<MemoryWrite>,
    history: HistoryWriter,
}

impl Engine {
    /// Begins a run from what is kept: epoch, intent, memory; then asks what runs.
    ///
    /// A new segment begins a new run as a restart does: there is one way to begin, and it is used often.
    fn begin_run(&mut self) -> Result<(), StartError> {
        self.out.clear();
        // All is read before anything is written: what a newer homeostat has left is to stay as it is.
        let intents = self.handle.intake().intents();
        let (orders, memories) = (self.state_store.orders()?, self.state_store.memories()?);
        let epoch = self.state_store.next_epoch()?;
        self.events.begin_run(epoch);
        self.history.begin_run(epoch);
        let start = Start {
            epoch,
            node: self.doors.node.clone(),
            seed: self.doors.seed,
            settings: Arc::new(self.doors.settings.clone()),
        };
        let inputs = std::iter::once(Input::Started(start))
            .chain(intents.into_iter().map(Input::Intent))
            .chain(orders.into_iter().map(Input::Intent))
            .chain(memories.into_iter().map(Input::Remembered));
        for input in inputs {
            self.step(&input)?;
        }
        self.journal.flush()?;
        self.journal.retire_oldest()?;
        // Events of declarations that were kept are no news.
        self.out.events.clear();
        self.order_around();
        self.hand_out();
        self.order(Order::Report);
        Ok(())
    }

    fn run(&mut self, inbox: &Receiver<Message>) {
        let mut retry = None;
        while self.take(inbox, &mut retry) {
            if self.journal.is_full() && retry.is_none() {
                self.renew(&mut retry);
            }
        }
        tracing::debug!("loop_ended");
    }

    /// Takes what has come, steps the loop, and hands out what follows. Returns whether to go on.
    ///
    /// While the journal is in trouble, inputs are dropped: intent is kept in the store, and everything else is told again. `retry`
    /// then says when the journal is tried next.
    fn take(&mut self, inbox: &Receiver<Message>, retry: &mut Option<Time>) -> bool {
        let now = self.clock.time();
        let due = retry.or(self.control.next_deadline());
        let wait = due.map_or(RETRY, |due| due.since(now).min(RETRY));
        let first = match inbox.recv_timeout(wait) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => Message::Input(Input::Woke),
            Err(RecvTimeoutError::Disconnected) => return false,
        };
        if retry.is_some_and(|at| self.clock.time() >= at) {
            self.renew(retry);
        }
        let mut looks = Vec::new();
        let mut goes_on = true;
        let mut result = Ok(());
        for message in std::iter::once(first).chain(inbox.try_iter().take(BATCH_MAX - 1)) {
            match message {
                Message::Input(input) if retry.is_none() => {
                    result = result.and_then(|()| self.step(&input));
                    if matches!(input, Input::Report(Report::Inventory { .. })) {
                        self.health.set(Standing::Steering);
                    }
                }
                Message::Input(_) => {}
                Message::KeptMayHaveChanged => self.order_around(),
                Message::Look(look) => looks.push(look),
                Message::Stop => goes_on = false,
            }
        }
        let result = result.and_then(|()| {
            if self.out.actions.is_empty() { self.journal.hand_over() } else { self.journal.flush() }
        });
        match result {
            Ok(()) => self.hand_out(),
            Err(error) => self.falter(&error, retry),
        }
        let now = self.clock.now();
        for look in looks {
            look(&self.control, now);
        }
        self.events.notify_watchers();
        goes_on
    }

    /// Steps the loop, and appends the input with the digest of what came out.
    fn step(&mut self, input: &Input) -> Result<(), AppendError> {
        let now = self.clock.now();
        let mut out = Outbox::default();
        self.control.step(now, input, &mut out);
        let digest = out.digest();
        self.out.actions.append(&mut out.actions);
        self.out.events.append(&mut out.events);
        self.out.decisions.append(&mut out.decisions);
        self.journal.append(now, input, digest)
    }

    /// Hands the actions to those who do them, and the events to those who watch. What led to them is on disk.
    fn hand_out(&mut self) {
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
                | ActionKind::Conceal(_) => self.order(Order::Act(action)),
            }
        }
        let gone: Vec<_> = self.out.events.iter().filter(|event| event.kind == EventKind::Gone).collect();
        for event in gone {
            self.write_memory(MemoryWrite::Delete(event.service.clone()));
        }
        for event in &self.out.events {
            let replica = event.replica.map(|(ordinal, _)| ordinal.0);
            event_log::log(&event.service, replica, event.kind, &event.reason);
        }
        if let Err(error) = self.events.publish(&mut self.out.events) {
            tracing::warn!(error = %sentence(&error), "events_not_kept");
        }
    }

    /// Suspends the loop when the journal cannot be written: what is not journaled must have no effect. Replicas and traffic go on.
    fn falter(&mut self, error: &dyn std::error::Error, retry: &mut Option<Time>) {
        let why: Arc<str> = sentence(error).into();
        if retry.is_none() {
            tracing::error!(error = %why, "loop_suspended");
        }
        self.health.set(Standing::Troubled(why));
        self.out.clear();
        *retry = Some(self.clock.time() + RETRY);
    }

    /// Begins a new run in a new segment.
    fn renew(&mut self, retry: &mut Option<Time>) {
        let renewed = Writer::begin(&self.doors.journal).map_err(StartError::from).and_then(|journal| {
            let last = std::mem::replace(&mut self.journal, journal);
            self.begin_run().inspect_err(|_| std::mem::replace(&mut self.journal, last).abandon())
        });
        match renewed {
            Ok(()) => {
                self.health.set(Standing::Beginning);
                *retry = None;
            }
            Err(error) => self.falter(&error, retry),
        }
    }

    /// Orders the routes and the sources of metrics that are kept. They go around the loop, which decides nothing about them, and so
    /// need no journal.
    fn order_around(&self) {
        let intake = self.handle.intake();
        let (routing, measuring) = (intake.routing(), intake.measuring());
        drop(intake);
        self.order(Order::Route(Arc::new(routing)));
        self.order(Order::Measure(Arc::new(measuring)));
    }

    fn order(&self, order: Order) {
        if self.doors.orders.send(order).is_err() {
            tracing::debug!("order_not_taken");
        }
    }

    fn write_memory(&self, write: MemoryWrite) {
        if self.memory_writes.send(write).is_err() {
            tracing::debug!("memory_writer_stopped");
        }
    }
}

/// An error with its causes, in one sentence.
fn sentence(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |sentence, cause| format!("{sentence}: {cause}"))
}
