//! Every policy of the examples, as it is written, keeps its size under a load that is the same but for noise of a fifth, on the whole loop.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::chance::Stream;
use model::identity::Generation;
use model::input::Declared;
use model::measure::MetricKey;
use model::name::ServiceName;
use model::quantity::MilliRps;
use model::resource::{MetricIdentifier, MetricSpec, REQUEST_RATE_METRIC, Resource, ScaleMode, Shadow};
use model::settings::Settings;
use model::time::Wall;
use rehearsal::{Part, Script, ServiceLoad, rehearse};
use sim::{Faults, Gauge, Load, Program};

/// From here on the load is held to have been found: a window of stabilisation and a decision.
const SETTLED_AFTER_SECS: usize = 600;

/// From one sample to the next, in a rehearsal of an hour.
const EVERY_SECS: usize = 2;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/scaling");

/// Noise of ±20 %, in thousandths.
const NOISE: u64 = 200;

/// One policy of an example: that of a service, or one that is tried beside it, as if it acted.
struct Tried {
    name: String,
    declared: Declared,
}

/// Every policy in the manifest of an example.
fn policies(folder: &Path) -> Vec<Tried> {
    let path = folder.join("service.yaml");
    let text = fs::read_to_string(&path).expect("an example has a manifest");
    let manifests = manifest::parse(&path.display().to_string(), &text);
    assert!(!manifests.has_errors(), "{}", path.display());
    let services = manifests.resources().filter_map(|resource| match resource {
        Resource::Service(service) => Some(service.clone()),
        Resource::HorizontalPodAutoscaler(_) | Resource::Route(_) | Resource::MetricSource(_) => None,
    });
    let example = folder.file_name().and_then(|name| name.to_str()).expect("a plain name");
    let mut tried = Vec::new();
    for service in services {
        let autoscaler = service.autoscaler().expect("it was checked");
        let mut declared = Declared {
            name: service.name().clone(),
            revision: Generation(1),
            generation: Generation(1),
            autoscaler,
            spec: service.spec,
        };
        let shadows: Vec<Shadow> = declared.spec.scale.shadows.drain(..).collect();
        // What is only recorded is tried as if it were followed.
        declared.spec.scale.mode = ScaleMode::On;
        for shadow in shadows {
            let spec = shadow.to_spec(&declared.name, declared.autoscaler.as_ref()).expect("it was checked");
            let declared = Declared { autoscaler: Some(spec), ..declared.clone() };
            tried.push(Tried { name: format!("{example}, {}", shadow.name), declared });
        }
        tried.extend(declared.autoscaler.is_some().then(|| Tried { name: example.to_owned(), declared }));
    }
    tried.iter_mut().for_each(|policy| count_by_proxy(&mut policy.declared));
    tried
}

/// Requests that replicas count themselves are counted by the proxy: nobody asks replicas for their pages in this world.
fn count_by_proxy(declared: &mut Declared) {
    let metrics = declared.autoscaler.iter_mut().flat_map(|spec| &mut spec.metrics);
    for metric in metrics {
        if let MetricSpec::Pods { metric, .. } = metric
            && metric.name == "pages"
        {
            *metric = MetricIdentifier { name: REQUEST_RATE_METRIC.into(), selector: None };
        }
    }
}

/// Two hours of so many a second, each second up to `noise` thousandths more or fewer.
fn around(rate: u64, noise: u64, seed: u64) -> Arc<[MilliRps]> {
    let mut chance = Stream::named(seed, "noise");
    (0..7200).map(|_| MilliRps(rate * (1000 - noise + chance.below(2 * noise + 1)))).collect()
}

/// What the sources tell that a policy asks, each of a course of its own.
fn gauges(declared: &Declared, rate: u64, noise: u64, seed: u64) -> Vec<Gauge> {
    let metrics = declared.autoscaler.iter().flat_map(|spec| &spec.metrics);
    let gauge = |(index, metric): (u64, &MetricSpec)| {
        let key = MetricKey::of(metric, &declared.name)?;
        let (MetricSpec::External { metric: MetricIdentifier { selector, .. }, .. }
        | MetricSpec::Object { metric: MetricIdentifier { selector, .. }, .. }) = metric
        else {
            panic!("{key} is of each replica, which this world does not ask");
        };
        let labels = selector.iter().flat_map(|selector| &selector.match_labels);
        Some(Gauge {
            source: ServiceName::parse(&format!("source-{index}")).expect("a plain name"),
            key,
            labels: labels.map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect(),
            stale_after: Duration::from_secs(5),
            course: Load::Trace {
                from: sim::Simulation::begin(),
                every: Duration::from_secs(1),
                points: around(rate, noise, seed + 1000 * index),
            },
        })
    };
    (1..).zip(metrics).filter_map(gauge).collect()
}

/// The sizes that are wanted over an hour of such a load, [`EVERY_SECS`] apart.
fn sizes(declared: &Declared, load: Arc<[MilliRps]>, gauges: Vec<Gauge>) -> Vec<u32> {
    // 2.5 ms of a quarter of a core, as the examples' shop.
    let program = Program { cost: Duration::from_micros(2500), cpu_limit_milli: 250, ..Program::default() };
    let asked = ServiceLoad::Recorded { every: Duration::from_secs(1), points: load };
    let script = Script {
        parts: vec![Part { declared: declared.clone(), program, asked }],
        gauges,
        span: Duration::from_hours(1),
        begin: Wall::from_millis(1_700_000_000_000),
        scheduled_faults: Vec::new(),
        faults: Faults::default(),
        settings: Settings::default(),
        seed: 1,
    };
    let found = rehearse(&script, &mut |_| {}).expect("it can be rehearsed");
    let samples = &found.services[0].samples;
    assert_eq!(samples.len(), 3600 / EVERY_SECS);
    samples.iter().map(|sample| sample.desired).collect()
}

/// How often the size turns from growing to shrinking or back.
fn reversals(sizes: &[u32]) -> usize {
    let ways: Vec<_> = sizes.windows(2).map(|pair| pair[0].cmp(&pair[1])).filter(|way| way.is_ne()).collect();
    ways.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

/// How often the size of `declared` turns around, once the load was found, while noise moves the load within an hour.
fn turns(declared: &Declared, rate: u64, noise: u64) -> usize {
    let sizes = sizes(declared, around(rate, noise, rate), gauges(declared, rate, noise, rate));
    reversals(&sizes[SETTLED_AFTER_SECS / EVERY_SECS..])
}

/// Holds every policy of the examples to it at a load of `rate` requests a second, or of so many of what its sources measure.
fn hold_still_at(rate: u64) {
    let mut tried = 0;
    for folder in fs::read_dir(Path::new(EXAMPLES)).expect("there are examples") {
        for Tried { name, declared } in policies(&folder.expect("it can be read").path()) {
            let noisy = turns(&declared, rate, NOISE);
            // Bounds that change by the clock, and events that are known, move the number without any noise.
            let steady = if noisy > 1 { turns(&declared, rate, 0) } else { 0 };
            assert!(
                noisy <= steady + 1,
                "{name} at {rate} a second turns around {noisy} times, and {steady} without noise"
            );
            tried += 1;
        }
    }
    assert!(tried >= 20, "only {tried} policies were found");
}

// Of each policy some of these are at an edge between two sizes; a test each, as they are long.

#[test]
fn noise_of_a_fifth_does_not_make_examples_flap_at_16_a_second() {
    hold_still_at(16);
}

#[test]
fn noise_of_a_fifth_does_not_make_examples_flap_at_57_a_second() {
    hold_still_at(57);
}

#[test]
fn noise_of_a_fifth_does_not_make_examples_flap_at_79_a_second() {
    hold_still_at(79);
}

#[test]
fn noise_of_a_fifth_does_not_make_examples_flap_at_100_a_second() {
    hold_still_at(100);
}

#[test]
fn noise_of_a_fifth_does_not_make_examples_flap_at_145_a_second() {
    hold_still_at(145);
}

#[test]
fn noise_of_a_fifth_does_not_make_examples_flap_at_201_a_second() {
    hold_still_at(201);
}

#[test]
fn the_budget_of_the_example_ends_flapping_under_an_oscillating_load() {
    let mut flaps = policies(&Path::new(EXAMPLES).join("flaps"));
    let declared = flaps.pop().expect("it has a policy").declared;
    let budget = declared.spec.scale.flaps.expect("it has a budget");
    let mut unbudgeted = declared.clone();
    unbudgeted.spec.scale.flaps = None;
    // As its README says it: ten seconds of 150 requests a second, then forty of none.
    let load: Arc<[_]> =
        (0..3600).map(|second| MilliRps(if second % 50 < 10 { 150_000 } else { 0 })).collect();

    let samples = usize::try_from(budget.per.as_duration().as_secs()).expect("it is short") / EVERY_SECS;
    let most = |declared: &Declared| {
        let sizes = sizes(declared, load.clone(), Vec::new());
        sizes.windows(samples).map(reversals).max().expect("an hour is longer")
    };
    let (with, without) = (most(&declared), most(&unbudgeted));
    let allowed = usize::try_from(budget.most).expect("it is small");
    assert!(
        with <= allowed && without > 2 * allowed,
        "{with} turns with the budget of {allowed}, {without} without"
    );
}
