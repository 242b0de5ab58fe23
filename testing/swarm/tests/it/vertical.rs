//! More than an hour of each vertical mode: what is learned, and what is resized.

use std::time::Duration;

use model::event::EventKind;
use model::identity::{Generation, Ordinal, ReplicaId};
use model::input::Intent;
use model::name::ServiceName;
use model::quantity::{Bytes, MilliRps};
use model::resource::{Quantity, Vertical, VerticalMode};
use model::settings::Settings;
use sim::{Faults, Load, Simulation, Turn};
use swarm::{Config, ServiceConfig, run};

/// Two replicas of a quarter of a core and no bound on memory, which use a tenth of a core and 64 MiB each.
fn shop(mode: VerticalMode) -> ServiceConfig {
    ServiceConfig {
        vertical: Some(Vertical { mode, ..Vertical::default() }),
        load: Load::Constant(MilliRps(20_000)),
        ..ServiceConfig::plain("shop")
    }
}

/// A service under observation.
struct Watch {
    sim: Simulation,
    /// How often a running replica was resized.
    changed: usize,
    /// How often a replica of the service was started.
    started: usize,
}

/// What a replica may use: thousandths of a core, and memory where that is bounded.
type Size = (i64, Option<i64>);

impl Watch {
    fn of(mode: VerticalMode) -> Self {
        let (shop, first) = (shop(mode), Generation(1));
        let mut sim = Simulation::new(1, Settings::default());
        sim.set_program(&shop.name, first, shop.program.clone());
        sim.order(Intent::Declare(shop.declared(first, first)));
        sim.set_load(&shop.name, shop.load.clone());
        Self { sim, changed: 0, started: 0 }
    }

    fn advance(mut self, span: Duration) -> Self {
        let end = self.sim.now() + span;
        loop {
            match self.sim.turn(end) {
                Turn::Over => return self,
                Turn::Stepped => {}
                Turn::Zombie { .. } | Turn::World => continue,
            }
            let events_of = |kind| self.sim.out().events.iter().filter(|event| event.kind == kind).count();
            self.changed += events_of(EventKind::Allotted);
            self.started += events_of(EventKind::Starting);
        }
    }

    /// Kills a replica, and waits until its place is filled again.
    fn replaced(mut self, ordinal: u32) -> Self {
        self.sim.kill(&replica(ordinal));
        self.advance(Duration::from_mins(1))
    }

    fn size(&self, ordinal: u32) -> Size {
        let life = self.sim.node().life(&replica(ordinal)).expect("its place is filled");
        let milli = |amount: Option<Quantity>| amount.map(Quantity::milli);
        (milli(life.resources.cpu).expect("it is declared"), milli(life.resources.memory))
    }

    /// Minutes of processor that were learned from.
    fn learned(&self) -> u64 {
        let control = self.sim.control().expect("it runs");
        control.knowledge().service(&name()).expect("it is declared").usage.samples
    }
}

fn name() -> ServiceName {
    ServiceName::parse("shop").expect("a valid name")
}

fn replica(ordinal: u32) -> ReplicaId {
    ReplicaId { service: name(), ordinal: Ordinal(ordinal) }
}

const HOUR: Duration = Duration::from_mins(62);
const AS_DECLARED: Size = (250, None);

/// Whether the size is what was used, and a margin of at most a third and a bucket.
fn is_as_used((cpu, memory): Size) -> bool {
    let most = |used: i64| used * 7 / 5;
    let Bytes(used) = shop(VerticalMode::Off).program.memory;
    let used = i64::try_from(used).expect("few") * 1000;
    (100..most(100)).contains(&cpu) && memory.is_some_and(|memory| (used..most(used)).contains(&memory))
}

#[test]
fn off_learns_nothing_and_changes_nothing_for_hours() {
    let watch = Watch::of(VerticalMode::Off).advance(2 * HOUR).replaced(0);
    assert_eq!((watch.learned(), watch.changed, watch.started), (0, 0, 3));
    assert_eq!([watch.size(0), watch.size(1)], [AS_DECLARED; 2]);
}

#[test]
fn recommend_learns_for_hours_and_changes_nothing() {
    let watch = Watch::of(VerticalMode::Recommend).advance(2 * HOUR).replaced(0);
    assert!(watch.learned() >= 200, "two replicas, a sample a minute: {}", watch.learned());
    assert_eq!((watch.changed, watch.started), (0, 3));
    assert_eq!([watch.size(0), watch.size(1)], [AS_DECLARED; 2]);
}

#[test]
fn initial_gives_what_was_learned_only_to_replicas_started_after_an_hour() {
    // Two replicas together give an hour of measurements within half an hour.
    let watch = Watch::of(VerticalMode::Initial).advance(HOUR / 4).replaced(0);
    assert_eq!(watch.size(0), AS_DECLARED, "a quarter of an hour is too little");
    let watch = watch.advance(HOUR).replaced(0);
    assert!(is_as_used(watch.size(0)), "{:?}", watch.size(0));
    let watch = watch.advance(HOUR);
    assert_eq!(watch.size(1), AS_DECLARED, "a running replica is not resized");
    assert_eq!((watch.changed, watch.started), (0, 4));
}

#[test]
fn auto_resizes_running_replicas_in_place_and_then_stops() {
    let watch = Watch::of(VerticalMode::Auto).advance(HOUR);
    assert!(is_as_used(watch.size(0)) && is_as_used(watch.size(1)), "{:?}", watch.size(0));
    assert_eq!(watch.started, 2, "no replica was replaced");
    let before = watch.changed;
    let watch = watch.advance(2 * HOUR).replaced(0);
    assert!(is_as_used(watch.size(0)), "{:?}", watch.size(0));
    assert!(watch.changed <= before + 2, "{before} changes in an hour, {} in three", watch.changed);
}

/// Two hours of each mode under every checker, with replicas that can be resized in place and with those that cannot.
#[test]
fn no_checker_fails_in_two_hours_of_any_mode() {
    let (off, recommend) = (VerticalMode::Off, VerticalMode::Recommend);
    for mode in [off, recommend, VerticalMode::Initial, VerticalMode::Auto] {
        for is_resizable in [true, false] {
            let mut service = shop(mode);
            service.program.is_resizable = is_resizable;
            let config = Config {
                seed: 1,
                span: 2 * HOUR,
                faults: Faults::default(),
                services: vec![service],
                is_one_process: false,
                has_operator: false,
            };
            assert_eq!(run(&config, None).failure, None, "{mode:?}, {is_resizable}");
        }
    }
}
