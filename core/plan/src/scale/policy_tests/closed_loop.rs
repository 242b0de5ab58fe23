//! Closed loops: a load that is shared by the replicas, measured with noise, and decided on each second.

use model::chance::Stream;

use super::*;

const POLICIES: [&str; 5] = [
    r#"{"step": {"above": [{"from": 70, "to": 100, "replicas": 1}, {"from": 100, "percent": 50}],
        "below": [{"to": 15, "percent": 30}, {"from": 15, "to": 30, "replicas": 1}]}}"#,
    r#"{"watermarks": {"high": 70, "low": 40, "inAfter": "30s"}}"#,
    r#"{"targetTracking": {}}"#,
    r#"{"burst": {}}"#,
    r#"{"formula": {"expression": "max(rate / 50, 0.1)", "target": 1}}"#,
];

/// From the decision to a serving replica.
const START_SECS: usize = 4;

/// Runs an hour of a constant load (requests a second) with noise of ±20 %, and returns the sizes second by second.
fn hour(policy: &str, load: u32, seed: u64, is_stabilised: bool) -> Vec<u32> {
    let mut bench = Bench::new(policy, 4);
    if is_stabilised {
        bench.spec.behavior = None;
    }
    let mut chance = Stream::named(seed, "noise");
    let mut sizes = vec![bench.current; START_SECS];
    for _ in 0..3600 {
        // Replicas that were wanted throughout the last start.
        let serving = sizes[sizes.len() - START_SECS..].iter().min().copied().unwrap_or(1).max(1);
        let noise = 800 + chance.below(401);
        let milli_each = i64::from(load) * i64::try_from(noise).expect("small") / i64::from(serving);
        for (place, replica) in bench.replicas.iter_mut().enumerate() {
            let is_ready = place < serving as usize;
            replica.phase = if is_ready { Phase::Running } else { Phase::Pending };
        }
        bench.measured(|replica| match replica.phase {
            Phase::Running => Ok(Milli(milli_each)),
            Phase::Pending | Phase::Unstable | Phase::Succeeded | Phase::Failed => Err(Gap::Absent),
        });
        sizes.push(bench.current);
    }
    sizes
}

/// How often the size changes from growing to shrinking or back.
fn reversals(sizes: &[u32]) -> usize {
    let changes = sizes.windows(2).map(|pair| pair[0].cmp(&pair[1])).filter(|change| change.is_ne());
    let changes: Vec<_> = changes.collect();
    changes.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

#[test]
fn noise_of_a_fifth_does_not_make_the_size_flap() {
    for policy in POLICIES {
        for load in [37, 95, 150, 199, 260, 333, 480, 777, 1500] {
            for seed in 1..4 {
                let sizes = hour(policy, load, seed, true);
                let reversals = reversals(&sizes);
                assert!(
                    reversals <= 1,
                    "{reversals} reversals of {policy} at {load}, seed {seed}: {sizes:?}"
                );
            }
        }
    }
}

#[test]
fn each_policy_brings_the_load_of_a_replica_to_its_target() {
    for (policy, (least, most)) in
        POLICIES.into_iter().zip([(30, 70), (40, 70), (35, 56), (35, 56), (35, 56)])
    {
        for load in [260, 777, 1500] {
            let size = hour(policy, load, 7, true).pop().expect("an hour has seconds");
            let each = load / size;
            assert!((least..=most).contains(&each), "{size} replicas of {policy} have {each} each of {load}");
        }
    }
}

#[test]
fn watermarks_do_not_flap_without_any_stabilisation() {
    let marks = r#"{"watermarks": {"high": 80, "low": 40, "inAfter": "30s"}}"#;
    for load in (40..2000).step_by(97) {
        let sizes = hour(marks, load, u64::from(load), false);
        assert!(reversals(&sizes) <= 1, "at {load}: {sizes:?}");
    }
}
