//! Probes one incarnation of a replica as often as declared.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::resource::{Check, Probe, Probes};
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval};

use crate::check::{Replica, run_check};
use crate::failure::{CheckResult, Failure};
use crate::thresholds::{ProbeKind, ProbeState};

/// The most concurrent probes over connections of this process; further ones are delayed.
///
/// One that waits for an answer takes a descriptor and nothing else, so there may be many: replicas that hang until the timeout must not delay
/// the probes of others. Half of the descriptors that are not reserved for clients.
const CONNECTIONS_MAX: usize = 512;

/// The most concurrent probes by commands; further ones are delayed.
///
/// Each is a process. A hundred replicas that are probed twice a second and take 50 ms to answer need 10. The rest is for commands that hang
/// until the timeout, and for the time after a restart when all are probed at once.
const COMMANDS_MAX: usize = 64;

static CONNECTIONS: Semaphore = Semaphore::const_new(CONNECTIONS_MAX);
static COMMANDS: Semaphore = Semaphore::const_new(COMMANDS_MAX);

/// The permits of a kind of check.
fn permits(check: &Check) -> &'static Semaphore {
    match check {
        Check::Http(_) | Check::Tcp(_) | Check::Grpc(_) => &CONNECTIONS,
        Check::Command(_) => &COMMANDS,
    }
}

/// Probes one incarnation of a replica.
#[derive(Debug)]
pub struct Prober {
    /// The replica.
    pub replica: Replica,
    /// Its probes.
    pub probes: Probes,
}

/// The status of a replica by its probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeStatus {
    /// Whether the startup probe has passed.
    pub started: bool,
    /// Whether it may get traffic.
    pub ready: bool,
    /// Whether it is live; otherwise it must be restarted.
    pub live: bool,
    /// Why the latest check of a probe failed; `None` when those of all probes succeeded.
    pub note: Option<Arc<str>>,
}

impl Prober {
    /// Probes until it is dropped, and calls `report` at the beginning and with each change. Cancel safe.
    ///
    /// The first check of each probe is made at once. When a check takes longer than the interval, the missed times are skipped.
    pub async fn run(&self, report: impl Fn(ProbeStatus) + Sync) {
        let tracker = Mutex::new(Tracker { state: ProbeState::new(&self.probes), failures: BTreeMap::new() });
        report(lock(&tracker).status());
        if let Some(startup) = &self.probes.startup {
            self.watch(startup, ProbeKind::Startup, &tracker, &report).await;
        }
        let watch = async |probe: &Option<Probe>, kind| match probe {
            Some(probe) => self.watch(probe, kind, &tracker, &report).await,
            None => std::future::pending().await,
        };
        tokio::join!(
            watch(&self.probes.readiness, ProbeKind::Readiness),
            watch(&self.probes.liveness, ProbeKind::Liveness),
        );
    }

    /// Runs one probe as often as declared: a startup probe until it has passed, the others for ever.
    async fn watch(
        &self,
        probe: &Probe,
        kind: ProbeKind,
        tracker: &Mutex<Tracker>,
        report: &impl Fn(ProbeStatus),
    ) {
        let mut ticker = interval(probe.every.into());
        ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticker.tick().await;
            let result = {
                let _permit = permits(&probe.check).acquire().await.expect("nobody closes it");
                run_check(&self.replica, &probe.check, probe.timeout.into()).await
            };
            let (before, now) = {
                let mut tracker = lock(tracker);
                let before = tracker.status();
                tracker.record(kind, result);
                (before, tracker.status())
            };
            let has_started = now.started;
            if before != now {
                report(now);
            }
            if kind == ProbeKind::Startup && has_started {
                return;
            }
        }
    }
}

/// The state of the probes, and why their latest checks failed.
#[derive(Debug)]
struct Tracker {
    state: ProbeState,
    failures: BTreeMap<ProbeKind, Arc<str>>,
}

impl Tracker {
    /// Records a result. A check that was not attempted changes no state: it says nothing about the replica.
    fn record(&mut self, kind: ProbeKind, result: CheckResult) {
        if !matches!(result, Err(Failure::NotAttempted { .. })) {
            self.state.record(kind, result.is_ok());
        }
        match result {
            Ok(()) => self.failures.remove(&kind),
            Err(failure) => self.failures.insert(kind, failure.to_string().into()),
        };
    }

    fn status(&self) -> ProbeStatus {
        ProbeStatus {
            started: self.state.has_started(),
            ready: self.state.is_ready(),
            live: self.state.is_live(),
            note: self.failures.values().next().cloned(),
        }
    }
}

/// Locks the tracker. It is consistent after every change, so a poisoned lock does no harm.
fn lock(tracker: &Mutex<Tracker>) -> std::sync::MutexGuard<'_, Tracker> {
    tracker.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_was_not_attempted_changes_only_the_note() {
        let probe = r#"{"tcp": {}, "failures": 1}"#;
        let text = format!(r#"{{"readiness": {probe}, "liveness": {probe}}}"#);
        let probes: Probes = serde_json::from_str(&text).unwrap();
        let mut tracker = Tracker { state: ProbeState::new(&probes), failures: BTreeMap::new() };
        tracker.record(ProbeKind::Readiness, Ok(()));
        let not_attempted = || Err(Failure::NotAttempted { why: "Too many open files".to_owned() });

        for kind in [ProbeKind::Readiness, ProbeKind::Liveness] {
            tracker.record(kind, not_attempted());
        }
        let status = tracker.status();
        assert!(status.ready && status.live, "{status:?}");
        assert!(status.note.is_some_and(|note| note.contains("Too many open files")));

        tracker.record(ProbeKind::Readiness, Err(Failure::NoPort));
        assert!(!tracker.status().ready, "a failure still counts");
    }
}
