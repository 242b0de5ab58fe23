//! Random steps: what may happen in a world, in random order.

use std::time::Duration;

use model::action::{FailureKind, Outcome, Refusal};
use model::identity::{Generation, Incarnation, Ordinal, ReplicaId};
use model::input::{
    Declared, Demand, Exit, ExitStatus, Input, Intent, Observed, ReplicaState, Report, Traffic, Usage,
};
use model::latency::{LATENCY_CLASSES, Latencies};
use model::quantity::Bytes;
use model::resource::{
    Cron, Dependency, DependencyStage, Flaps, Quantity, Recover, Remove, Scale, Schedule, Sizes, Span,
    ToZero, Zone,
};
use proptest::prelude::*;

use crate::bench::{READY, autoscaled, fixed, name};
use crate::world::{World, failed, killed};

/// The services of the random worlds.
pub(crate) const SERVICES: [&str; 2] = ["shop", "db"];

/// One event in a random world.
#[derive(Clone, Debug)]
pub(crate) enum RandomStep {
    /// Time passes; the loop is woken at its deadlines.
    Advance(u64),
    /// Every pending action is carried out.
    CarryOut,
    /// One of the pending actions ends with this outcome.
    EndAction(usize, Outcome),
    /// A declaration, with its revision left to fill in.
    Declare {
        service: usize,
        replicas: u32,
        spread: Option<u32>,
        is_new: bool,
        recover: Recover,
        needs: bool,
    },
    Withdraw(usize),
    Hold(usize, u32, Option<u64>),
    Release(usize),
    Pause(usize, Option<u64>),
    /// The place with this index among those known is protected for this many milliseconds.
    Protect(usize, u64),
    /// The agent reports on the place with this index among those known.
    ReportState(usize, ReplicaState),
    /// The proxy and the agent report on the place with this index among those known.
    ReportMeasurements(usize, u64, u32),
    /// The node sends an inventory of the known replicas, leaving out every nth.
    ReportInventory(usize),
    /// A report that no agent or proxy would send.
    ReportAnything(Report),
    /// The loop is killed, and starts again from its stored memory.
    Restart,
}

/// The maximum of the guard: more than an ordinary step wants, and few enough to compare the knowledge before and after each input when a step
/// wants far too many.
const REPLICAS_MAX: u32 = 20;

/// A world with both services, in which random steps happen.
pub(crate) struct RandomRun {
    pub(crate) world: World,
    pub(crate) declared: Vec<Option<Declared>>,
    revision: u64,
}

impl RandomRun {
    pub(crate) fn new() -> Self {
        let mut world = World::started_with_max(REPLICAS_MAX);
        world.report_inventory([]);
        Self { world, declared: vec![None, None], revision: 0 }
    }

    /// Takes one step: a series of inputs, each passed to `put`, which may observe the world before and after.
    pub(crate) fn take(&mut self, step: &RandomStep, mut put: impl FnMut(&mut World, &Input)) {
        match step {
            RandomStep::Advance(ms) => {
                let end = self.world.now + Duration::from_millis(*ms);
                while let Some(due) = self.world.control.next_deadline().filter(|due| *due <= end) {
                    self.world.now = due.max(self.world.now);
                    put(&mut self.world, &Input::Woke);
                }
                self.world.now = end;
            }
            RandomStep::CarryOut => self.world.carry_out(),
            RandomStep::EndAction(which, outcome) => {
                if !self.world.pending.is_empty() {
                    let at = which % self.world.pending.len();
                    let action = self.world.pending.remove(at);
                    put(&mut self.world, &Input::Ended { action: action.id, outcome: outcome.clone() });
                }
            }
            RandomStep::Declare { .. } => {
                let (service, declared) = self.declaration(step);
                self.declared[service] = Some(declared.clone());
                put(&mut self.world, &Input::Intent(Intent::Declare(declared.into())));
            }
            RandomStep::Withdraw(service) => {
                self.declared[*service] = None;
                put(&mut self.world, &Input::Intent(Intent::Withdraw(name(SERVICES[*service]))));
            }
            RandomStep::Hold(service, replicas, until) => {
                let until = until.map(|ms| self.world.now + Duration::from_millis(ms));
                let (service, replicas) = (name(SERVICES[*service]), *replicas);
                put(&mut self.world, &Input::Intent(Intent::Hold { service, replicas, until }));
            }
            RandomStep::Release(service) => {
                put(&mut self.world, &Input::Intent(Intent::Release(name(SERVICES[*service]))));
            }
            RandomStep::Pause(service, until) => {
                let until = until.map(|ms| self.world.now + Duration::from_millis(ms));
                let service = name(SERVICES[*service]);
                put(&mut self.world, &Input::Intent(Intent::Pause { service, until }));
            }
            RandomStep::Protect(which, ms) => {
                if let Some(Observed { replica, incarnation, .. }) = self.known(*which) {
                    let until = self.world.now + Duration::from_millis(*ms);
                    put(&mut self.world, &Input::Intent(Intent::Protect { replica, incarnation, until }));
                }
            }
            RandomStep::ReportState(which, state) => {
                if let Some(observed) = self.known(*which) {
                    let observed = Observed { state: *state, ..observed };
                    put(&mut self.world, &Input::Report(Report::Replica(observed)));
                }
            }
            RandomStep::ReportMeasurements(which, amount, in_flight) => {
                if let Some(observed) = self.known(*which) {
                    for report in measurements(&observed, *amount, *in_flight) {
                        put(&mut self.world, &Input::Report(report));
                    }
                }
            }
            RandomStep::ReportInventory(without) => {
                let all: Vec<_> = (0..).map_while(|which| self.nth(which)).collect();
                let kept = all.into_iter().enumerate().filter(|(at, _)| at % (without + 2) != 0);
                let running = kept.map(|(_, observed)| observed);
                self.world.report_inventory(running.collect::<Vec<_>>());
            }
            RandomStep::ReportAnything(report) => put(&mut self.world, &Input::Report(report.clone())),
            RandomStep::Restart => self.restart(),
        }
    }

    fn declaration(&mut self, step: &RandomStep) -> (usize, Declared) {
        let RandomStep::Declare { service, replicas, spread, is_new, recover, needs } = step else {
            unreachable!("only called for declarations");
        };
        self.revision += 1;
        let text = SERVICES[*service];
        let mut declared = match spread {
            Some(spread) => autoscaled(text, (*replicas).max(1), (*replicas).max(1) + spread),
            None => fixed(text, 0, *replicas),
        };
        let before = self.declared[*service].as_ref().map(|before| before.generation);
        declared.generation = before.filter(|_| !is_new).unwrap_or(Generation(self.revision));
        declared.revision = Generation(self.revision);
        declared.spec.resources.cpu = Quantity::parse("100m").ok();
        declared.spec.recover = *recover;
        if replicas % 3 == 1 {
            let to_zero = Some(ToZero { after: Span::from_secs(10), wait: Span::from_secs(60) });
            declared.spec.scale = Scale { to_zero, ..Scale::fixed(*replicas) };
        }
        if replicas % 5 == 3 {
            declared.spec.scale.sizes = Some(Sizes::Odd);
        }
        declared.spec.scale.flaps =
            (replicas % 3 == 2).then_some(Flaps { most: 1, per: Span::from_secs(60) });
        declared.spec.scale.remove = match replicas % 5 {
            0 => Remove::HighestNumber,
            1 => Remove::LeastBusy,
            2 => Remove::Oldest,
            3 => Remove::Newest,
            _ => Remove::Cheapest("sessions".into()),
        };
        // The calendar time does not advance, so this window is always open.
        if replicas % 4 == 2 {
            let (cron, duration) =
                (Cron::parse("* * * * *").expect("it is a crontab time"), Span::from_secs(120));
            let mut always = Schedule::new(cron, Zone::default(), duration);
            (always.min, always.max) = (Some(1), Some(3));
            declared.spec.scale.schedule = vec![always];
        }
        if *needs && text == "shop" {
            declared.spec.depends_on = vec![Dependency { service: name("db"), when: DependencyStage::Ready }];
        }
        (*service, declared)
    }

    /// The place with this index, modulo the number of places.
    fn known(&self, which: usize) -> Option<Observed> {
        let count = (0..).map_while(|at| self.nth(at)).count();
        self.nth(which.checked_rem(count)?)
    }

    fn nth(&self, which: usize) -> Option<Observed> {
        let services = self.world.control.knowledge().services();
        let mut places =
            services.flat_map(|s| s.places.iter().map(|(ordinal, place)| (&s.name, *ordinal, place)));
        let (service, ordinal, place) = places.nth(which)?;
        Some(Observed {
            replica: ReplicaId { service: service.clone(), ordinal },
            incarnation: place.incarnation,
            generation: place.generation,
            state: READY,
        })
    }

    fn restart(&mut self) {
        let knowledge = self.world.control.knowledge();
        let memories: Vec<_> =
            knowledge.services().filter_map(|s| Some(s.remembered.clone()?.memory)).collect();
        let running: Vec<_> = (0..)
            .map_while(|which| self.nth(which))
            .filter(|o| {
                let place = knowledge.place(&o.replica.service, o.replica.ordinal);
                place.is_some_and(knowledge::Place::is_occupied)
            })
            .collect();
        self.world.start_run();
        for declared in self.declared.iter().flatten().cloned().collect::<Vec<_>>() {
            self.world.declare(declared);
        }
        for memory in memories {
            self.world.put(&Input::Remembered(memory));
        }
        self.world.report_inventory(running);
    }
}

fn measurements(observed: &Observed, amount: u64, in_flight: u32) -> [Report; 4] {
    let usage = Usage {
        replica: observed.replica.clone(),
        incarnation: observed.incarnation,
        cpu_time: Duration::from_millis(amount),
        memory: Bytes(amount),
        throttling: None,
    };
    let traffic = Traffic {
        service: observed.replica.service.clone(),
        ordinal: observed.replica.ordinal,
        incarnation: observed.incarnation,
        requests: amount,
        errors: amount / 50,
        in_flight,
        latency_p99: Duration::from_millis(5),
    };
    let service = observed.replica.service.clone();
    let demand = Demand { service, requests: amount, waiting: in_flight / 2, in_flight };
    let latencies = Latencies {
        service: observed.replica.service.clone(),
        ordinal: observed.replica.ordinal,
        incarnation: observed.incarnation,
        threshold: Duration::from_millis(200),
        failed: amount / 50,
        answered: [amount / 16; LATENCY_CLASSES],
    };
    [
        Report::Usage(vec![usage]),
        Report::Traffic(vec![traffic]),
        Report::Demand(vec![demand]),
        Report::Latencies(vec![latencies]),
    ]
}

/// Steps of a world whose node and proxy report only on what the loop has started.
pub(crate) fn consistent() -> impl Strategy<Value = RandomStep> {
    let service = 0..SERVICES.len();
    prop_oneof![
        6 => (1..40_000_u64).prop_map(RandomStep::Advance),
        6 => Just(RandomStep::CarryOut),
        4 => (any::<usize>(), outcome()).prop_map(|(which, outcome)| RandomStep::EndAction(which, outcome)),
        3 => declares(0..8_u32),
        1 => service.clone().prop_map(RandomStep::Withdraw),
        1 => (service.clone(), 0..9_u32, prop::option::of(0..90_000_u64))
            .prop_map(|(service, replicas, until)| RandomStep::Hold(service, replicas, until)),
        1 => service.clone().prop_map(RandomStep::Release),
        1 => (service, prop::option::of(0..90_000_u64))
            .prop_map(|(service, until)| RandomStep::Pause(service, until)),
        2 => (any::<usize>(), 0..90_000_u64).prop_map(|(which, ms)| RandomStep::Protect(which, ms)),
        6 => (any::<usize>(), state()).prop_map(|(which, state)| RandomStep::ReportState(which, state)),
        3 => (any::<usize>(), 0..100_000_u64, 0..3_u32)
            .prop_map(|(which, amount, in_flight)| RandomStep::ReportMeasurements(which, amount, in_flight)),
        1 => (0..6_usize).prop_map(RandomStep::ReportInventory),
        1 => Just(RandomStep::Restart),
    ]
}

/// Steps of a world that may report anything.
pub(crate) fn arbitrary() -> impl Strategy<Value = RandomStep> {
    prop_oneof![
        4 => consistent(),
        1 => declares(prop_oneof![0..40_u32, Just(2_000)]),
        1 => (0..SERVICES.len(), any::<u32>(), prop::option::of(0..90_000_u64))
            .prop_map(|(service, replicas, until)| RandomStep::Hold(service, replicas, until)),
        3 => report().prop_map(RandomStep::ReportAnything),
    ]
}

fn declares(replicas: impl Strategy<Value = u32>) -> impl Strategy<Value = RandomStep> {
    let spread = prop::option::of(0..6_u32);
    (0..SERVICES.len(), replicas, spread, any::<bool>(), recover(), any::<bool>()).prop_map(
        |(service, replicas, spread, is_new, recover, needs)| RandomStep::Declare {
            service,
            replicas,
            spread,
            is_new,
            recover,
            needs,
        },
    )
}

fn recover() -> impl Strategy<Value = Recover> {
    prop_oneof![
        Just(Recover::Reschedule),
        (1..3_u32).prop_map(|spares| Recover::Standby { spares }),
        Just(Recover::MostActive),
        Just(Recover::Random),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        6 => Just(Outcome::Applied),
        1 => Just(failed(FailureKind::Declaration)),
        1 => Just(failed(FailureKind::AddressInUse)),
        1 => Just(failed(FailureKind::Other)),
        1 => Just(Outcome::Refused(Refusal::OtherIncarnation)),
        2 => Just(Outcome::Unknown),
    ]
}

fn state() -> impl Strategy<Value = ReplicaState> {
    let status = prop_oneof![
        any::<i32>().prop_map(ExitStatus::Code),
        any::<i32>().prop_map(ExitStatus::Signal),
        Just(ExitStatus::Unknown),
    ];
    let exit = (status, any::<bool>(), any::<u64>()).prop_map(|(status, out_of_memory, ms)| {
        ReplicaState::Exited(Exit { status, out_of_memory, ran_for: Duration::from_millis(ms) })
    });
    prop_oneof![
        1 => Just(ReplicaState::Starting),
        5 => any::<(bool, bool)>().prop_map(|(ready, live)| ReplicaState::Running { ready, live }),
        1 => Just(ReplicaState::Stopping),
        2 => exit,
        2 => Just(ReplicaState::Exited(killed())),
    ]
}

/// A number that is small, or the largest.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![6 => 0..6_u32, 1 => Just(u32::MAX)]
}

fn report() -> impl Strategy<Value = Report> {
    let replica = || {
        (0..SERVICES.len(), number()).prop_map(|(service, ordinal)| ReplicaId {
            service: name(SERVICES[service]),
            ordinal: Ordinal(ordinal),
        })
    };
    let observed = || {
        (replica(), number(), 0..9_u64, state()).prop_map(|(replica, life, generation, state)| Observed {
            replica,
            incarnation: Incarnation(life),
            generation: Generation(generation),
            state,
        })
    };
    let amount = prop_oneof![0..1000_u64, Just(u64::MAX)];
    let inventory =
        (any::<u64>(), prop::collection::vec(observed(), 0..6)).prop_map(|(sequence, replicas)| {
            Report::Inventory {
                node: model::name::NodeName::parse("here").unwrap(),
                up_to: model::identity::ActionId { epoch: model::identity::Epoch(1), sequence },
                replicas,
            }
        });
    prop_oneof![
        3 => observed().prop_map(Report::Replica),
        1 => inventory,
        3 => (observed(), amount, number(), 0..3_usize).prop_map(|(observed, amount, in_flight, which)| {
            measurements(&observed, amount, in_flight)[which].clone()
        }),
    ]
}
