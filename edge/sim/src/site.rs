//! One service on the node: its places, its listener, its load.

use std::time::Duration;

use model::identity::{ActionId, Generation};
use model::measure::{MetricKey, MetricSubject};
use model::name::ServiceName;
use model::time::Time;

use crate::life::Life;
use crate::load::Load;
use crate::program::Program;

/// The metric that a source of the simulated world measures: requests per second offered to a service, answered or not.
pub const OFFERED_LOAD_METRIC: &str = "asked_per_second";

/// One service on the node, as it truly is.
#[derive(Debug)]
pub struct Site {
    /// Its name.
    pub name: ServiceName,
    /// The latest life of each place, by number; a place that was never filled has none.
    pub lives: Vec<Option<Life>>,
    /// The load offered to it.
    pub load: Load,
    /// The revision of the declaration that the proxy listens for; `None` while it does not listen.
    pub exposed: Option<Generation>,
    /// How long requests wait for a replica; `None` for a service that never scales to zero, whose requests do not wait.
    pub(crate) wait: Option<Duration>,
    /// The latency of its SLO, while it listens.
    pub(crate) slo_threshold: Option<Duration>,
    /// Whether the proxy reports the demand of the service as a whole.
    pub(crate) reports_demand: bool,
    /// The key of [`OFFERED_LOAD_METRIC`] of the object with its name, if a source measures it.
    pub(crate) measured_as: Option<MetricKey>,
    /// What became of its requests.
    pub tally: Tally,
    /// The latest action that opened or closed its listener.
    pub(crate) exposed_by: ActionId,
    pub(crate) programs: Vec<(Generation, Program)>,
    pub(crate) received_milli: u64,
    pub(crate) refused_connections_milli: u64,
    pub(crate) unanswered_milli: u64,
    pub(crate) waiting_milli: u64,
    pub(crate) waiting_since: Time,
}

/// The requests of a service since the beginning of the world, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Received by the proxy.
    pub received: u64,
    /// Arrived while the proxy did not listen for the service; not among the received ones.
    pub refused_connections: u64,
    /// Received while no replica was available.
    pub unanswered: u64,
    /// Lost because their replica ended by itself before it answered.
    pub lost_in_crashes: u64,
    /// Lost because their replica was stopped before it answered.
    pub cut_off: u64,
    /// Refused by a replica for which too many were waiting.
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
            slo_threshold: None,
            reports_demand: false,
            measured_as: None,
            tally: Tally::default(),
            exposed_by: ActionId::default(),
            programs: Vec::new(),
            received_milli: 0,
            refused_connections_milli: 0,
            unanswered_milli: 0,
            waiting_milli: 0,
            waiting_since: Time::ZERO,
        }
    }

    /// Lets a source measure the load offered to it.
    pub(crate) fn set_source(&mut self) {
        let subject = MetricSubject::Object { kind: "Service".into(), name: self.name.as_str().into() };
        self.measured_as = Some(MetricKey { metric: OFFERED_LOAD_METRIC.into(), subject });
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

    /// How a generation of it behaves; [`Program::default`] unless it was set.
    pub(crate) fn program(&self, generation: Generation) -> Program {
        let known = self.programs.iter().find(|(other, _)| *other == generation);
        known.map_or_else(Program::default, |(_, program)| program.clone())
    }

    /// Forgets lives that ended more than `after` ago.
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
