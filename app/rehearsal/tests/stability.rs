//! Every policy of the examples keeps its size under a load that is the same but for noise of a fifth, on the whole loop.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::chance::Stream;
use model::identity::Generation;
use model::input::Declared;
use model::quantity::MilliRps;
use model::resource::{Resource, ScalePolicy};
use model::settings::Settings;
use model::time::Wall;
use rehearsal::{Asked, Part, Script, rehearse};
use sim::{Faults, Program};

/// From here on the load is held to have been found: a window of stabilisation and a decision.
const SETTLED_AFTER_SECS: f64 = 600.0;

/// The examples whose size follows from sources outside, which this world has none of. `core/plan` holds their policies to the same.
const BY_OTHER_SOURCES: [&str; 4] = ["external-metric", "formula", "own-metric", "queue-redis"];

/// What is declared in the folder of an example.
fn declared(folder: &Path) -> Option<Declared> {
    let path = folder.join("service.yaml");
    let text = fs::read_to_string(&path).expect("an example has a manifest");
    let manifests = manifest::parse(&path.display().to_string(), &text);
    assert!(!manifests.has_errors(), "{}", path.display());
    let service = manifests.resources().find_map(|resource| match resource {
        Resource::Service(service) => Some(service.clone()),
        Resource::HorizontalPodAutoscaler(_) | Resource::Route(_) | Resource::MetricSource(_) => None,
    })?;
    Some(Declared {
        name: service.name().clone(),
        revision: Generation(1),
        generation: Generation(1),
        autoscaler: service.autoscaler().expect("it was checked"),
        spec: service.spec,
    })
}

/// An hour of so many requests a second, each second up to a fifth more or fewer.
fn noisy(rate: u64, seed: u64) -> Asked {
    let mut chance = Stream::named(seed, "noise");
    let points = (0..3600).map(|_| MilliRps(rate * (800 + chance.below(401)))).collect::<Vec<_>>();
    Asked::Recorded { every: Duration::from_secs(1), points: Arc::from(points) }
}

/// The sizes that were wanted, from when the load was found on.
fn hour(declared: &Declared, rate: u64, seed: u64) -> Vec<u32> {
    // 2.5 ms of a quarter of a core, as the examples' shop.
    let program = Program { cost: Duration::from_micros(2500), cpu_limit_milli: 250, ..Program::default() };
    let script = Script {
        parts: vec![Part { declared: declared.clone(), program, asked: noisy(rate, seed) }],
        span: Duration::from_hours(1),
        begin: Wall::from_millis(1_700_000_000_000),
        mishaps: Vec::new(),
        faults: Faults::default(),
        settings: Settings::default(),
        seed,
    };
    let found = rehearse(&script, &mut |_| {}).expect("it can be rehearsed");
    let samples = &found.services[0].samples;
    samples.iter().filter(|it| it.at_seconds >= SETTLED_AFTER_SECS).map(|it| it.desired).collect()
}

/// How often the size turns from growing to shrinking or back.
fn reversals(sizes: &[u32]) -> usize {
    let ways: Vec<_> = sizes.windows(2).map(|pair| pair[0].cmp(&pair[1])).filter(|way| way.is_ne()).collect();
    ways.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

/// The policy of an example as it is meant to be used: the examples shrink after five seconds, so that one sees it, and change their bounds within an hour.
fn in_earnest(mut declared: Declared) -> Declared {
    if let Some(spec) = &mut declared.autoscaler {
        spec.behavior = None;
    }
    declared.spec.scale.schedule.clear();
    declared
}

#[test]
fn noise_of_a_fifth_makes_no_example_flap() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/scaling");
    let mut tried = Vec::new();
    for folder in fs::read_dir(examples).expect("there are examples") {
        let folder = folder.expect("it can be read").path();
        let name = folder.file_name().and_then(|name| name.to_str()).expect("a plain name").to_owned();
        let Some(declared) = declared(&folder).filter(|_| !BY_OTHER_SOURCES.contains(&&*name)) else {
            continue;
        };
        let declared = in_earnest(declared);
        for (rate, seed) in [(57, 1), (201, 4)] {
            let sizes = hour(&declared, rate, seed);
            let turns = reversals(&sizes);
            assert!(turns <= 1, "{name} at {rate} requests a second turns around {turns} times: {sizes:?}");
        }
        tried.extend(declared.autoscaler.map(|spec| spec.policy));
    }
    let is_tried = |is_it: fn(&ScalePolicy) -> bool| tried.iter().any(is_it);
    assert!(is_tried(|it| matches!(it, ScalePolicy::Hpa)));
    assert!(is_tried(|it| matches!(it, ScalePolicy::Unanimous)));
    assert!(is_tried(|it| matches!(it, ScalePolicy::Step(_))));
    assert!(is_tried(|it| matches!(it, ScalePolicy::Watermarks(_))));
    assert!(is_tried(|it| matches!(it, ScalePolicy::TargetTracking(_))));
    assert!(is_tried(|it| matches!(it, ScalePolicy::Burst(_))));
    assert!(is_tried(|it| matches!(it, ScalePolicy::Composite(_))));
}
