use model::resource::Probes;

use super::*;

fn probes(text: &str) -> Probes {
    serde_json::from_str(text).unwrap()
}

fn after(probes: &Probes, results: &[(ProbeKind, bool)]) -> ProbeState {
    let mut state = ProbeState::new(probes);
    for (kind, passed) in results {
        state.record(*kind, *passed);
    }
    state
}

const READY: &str = r#"{"readiness": {"http": {}, "failures": 2, "successes": 2}}"#;
const LIVE: &str = r#"{"liveness": {"http": {}, "failures": 3}}"#;
const STARTUP: &str = r#"{"startup": {"http": {}, "failures": 3}, "readiness": {"http": {}}}"#;

use ProbeKind::{Liveness, Readiness, Startup};

#[test]
fn a_replica_without_probes_is_ready_and_live_at_once() {
    let state = ProbeState::new(&Probes::default());
    assert!(state.has_started() && state.is_ready() && state.is_live());
}

#[test]
fn a_replica_is_ready_after_the_declared_successes_in_a_row() {
    let probes = probes(READY);
    assert!(!after(&probes, &[(Readiness, true)]).is_ready());
    assert!(!after(&probes, &[(Readiness, true), (Readiness, false), (Readiness, true)]).is_ready());
    assert!(after(&probes, &[(Readiness, true), (Readiness, true)]).is_ready());
}

#[test]
fn one_failure_does_not_take_readiness_away() {
    let probes = probes(READY);
    let ready = [(Readiness, true), (Readiness, true), (Readiness, false)];
    assert!(after(&probes, &ready).is_ready());
    assert!(!after(&probes, &[ready.as_slice(), &[(Readiness, false)]].concat()).is_ready());
}

#[test]
fn a_replica_is_live_until_the_declared_failures_in_a_row() {
    let probes = probes(LIVE);
    assert!(
        after(&probes, &[(Liveness, false), (Liveness, false), (Liveness, true), (Liveness, false)])
            .is_live()
    );
    assert!(!after(&probes, &[(Liveness, false); 3]).is_live());
    assert!(
        after(&probes, &[(Liveness, false), (Liveness, false), (Liveness, false), (Liveness, true)])
            .is_live()
    );
}

#[test]
fn a_replica_is_not_ready_before_it_has_started() {
    let probes = probes(STARTUP);
    assert!(!after(&probes, &[(Readiness, true)]).is_ready());
    assert!(after(&probes, &[(Startup, true), (Readiness, true)]).is_ready());
}

#[test]
fn a_failed_startup_probe_requests_a_restart() {
    let probes = probes(STARTUP);
    assert!(after(&probes, &[(Startup, false), (Startup, false)]).is_live());
    assert!(!after(&probes, &[(Startup, false); 3]).is_live());
}

#[test]
fn record_returns_whether_the_state_has_changed() {
    let mut state = ProbeState::new(&probes(READY));
    let status: Vec<bool> = [true, true, true, false, false, false]
        .iter()
        .map(|passed| state.record(Readiness, *passed))
        .collect();
    assert_eq!(status, [false, true, false, false, true, false]);
}
