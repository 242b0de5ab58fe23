//! Services that are sized by their promise, through the whole loop.

use std::collections::BTreeMap;
use std::time::Duration;

use knowledge::capacity::{CapacityBasis, LearnedCapacity, estimate};
use model::chance::Stream;
use model::decision::Decision;
use model::identity::{Generation, Incarnation};
use model::input::{Declared, Demand, Input, Report, Traffic};
use model::latency::{LATENCY_CLASSES, Latencies};
use model::memory::Past;
use model::quantity::MilliRps;
use model::resource::{
    AutoScale, Count, Factor, Fraction, LEARNED_VERSION, LatencySlo, Leaning, LearnedPrice, ObjectName,
    Quantity, ScalePolicy, Shadow, Slo, Span,
};

use crate::bench::{READY, fixed, name};
use crate::world::{World, id, observed};

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn slo(capacity: Option<i64>) -> Slo {
    Slo {
        latency: LatencySlo { quantile: Fraction::from_millionths(990_000), below: Span::from_millis(200) },
        objective: Fraction::from_millionths(999_000),
        capacity: capacity.and_then(Quantity::from_units),
        learned: None,
    }
}

/// A service of 2 to 20 replicas that promises 200 ms.
pub(crate) fn promising(revision: u64, generation: u64, slo: Slo) -> Declared {
    let mut declared = fixed("shop", revision, 2);
    declared.generation = Generation(generation);
    let policy = ScalePolicy::Slo(slo);
    let auto = AutoScale { min: 2, max: 20, metrics: Vec::new(), policy, behavior: None };
    declared.autoscaler = Some(auto.to_spec(&declared.name).expect("a promise"));
    declared.spec.scale.count = Count::Auto(auto);
    declared
}

/// The proxy's counters of a life.
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
    /// Requests that have come in all.
    came: f64,
    counted: BTreeMap<(String, u32), Counted>,
    /// The source of random errors of the latency of each replica and second, a fifth at most; `None` for no errors.
    pub(crate) noise: Option<Stream>,
    /// Reports that are delayed on their way to the loop; `None` while none is.
    held_up: Option<Vec<Report>>,
    /// Requests a second that a replica carries within the promise, and the most that it answers.
    carries: f64,
    /// Replica-seconds so far.
    pub(crate) cost: u32,
    pub(crate) requests: f64,
    pub(crate) late: f64,
}

impl Shop {
    pub(crate) fn new(declared: Declared) -> Self {
        let mut world = World::with([declared]);
        world.finds([observed("shop-0", 1, READY), observed("shop-1", 1, READY)]);
        Self {
            world,
            came: 0.0,
            noise: None,
            held_up: None,
            counted: BTreeMap::new(),
            carries: 40.0,
            cost: 0,
            requests: 0.0,
            late: 0.0,
        }
    }

    /// Lets a second pass in which this many requests come.
    pub(crate) fn second(&mut self, load: f64) {
        self.world.lives_for(SECOND);
        self.came += load;
        let demand = Demand { service: name("shop"), requests: self.came as u64, waiting: 0, in_flight: 0 };
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
        let most = self.carries * 1.1;
        let counted = self.counted.entry(key.clone()).or_default();
        let asked = share + counted.waiting;
        let answered = asked.min(most);
        counted.waiting = asked - answered;
        // As in a queue: twice as long at half of what it can answer, and late from where it carries no more.
        let off = self.noise.as_mut().map_or(1.0, |noise| 0.8 + noise.below(400) as f64 / 1000.0);
        let seconds =
            off * if counted.waiting > 0.0 { 1.0 } else { (0.018 / (1.0 - answered / most)).min(1.0) };
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
            promised: Duration::from_millis(200),
            failed: 0,
            answered: counted.answered,
        };
        self.report(Report::Traffic(vec![traffic]));
        self.report(Report::Latencies(vec![latencies]));
    }

    /// Reports to the loop, at once or after the reports that are delayed.
    fn report(&mut self, report: Report) {
        match &mut self.held_up {
            Some(held_up) => held_up.push(report),
            None => {
                self.world.put(&Input::Report(report));
            }
        }
    }

    /// Lets all delayed reports come at once.
    fn let_go(&mut self) {
        for report in self.held_up.take().into_iter().flatten() {
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
        estimate(service.capacity.as_deref(), declared.generation, service.promise()?)
    }

    pub(crate) fn decision(&self) -> Decision {
        self.world.service("shop").decision.as_ref().expect("decided").decision()
    }
}

#[test]
fn until_anything_is_known_the_number_stays_and_that_is_said() {
    let mut shop = Shop::new(promising(1, 1, slo(None)));
    shop.second(30.0);
    assert_eq!(shop.desired(), 2);
    let summary = shop.decision().summary;
    assert!(summary.contains("not known yet"), "{summary}");
}

#[test]
fn a_declared_capacity_is_gone_by_until_more_is_known() {
    let mut shop = Shop::new(promising(1, 1, slo(Some(25))));
    for _ in 0..8 {
        shop.second(40.0);
    }
    // With three tenths kept free, as nothing is known of the rises of its load either.
    assert_eq!(shop.desired(), 3);
    let note = shop.decision().metrics[0].note.clone();
    assert!(note.contains("as declared, until more is known"), "{note}");
}

#[test]
fn a_promise_is_kept_through_a_rise_at_a_sensible_cost() {
    let mut shop = Shop::new(promising(1, 1, slo(None)));
    // An hour of loads that rise to 60 as in the morning, so that it is known how the load rises.
    for _ in 0..3 {
        shop.minutes(10, |part| 30.0 + 30.0 * part);
        shop.minutes(10, |part| 60.0 - 30.0 * part);
    }
    (shop.cost, shop.requests, shop.late) = (0, 0.0, 0.0);
    shop.minutes(10, |part| 30.0 + 370.0 * part);
    shop.minutes(20, |_| 400.0);
    let late = shop.late / shop.requests;
    assert!(late < 0.001, "{late} of the requests were late");
    // Ten carry it, each at its limit, and half of that while it rises: 300 replica-minutes at least.
    let minutes = shop.cost / 60;
    assert!(minutes < 400, "{minutes} replica-minutes");
    let learned = shop.learned().expect("it was watched");
    assert!((28.0..=44.0).contains(&learned.rate.per_second()), "{learned:?}");
}

#[test]
fn what_was_learned_is_shown_with_its_band_and_from_how_many_windows() {
    let mut shop = Shop::new(promising(1, 1, slo(None)));
    for _ in 0..4 {
        shop.minutes(10, |part| 30.0 + 60.0 * part);
    }
    let decision = shop.decision();
    let (metric, learned) = (&decision.metrics[0], shop.learned().expect("it was watched"));
    assert_eq!((&*metric.name, metric.proposal), ("http_requests_per_second", Some(shop.desired())));
    let note = format!("a replica carries {learned}");
    assert!(metric.note.contains(&note) && note.contains("windows of version 1"), "{}", metric.note);
    assert!(metric.note.contains("s of a start in"), "{}", metric.note);
}

#[test]
fn reports_that_were_held_up_teach_no_rate_that_never_was() {
    let mut shop = Shop::new(promising(1, 1, slo(None)));
    for _ in 0..30 {
        (0..30).for_each(|_| shop.second(16.0));
        shop.held_up = Some(Vec::new());
        (0..10).for_each(|_| shop.second(16.0));
        shop.let_go();
    }
    // Eight of each replica, all the time; ten seconds of them came at once, as if there had been thrice as many.
    let learned = shop.learned().expect("it was watched");
    assert!((7.0..9.0).contains(&learned.lower.per_second()), "{learned:?}");
    assert!(learned.rate <= MilliRps(18_000), "{learned:?}");
}

#[test]
fn what_was_learned_is_there_after_a_restart() {
    let mut shop = Shop::new(promising(1, 1, slo(None)));
    shop.minutes(20, |part| 30.0 + 60.0 * part);
    let (before, memory) = (shop.learned(), shop.world.service("shop").memory());
    let mut world = World::begun();
    world.declares(promising(1, 1, slo(None)));
    world.remembers(memory);
    world.finds([observed("shop-0", 1, READY), observed("shop-1", 1, READY)]);
    shop.world = world;
    assert!(before.is_some());
    assert_eq!(shop.learned(), before);
}

#[test]
fn another_promise_is_learned_anew_and_none_is_forgotten() {
    let mut shop = Shop::new(promising(1, 1, slo(None)));
    shop.minutes(20, |part| 30.0 + 60.0 * part);
    let mut other = slo(None);
    other.latency.quantile = Fraction::from_millionths(900_000);
    shop.world.declares(promising(2, 1, other));
    assert_eq!(shop.learned(), None);
    shop.world.declares(Declared { generation: Generation(1), ..fixed("shop", 3, 2) });
    assert_eq!(shop.world.service("shop").capacity, None);
}

#[test]
fn a_new_version_begins_with_most_of_what_the_one_before_carries() {
    let mut shop = Shop::new(promising(1, 1, slo(None)));
    shop.minutes(20, |part| 30.0 + 60.0 * part);
    let before = shop.learned().expect("it was watched");
    shop.world.declares(promising(2, 2, slo(None)));
    let after = shop.learned().expect("passed on");
    assert_eq!((after.basis, after.rate.0), (CapacityBasis::Before, before.rate.0 / 100 * 80));
}

#[test]
fn a_poison_of_what_is_learned_costs_at_most_the_bounds_and_is_got_over() {
    let mut shop = Shop::new(promising(1, 1, slo(None)));
    for _ in 0..3 {
        shop.minutes(10, |part| 30.0 + 60.0 * part);
    }
    let before = shop.desired();
    // Little by little all requests are answered late, by every replica: more replicas do not help.
    for step in 1..30 {
        shop.carries = 40.0 / f64::from(step);
        shop.minutes(1, |_| 60.0);
        assert!((2..=20).contains(&shop.desired()));
    }
    shop.carries = 40.0;
    for _ in 0..9 {
        shop.minutes(10, |part| 30.0 + 60.0 * part);
    }
    assert!(shop.desired() <= before + 2, "{} after {before}: {:?}", shop.desired(), shop.learned());
    assert_eq!(name("shop"), shop.world.service("shop").name);
}

#[test]
fn a_learned_policy_decides_beside_the_acting_one_from_what_it_remembers_itself() {
    let times = |times: f64| Factor::try_from(times).expect("a factor");
    let leaning = |from, to| Leaning { factor: times(1.0), from: times(from), to: times(to) };
    let learned = LearnedPrice {
        version: LEARNED_VERSION,
        rises: times(0.001),
        forecast: times(1.0),
        level: leaning(0.1, 20.0),
        trend: leaning(0.01, 100.0),
        unrest: leaning(1.0, 100.0),
    };
    let tried = Slo { learned: Some(learned), ..slo(Some(40)) };
    let mut declared = promising(1, 1, slo(Some(40)));
    let (policy, name) = (Some(ScalePolicy::Slo(tried)), ObjectName::parse("learned").expect("a name"));
    let shadow = Shadow { name, policy, metrics: Vec::new(), behavior: None, min: None, max: None };
    declared.spec.scale.shadows = vec![shadow];
    let mut shop = Shop::new(declared);
    // A third of the time twice as many come.
    for minute in 0..20 {
        shop.minutes(1, |_| if minute % 3 == 2 { 200.0 } else { 100.0 });
    }
    let service = shop.world.service("shop");
    let [shadow] = service.shadows.as_slice() else { panic!("one is tried: {:?}", service.shadows) };
    let Past::Rises(rises) = &shadow.scaling.policy.past else { panic!("it remembers rises: {shadow:?}") };
    assert!(rises.spent.came > 0, "it notes how the promise would have been kept: {rises:?}");
    let acting = service.scaling.policy.past.rises().expect("the acting one does, too");
    assert!(acting.spent.came > 0, "and how it is kept: {acting:?}");
    let (own, acting) = (shadow.own.replica_ms, shadow.acting.replica_ms);
    assert!(own > 0 && own <= acting, "who stands by for less costs no more: {own} and {acting}");
}
