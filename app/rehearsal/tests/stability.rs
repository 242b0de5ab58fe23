//! Every policy of the examples keeps its number of replicas under a constant load with noise of ±20 %, with the whole control loop.

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
use rehearsal::{RehearsedService, Script, ServiceLoad, rehearse};
use sim::{Faults, Gauge, Load, Program};

/// The start-up is over by then: a stabilisation window and a decision.
const SETTLED_AFTER_SECS: usize = 600;

/// Interval between samples in a rehearsal of an hour.
const EVERY_SECS: usize = 2;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/scaling");

/// Noise of ±20 %, in thousandths.
const NOISE: u64 = 200;

/// One policy of an example: that of a service, or one of its shadows as if it acted.
struct Policy {
    name: String,
    declared: Declared,
}

/// All policies in the manifest of an example.
fn policies(folder: &Path) -> Vec<Policy> {
    let path = folder.join("service.yaml");
    let text = fs::read_to_string(&path).expect("an example has a manifest");
    let manifests = manifest::parse(&path.display().to_string(), &text);
    assert!(!manifests.has_errors(), "{}", path.display());
    let services = manifests.resources().filter_map(|resource| match resource {
        Resource::Service(service) => Some(service.clone()),
        Resource::HorizontalPodAutoscaler(_) | Resource::Route(_) | Resource::MetricSource(_) => None,
    });
    let example = folder.file_name().and_then(|name| name.to_str()).expect("a plain name");
    let mut policies = Vec::new();
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
        // A policy that only recommends acts here.
        declared.spec.scale.mode = ScaleMode::On;
        for shadow in shadows {
            let spec = shadow.to_spec(&declared.name, declared.autoscaler.as_ref()).expect("it was checked");
            let declared = Declared { autoscaler: Some(spec), ..declared.clone() };
            policies.push(Policy { name: format!("{example}, {}", shadow.name), declared });
        }
        policies.extend(declared.autoscaler.is_some().then(|| Policy { name: example.to_owned(), declared }));
    }
    policies.iter_mut().for_each(|policy| count_by_proxy(&mut policy.declared));
    policies
}

/// Replaces the request counts of the replicas by those of the proxy: the simulation does not scrape replicas.
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

/// Two hours of `rate` requests a second, each second up to `noise` thousandths more or fewer.
fn around(rate: u64, noise: u64, seed: u64) -> Arc<[MilliRps]> {
    let mut chance = Stream::named(seed, "noise");
    (0..7200).map(|_| MilliRps(rate * (1000 - noise + chance.below(2 * noise + 1)))).collect()
}

/// The metric sources of a policy, each with its own noise.
fn gauges(declared: &Declared, rate: u64, noise: u64, seed: u64) -> Vec<Gauge> {
    let metrics = declared.autoscaler.iter().flat_map(|spec| &spec.metrics);
    let gauge = |(index, metric): (u64, &MetricSpec)| {
        let key = MetricKey::of(metric, &declared.name)?;
        let (MetricSpec::External { metric: MetricIdentifier { selector, .. }, .. }
        | MetricSpec::Object { metric: MetricIdentifier { selector, .. }, .. }) = metric
        else {
            panic!("{key} is a metric of each replica, which the simulation does not scrape");
        };
        let labels = selector.iter().flat_map(|selector| &selector.match_labels);
        Some(Gauge {
            source: ServiceName::parse(&format!("source-{index}")).expect("a plain name"),
            key,
            labels: labels.map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect(),
            stale_after: Duration::from_secs(5),
            values: Load::Trace {
                from: sim::Simulation::begin(),
                every: Duration::from_secs(1),
                points: around(rate, noise, seed + 1000 * index),
            },
        })
    };
    (1..).zip(metrics).filter_map(gauge).collect()
}

/// The desired numbers of replicas over an hour of this load, [`EVERY_SECS`] apart.
fn sizes(declared: &Declared, load: Arc<[MilliRps]>, gauges: Vec<Gauge>) -> Vec<u32> {
    // 2.5 ms of CPU time for a request and a quarter of a core, as the shop of the examples.
    let program = Program { cost: Duration::from_micros(2500), cpu_limit_milli: 250, ..Program::default() };
    let load = ServiceLoad::Recorded { every: Duration::from_secs(1), points: load };
    let script = Script {
        services: vec![RehearsedService { declared: declared.clone(), program, load }],
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

/// How often the size changes from growing to shrinking or back.
fn reversals(sizes: &[u32]) -> usize {
    let changes: Vec<_> =
        sizes.windows(2).map(|pair| pair[0].cmp(&pair[1])).filter(|change| change.is_ne()).collect();
    changes.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

/// Reversals of the size of `declared` within an hour of noisy load, after the start-up.
fn noisy_reversals(declared: &Declared, rate: u64, noise: u64) -> usize {
    let sizes = sizes(declared, around(rate, noise, rate), gauges(declared, rate, noise, rate));
    reversals(&sizes[SETTLED_AFTER_SECS / EVERY_SECS..])
}

/// Checks every policy of the examples at `rate` requests a second; metric sources report the same number.
fn check_all_at(rate: u64) {
    let mut checked = 0;
    for folder in fs::read_dir(Path::new(EXAMPLES)).expect("there are examples") {
        for Policy { name, declared } in policies(&folder.expect("it can be read").path()) {
            let noisy = noisy_reversals(&declared, rate, NOISE);
            // Bounds with a schedule and known events change the number without noise too.
            let steady = if noisy > 1 { noisy_reversals(&declared, rate, 0) } else { 0 };
            assert!(
                noisy <= steady + 1,
                "{name} at {rate} a second reverses {noisy} times, and {steady} times without noise"
            );
            checked += 1;
        }
    }
    assert!(checked >= 20, "only {checked} policies were found");
}

// For each policy some of these rates are at an edge between two sizes. One test each, because they take long.

#[test]
fn noise_of_a_fifth_does_not_make_examples_flap_at_16_a_second() {
    check_all_at(16);
}

#[test]
fn noise_of_a_fifth_does_not_make_examples_flap_at_57_a_second() {
    check_all_at(57);
}

#[test]
fn noise_of_a_fifth_does_not_make_examples_flap_at_79_a_second() {
    check_all_at(79);
}

#[test]
fn noise_of_a_fifth_does_not_make_examples_flap_at_100_a_second() {
    check_all_at(100);
}

#[test]
fn noise_of_a_fifth_does_not_make_examples_flap_at_145_a_second() {
    check_all_at(145);
}

#[test]
fn noise_of_a_fifth_does_not_make_examples_flap_at_201_a_second() {
    check_all_at(201);
}

#[test]
fn the_budget_of_the_example_ends_flapping_under_an_oscillating_load() {
    let mut flaps = policies(&Path::new(EXAMPLES).join("flaps"));
    let declared = flaps.pop().expect("it has a policy").declared;
    let budget = declared.spec.scale.flaps.expect("it has a budget");
    let mut unbudgeted = declared.clone();
    unbudgeted.spec.scale.flaps = None;
    // As in its README: ten seconds of 150 requests a second, then forty without any.
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
        "{with} reversals with the budget of {allowed}, {without} without"
    );
}
