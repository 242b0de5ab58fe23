//! What all parts of the simulation share: time, the queue of events, random streams, and the network.

use std::sync::Arc;
use std::time::Duration;

use model::action::{Action, Outcome};
use model::chance::Stream;
use model::identity::{ActionId, Epoch};
use model::input::{Exit, Input, Report};
use model::memory::Memory;
use model::time::{Now, Time, Wall};

use crate::effect::Effect;
use crate::fault::{Fault, Faults};
use crate::queue::Queue;

/// The delay of a message between the loop and the agent without faults: within one process, or within one data center.
const NETWORK_DELAY: Duration = Duration::from_millis(1);

/// The longest delay of a late message: longer than an inventory interval, so that an inventory may be overtaken by the next.
const LATE_DELAY_MAX: Duration = Duration::from_secs(15);

/// Time, the queue of events, random streams, and the network.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) now: Time,
    pub(crate) queue: Queue<SimEvent>,
    pub(crate) faults: Faults,
    pub(crate) effects: Vec<Effect>,
    pub(crate) random: RandomStreams,
    /// When the latest message of the agent arrives; later ones do not overtake it.
    last_arrival: Time,
    /// The run that the agent reports to.
    pub(crate) session: Option<Epoch>,
    /// Grows with each change of the faults: faults that were scheduled before are dropped.
    pub(crate) faults_revision: u32,
}

/// The random streams, one for each purpose.
#[derive(Debug)]
pub(crate) struct RandomStreams {
    pub(crate) network: Stream,
    pub(crate) agent: Stream,
    pub(crate) lives: Stream,
    pub(crate) strikes: Stream,
    pub(crate) orchestrator: Stream,
    pub(crate) disk: Stream,
}

/// An event of the simulation.
#[derive(Debug)]
pub(crate) enum SimEvent {
    /// The agent counts, measures and reports.
    Tick,
    /// An action reaches the agent.
    ToAgent(Action),
    /// An input reaches the loop of this epoch.
    ToLoop { epoch: Epoch, input: Input },
    /// Something happens to a life.
    InLife { key: LifeKey, event: LifeEvent },
    /// A write reaches the disk.
    Written { action: ActionId, memory: Arc<Memory> },
    /// A fault strikes, unless the faults_revision has changed.
    Strike { fault: Fault, faults_revision: u32 },
    /// The orchestrator restarts.
    OrchestratorBegins,
    /// An orchestrator of an earlier epoch continues where it was.
    ZombieWakes,
}

/// Identifies a life of a replica.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LifeKey {
    pub(crate) site: usize,
    pub(crate) place: usize,
    pub(crate) serial: u64,
}

/// What happens to a life.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LifeEvent {
    /// Its program runs.
    Exec,
    /// It has begun its work.
    Ready,
    /// The agent probes it.
    Probe,
    /// It answers again, and is ready again.
    Recovers,
    /// It ends by itself.
    Ends(Exit),
    /// It ends because of its stop signal.
    Obeys,
    /// Its grace is over.
    Killed,
}

impl Environment {
    pub(crate) fn new(seed: u64, start: Time) -> Self {
        let stream = |name| Stream::named(seed, name);
        Self {
            now: start,
            queue: Queue::new(),
            faults: Faults::default(),
            effects: Vec::new(),
            random: RandomStreams {
                network: stream("wires"),
                agent: stream("agent"),
                lives: stream("lives"),
                strikes: stream("strikes"),
                // Streams grow from their names; another name would change recorded runs.
                orchestrator: stream("keeper"),
                disk: stream("disk"),
            },
            last_arrival: start,
            session: None,
            faults_revision: 0,
        }
    }

    /// Both clocks as the orchestrator reads them.
    pub(crate) fn clock(&self, wall_ahead_ms: i64) -> Now {
        let wall = self.now.as_millis().saturating_add_signed(wall_ahead_ms);
        Now { time: self.now, wall: Wall::from_millis(wall) }
    }

    /// Schedules an event `span` from now.
    pub(crate) fn after(&mut self, span: Duration, event: SimEvent) {
        self.queue.put(self.now + span, event);
    }

    /// Sends an action to the agent, independently of others: a later one may overtake it, and a duplicate may arrive much later.
    pub(crate) fn send(&mut self, action: Action) {
        let [first, second] = self.fate();
        if let Some(delay) = second {
            self.after(delay, SimEvent::ToAgent(action.clone()));
        }
        if let Some(delay) = first {
            self.after(delay, SimEvent::ToAgent(action));
        }
    }

    /// Reports the outcome of an action to the loop that has sent it.
    pub(crate) fn reply(&mut self, action: ActionId, outcome: Outcome) {
        self.send_to_loop(action.epoch, Input::Ended { action, outcome });
    }

    /// Reports to the run that the agent is connected to; to nobody while there is none.
    pub(crate) fn report(&mut self, report: Report) {
        if let Some(epoch) = self.session {
            self.send_to_loop(epoch, Input::Report(report));
        }
    }

    /// Reports of the agent arrive in order, over one connection: a late one delays those after it, and a duplicate arrives at once.
    fn send_to_loop(&mut self, epoch: Epoch, input: Input) {
        let [first, second] = self.fate();
        let Some(delay) = first else { return };
        let at = (self.now + delay).max(self.last_arrival);
        self.last_arrival = at;
        if second.is_some() {
            self.queue.put(at, SimEvent::ToLoop { epoch, input: input.clone() });
        }
        self.queue.put(at, SimEvent::ToLoop { epoch, input });
    }

    /// The delay of each copy of a message; `None` for a copy that does not arrive.
    fn fate(&mut self) -> [Option<Duration>; 2] {
        let network = &mut self.random.network;
        if occurs(&self.faults, Fault::Lost, network) {
            return [None, None];
        }
        let delay = if occurs(&self.faults, Fault::Late, network) {
            network.span(NETWORK_DELAY, LATE_DELAY_MAX)
        } else {
            NETWORK_DELAY
        };
        let doubled = occurs(&self.faults, Fault::Doubled, network);
        [Some(delay), doubled.then(|| network.span(NETWORK_DELAY, LATE_DELAY_MAX))]
    }
}

/// Whether a fault occurs in an operation. One that is turned off draws no random number, so that turning it off changes little else.
pub(crate) fn occurs(faults: &Faults, fault: Fault, stream: &mut Stream) -> bool {
    let rate = u64::from(faults.rate(fault));
    rate > 0 && stream.happens(rate)
}
