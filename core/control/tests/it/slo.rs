//! Services with an SLO, through the whole loop.

use std::collections::BTreeMap;
use std::time::Duration;

use knowledge::capacity::{CapacityBasis, LearnedCapacity, estimate};
use model::chance::Stream;
use model::decision::Decision;
use model::identity::{Generation, Incarnation};
use model::input::{Declared, Demand, Input, Report, Traffic};
use model::latency::{LATENCY_CLASSES, Latencies};
use model::memory::PolicyHistory;
use model::quantity::MilliRps;
use model::resource::{
    AutoScale, Count, Factor, Fraction, LEARNED_VERSION, LatencySlo, LearnedPrice, ObjectName,
    PriceSensitivity, Quantity, ScalePolicy, Shadow, Slo, Span,
};

use crate::bench::{READY, fixed, name};
use crate::world::{UNREADY, World, id, observed};

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn slo(capacity: Option<i64>) -> Slo {
    Slo {
        latency: LatencySlo { quantile: Fraction::from_millionths(990_000), below: Span::from_millis(200) },
        objective: Fraction::from_millionths(999_000),
        capacity: capacity.and_then(Quantity::from_units),
        learned: None,
    }
}

/// A service of 2 to 20 replicas with this SLO.
pub(crate) fn with_slo(revision: u64, generation: u64, slo: Slo) -> Declared {
    let mut declared = fixed("shop", revision, 2);
    declared.generation = Generation(generation);
    let policy = ScalePolicy::Slo(slo);
    let auto = AutoScale { min: 2, max: 20, metrics: Vec::new(), policy, behavior: None };
    declared.autoscaler = Some(auto.to_spec(&declared.name).expect("an autoscaler with an SLO"));
    declared.spec.scale.count = Count::Auto(auto);
    declared
}

/// The counters of the proxy for one life of a replica.
#[derive(Clone, Default)]
struct Counted {
    requests: u64,
    answered: [u64; LATENCY_CLASSES],
    waiting: f64,
}

/// A service in a world whose replicas are equally fast.
#[derive(Clone)]
pub(crate) struct Shop {
    pub(crate) world: World,
    /// All requests so far.
    arrived: f64,
    counted: BTreeMap<(String, u32), Counted>,
    /// The source of random errors of the latency of each replica and second, a fifth at most; `None` for no errors.
    pub(crate) noise: Option<Stream>,
    /// Reports that are delayed on their way to the loop; `None` while there is no delay.
    delayed: Option<Vec<Report>>,
    /// Requests a second that a replica carries within the SLO; it answers a tenth more at most.
    capacity: f64,
    /// Replica-seconds so far.
    pub(crate) cost: u32,
    pub(crate) requests: f64,
    pub(crate) late: f64,
}

impl Shop {
    pub(crate) fn new(declared: Declared) -> Self {
        let mut world = World::with([declared]);
        world.report_inventory([observed("shop-0", 1, READY), observed("shop-1", 1, READY)]);
        Self {
            world,
            arrived: 0.0,
            noise: None,
            delayed: None,
            counted: BTreeMap::new(),
            capacity: 40.0,
            cost: 0,
            requests: 0.0,
            late: 0.0,
        }
    }

    /// Lets a second pass in which this many requests arrive.
    pub(crate) fn second(&mut self, load: f64) {
        self.world.run_for(SECOND);
        self.arrived += load;
        let demand =
            Demand { service: name("shop"), requests: self.arrived as u64, waiting: 0, in_flight: 0 };
        self.report(Report::Demand(vec![demand]));
        let serving: Vec<(String, u32)> = self
            .world
            .service("shop")
            .places
            .iter()
            .filter(|(_, place)| place.is_serving())
            .map(|(ordinal, place)| (format!("shop-{}", ordinal.0), place.incarnation.0))
            .collect();
        self.cost += serving.len() as u32;
        let share = load / serving.len().max(1) as f64;
        for key in serving {
            self.work(&key, share);
        }
    }

    fn work(&mut self, key: &(String, u32), share: f64) {
        let most = self.capacity * 1.1;
        let counted = self.counted.entry(key.clone()).or_default();
        let demand = share + counted.waiting;
        let answered = demand.min(most);
        counted.waiting = demand - answered;
        // As in a queue: twice as long at half of the largest rate, and late above the capacity.
        let noise = self.noise.as_mut().map_or(1.0, |noise| 0.8 + noise.below(400) as f64 / 1000.0);
        let seconds =
            noise * if counted.waiting > 0.0 { 1.0 } else { (0.018 / (1.0 - answered / most)).min(1.0) };
        let class = model::latency::class_of(Duration::from_secs_f64(seconds), Duration::from_millis(200));
        counted.requests += answered as u64;
        counted.answered[class] += answered as u64;
        self.requests += answered;
        self.late += if seconds > 0.2 { answered } else { 0.0 };
        let (replica, incarnation) = (id(&key.0), Incarnation(key.1));
        let traffic = Traffic {
            service: replica.service.clone(),
            ordinal: replica.ordinal,
            incarnation,
            requests: counted.requests,
            errors: 0,
            in_flight: counted.waiting as u32,
            latency_p99: Duration::from_secs_f64(seconds),
        };
        let latencies = Latencies {
            service: replica.service,
            ordinal: replica.ordinal,
            incarnation,
            threshold: Duration::from_millis(200),
            failed: 0,
            answered: counted.answered,
        };
        self.report(Report::Traffic(vec![traffic]));
        self.report(Report::Latencies(vec![latencies]));
    }

    /// Reports to the loop, at once or after the delayed reports.
    fn report(&mut self, report: Report) {
        match &mut self.delayed {
            Some(delayed) => delayed.push(report),
            None => {
                self.world.put(&Input::Report(report));
            }
        }
    }

    /// Delivers all delayed reports at once.
    fn deliver_delayed(&mut self) {
        for report in self.delayed.take().into_iter().flatten() {
            self.world.put(&Input::Report(report));
        }
    }

    pub(crate) fn minutes(&mut self, minutes: u32, load: impl Fn(f64) -> f64) {
        for second in 0..minutes * 60 {
            self.second(load(f64::from(second) / f64::from(minutes * 60)));
        }
    }

    pub(crate) fn desired(&self) -> u32 {
        self.world.service("shop").desired.expect("decided")
    }

    pub(crate) fn learned(&self) -> Option<LearnedCapacity> {
        let service = self.world.service("shop");
        let declared = service.declared.as_ref()?;
        estimate(service.capacity.as_deref(), declared.generation, service.slo()?)
    }

    pub(crate) fn decision(&self) -> Decision {
        self.world.service("shop").decision.as_ref().expect("decided").decision()
    }
}

#[test]
fn until_the_capacity_is_known_the_number_stays_with_a_note() {
    let mut shop = Shop::new(with_slo(1, 1, slo(None)));
    shop.second(30.0);
    assert_eq!(shop.desired(), 2);
    let summary = shop.decision().summary;
    assert!(summary.contains("not known yet"), "{summary}");
}

#[test]
fn a_declared_capacity_is_used_until_one_is_learned() {
    let mut shop = Shop::new(with_slo(1, 1, slo(Some(25))));
    for _ in 0..8 {
        shop.second(40.0);
    }
    // Three tenths are kept free, as no rises were observed either.
    assert_eq!(shop.desired(), 3);
    let note = shop.decision().metrics[0].note.clone();
    assert!(note.contains("as declared, until more is known"), "{note}");
}

#[test]
fn a_replica_that_becomes_ready_again_is_no_slow_start() {
    let mut shop = Shop::new(with_slo(1, 1, slo(Some(40))));
    shop.minutes(10, |_| 30.0);
    shop.world.report_state("shop-0", UNREADY);
    shop.second(30.0);
    shop.world.report_state("shop-0", READY);
    shop.minutes(1, |_| 30.0);
    let rises = shop.world.service("shop").scaling.policy.history.rises().expect("it remembers rises");
    assert!(rises.start < SECOND, "{:?}", rises.start);
}

#[test]
fn an_slo_is_kept_through_a_rise_at_a_reasonable_cost() {
    let mut shop = Shop::new(with_slo(1, 1, slo(None)));
    // An hour of loads that rise to 60, so that rises are known.
    for _ in 0..3 {
        shop.minutes(10, |part| 30.0 + 30.0 * part);
        shop.minutes(10, |part| 60.0 - 30.0 * part);
    }
    (shop.cost, shop.requests, shop.late) = (0, 0.0, 0.0);
    shop.minutes(10, |part| 30.0 + 370.0 * part);
    shop.minutes(20, |_| 400.0);
    let late = shop.late / shop.requests;
    assert!(late < 0.001, "{late} of the requests were late");
    // Ten replicas carry it at their limit, and half as many while it rises: at least 300 replica-minutes.
    let minutes = shop.cost / 60;
    assert!(minutes < 400, "{minutes} replica-minutes");
    let learned = shop.learned().expect("its capacity was learned");
    assert!((28.0..=44.0).contains(&learned.rate.per_second()), "{learned:?}");
}

#[test]
fn the_learned_capacity_is_shown_with_its_range_and_its_windows() {
    let mut shop = Shop::new(with_slo(1, 1, slo(None)));
    for _ in 0..4 {
        shop.minutes(10, |part| 30.0 + 60.0 * part);
    }
    let decision = shop.decision();
    let (metric, learned) = (&decision.metrics[0], shop.learned().expect("its capacity was learned"));
    assert_eq!((&*metric.name, metric.proposal), ("http_requests_per_second", Some(shop.desired())));
    let note = format!("a replica carries {learned}");
    assert!(metric.note.contains(&note) && note.contains("windows of version 1"), "{}", metric.note);
    assert!(metric.note.contains("s of a start in"), "{}", metric.note);
}

#[test]
fn delayed_reports_do_not_teach_a_higher_rate() {
    let mut shop = Shop::new(with_slo(1, 1, slo(None)));
    for _ in 0..30 {
        (0..30).for_each(|_| shop.second(16.0));
        shop.delayed = Some(Vec::new());
        (0..10).for_each(|_| shop.second(16.0));
        shop.deliver_delayed();
    }
    // Always eight requests a second for each replica; ten seconds of reports came at once, as if there had been three times as many.
    let learned = shop.learned().expect("its capacity was learned");
    assert!((7.0..9.0).contains(&learned.lower.per_second()), "{learned:?}");
    assert!(learned.rate <= MilliRps(18_000), "{learned:?}");
}

#[test]
fn the_learned_capacity_survives_a_restart() {
    let mut shop = Shop::new(with_slo(1, 1, slo(None)));
    shop.minutes(20, |part| 30.0 + 60.0 * part);
    let (before, memory) = (shop.learned(), shop.world.service("shop").memory());
    let mut world = World::started();
    world.declare(with_slo(1, 1, slo(None)));
    world.restore(memory);
    world.report_inventory([observed("shop-0", 1, READY), observed("shop-1", 1, READY)]);
    shop.world = world;
    assert!(before.is_some());
    assert_eq!(shop.learned(), before);
}

#[test]
fn another_slo_is_learned_from_scratch_and_without_one_the_capacity_is_forgotten() {
    let mut shop = Shop::new(with_slo(1, 1, slo(None)));
    shop.minutes(20, |part| 30.0 + 60.0 * part);
    let mut other = slo(None);
    other.latency.quantile = Fraction::from_millionths(900_000);
    shop.world.declare(with_slo(2, 1, other));
    assert_eq!(shop.learned(), None);
    shop.world.declare(Declared { generation: Generation(1), ..fixed("shop", 3, 2) });
    assert_eq!(shop.world.service("shop").capacity, None);
}

#[test]
fn a_new_version_begins_with_most_of_the_capacity_of_the_one_before() {
    let mut shop = Shop::new(with_slo(1, 1, slo(None)));
    shop.minutes(20, |part| 30.0 + 60.0 * part);
    let before = shop.learned().expect("its capacity was learned");
    shop.world.declare(with_slo(2, 2, slo(None)));
    let after = shop.learned().expect("it begins with that of the version before");
    assert_eq!((after.basis, after.rate.0), (CapacityBasis::PreviousVersion, before.rate.0 / 100 * 80));
}

#[test]
fn a_misleading_capacity_stays_within_the_bounds_and_is_corrected() {
    let mut shop = Shop::new(with_slo(1, 1, slo(None)));
    for _ in 0..3 {
        shop.minutes(10, |part| 30.0 + 60.0 * part);
    }
    let before = shop.desired();
    // Every replica becomes slower and slower, so that more replicas do not help.
    for step in 1..30 {
        shop.capacity = 40.0 / f64::from(step);
        shop.minutes(1, |_| 60.0);
        assert!((2..=20).contains(&shop.desired()));
    }
    shop.capacity = 40.0;
    for _ in 0..9 {
        shop.minutes(10, |part| 30.0 + 60.0 * part);
    }
    assert!(shop.desired() <= before + 2, "{} after {before}: {:?}", shop.desired(), shop.learned());
    assert_eq!(name("shop"), shop.world.service("shop").name);
}

#[test]
fn a_learned_policy_in_a_shadow_decides_by_its_own_memory() {
    let times = |times: f64| Factor::try_from(times).expect("a factor");
    let leaning = |from, to| PriceSensitivity { factor: times(1.0), from: times(from), to: times(to) };
    let learned = LearnedPrice {
        version: LEARNED_VERSION,
        rises: times(0.001),
        forecast: times(1.0),
        level: leaning(0.1, 20.0),
        trend: leaning(0.01, 100.0),
        unrest: leaning(1.0, 100.0),
    };
    let tried = Slo { learned: Some(learned), ..slo(Some(40)) };
    let mut declared = with_slo(1, 1, slo(Some(40)));
    let (policy, name) = (Some(ScalePolicy::Slo(tried)), ObjectName::parse("learned").expect("a name"));
    let shadow = Shadow { name, policy, metrics: Vec::new(), behavior: None, min: None, max: None };
    declared.spec.scale.shadows = vec![shadow];
    let mut shop = Shop::new(declared);
    // Twice as many requests for a third of the time.
    for minute in 0..20 {
        shop.minutes(1, |_| if minute % 3 == 2 { 200.0 } else { 100.0 });
    }
    let service = shop.world.service("shop");
    let [shadow] = service.shadows.as_slice() else { panic!("one is tried: {:?}", service.shadows) };
    let PolicyHistory::Rises(rises) = &shadow.scaling.policy.history else {
        panic!("it remembers rises: {shadow:?}")
    };
    assert!(rises.error_budget.requests > 0, "it counts requests: {rises:?}");
    let acting = service.scaling.policy.history.rises().expect("the acting one remembers rises");
    assert!(acting.error_budget.requests > 0, "the acting one as well: {acting:?}");
    let (own, acting) = (shadow.own.replica_ms, shadow.acting.replica_ms);
    assert!(own > 0 && own <= acting, "fewer replicas for rises cost no more: {own} and {acting}");
}
