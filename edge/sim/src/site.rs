//! One service on the node: its places, its listener, its load.

use std::time::Duration;

use model::identity::{ActionId, Generation};
use model::measure::{MetricKey, MetricSubject};
use model::name::ServiceName;
use model::time::Time;

use crate::life::Life;
use crate::load::Load;
use crate::program::Program;

/// What a source of the simulated world measures: requests a second that are asked for, whoever answers them.
pub const ASKED_METRIC: &str = "asked_per_second";

/// One service on the node, as it truly is.
#[derive(Debug)]
pub struct Site {
    /// Its name.
    pub name: ServiceName,
    /// The latest life of each place, by number; a place that was never filled has none.
    pub lives: Vec<Option<Life>>,
    /// What is asked of it.
    pub load: Load,
    /// The revision of the declaration that the proxy listens for; `None` while it does not listen.
    pub exposed: Option<Generation>,
    /// How long requests wait for a replica of it; `None` where it never rests, and they find one at once or never.
    pub(crate) wait: Option<Duration>,
    /// The latency that it promises, as far as it listens.
    pub(crate) promised: Option<Duration>,
    /// Whether it is told what is asked of it as a whole.
    pub(crate) tells_demand: bool,
    /// What a source measures of it, if one does: what is asked of it, as the metric [`ASKED_METRIC`] of the object with its name.
    pub(crate) measured_as: Option<MetricKey>,
    /// What became of its requests.
    pub tally: Tally,
    /// The latest action that told the proxy to listen or to stop.
    pub(crate) exposed_by: ActionId,
    pub(crate) programs: Vec<(Generation, Program)>,
    pub(crate) asked_milli: u64,
    pub(crate) unheard_milli: u64,
    pub(crate) unanswered_milli: u64,
    pub(crate) waiting_milli: u64,
    pub(crate) waiting_since: Time,
}

/// What became of the requests of a service, since the beginning of the world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that came to the proxy.
    pub asked: u64,
    /// Those that came while the proxy did not listen for the service, and are not among the ones asked.
    pub unheard: u64,
    /// Those that came while no replica could be asked.
    pub unanswered: u64,
    /// Those whose replica ended by itself before it answered.
    pub lost_in_crashes: u64,
    /// Those whose replica was stopped before it answered.
    pub cut_off: u64,
    /// Those that a replica turned away, because too many waited for it.
    pub refused: u64,
}

impl Site {
    pub(crate) fn new(name: ServiceName) -> Self {
        Self {
            name,
            lives: Vec::new(),
            load: Load::Constant(Default::default()),
            exposed: None,
            wait: None,
            promised: None,
            tells_demand: false,
            measured_as: None,
            tally: Tally::default(),
            exposed_by: ActionId::default(),
            programs: Vec::new(),
            asked_milli: 0,
            unheard_milli: 0,
            unanswered_milli: 0,
            waiting_milli: 0,
            waiting_since: Time::ZERO,
        }
    }

    /// Lets a source measure what is asked of it.
    pub(crate) fn set_source(&mut self) {
        let subject = MetricSubject::Object { kind: "Service".into(), name: self.name.as_str().into() };
        self.measured_as = Some(MetricKey { metric: ASKED_METRIC.into(), subject });
    }

    /// Its lives that run.
    pub fn alive(&self) -> impl Iterator<Item = &Life> {
        self.lives.iter().flatten().filter(|life| life.is_alive())
    }

    /// Sets how a generation of it behaves.
    pub(crate) fn set_program(&mut self, generation: Generation, program: Program) {
        self.programs.retain(|(other, _)| *other != generation);
        self.programs.push((generation, program));
    }

    /// How a generation of it behaves; as any small program does when nobody said.
    pub(crate) fn program(&self, generation: Generation) -> Program {
        let known = self.programs.iter().find(|(other, _)| *other == generation);
        known.map_or_else(Program::default, |(_, program)| program.clone())
    }

    /// Forgets ended lives that nobody can ask about any more.
    pub(crate) fn forget_ended(&mut self, now: Time, after: Duration) {
        use crate::life::LifeState::Ended;
        for place in &mut self.lives {
            if place
                .as_ref()
                .is_some_and(|life| matches!(life.state, Ended { at, .. } if now.since(at) > after))
            {
                *place = None;
            }
        }
    }
}
