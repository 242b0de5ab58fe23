//! A few short worlds under all faults; `cargo xtask sim` runs many long ones.

use std::time::Duration;

use swarm::{Config, Exclusions, regressions, run};

const TWO_HOURS: Duration = Duration::from_secs(2 * 3600);

#[test]
fn no_checker_fails_in_a_few_short_worlds() {
    for seed in 1..=4 {
        let report = run(&Config::of_seed(seed, TWO_HOURS, &Exclusions::default()), None);
        assert_eq!(report.failure, None, "cargo run --release -p swarm -- --seed {seed} --hours 2");
    }
}

#[test]
fn the_same_seed_gives_the_same_world() {
    let half_an_hour = Duration::from_secs(1800);
    let once = || run(&Config::of_seed(3, half_an_hour, &Exclusions::default()), None);
    assert_eq!(once(), once());
}

#[test]
fn another_seed_gives_another_world() {
    let quarter = Duration::from_secs(900);
    let of = |seed| run(&Config::of_seed(seed, quarter, &Exclusions::default()), None).digest;
    assert_ne!(of(1), of(2));
}

#[test]
fn the_record_of_failed_seeds_can_be_read() {
    assert!(regressions::regressions().iter().all(|regression| !regression.note.is_empty()));
}
