//! The state of a replica by the results of its probes: thresholds as in Kubernetes.
//!
//! The other probes begin when the startup probe has passed. From then on a replica is live until its liveness probe has failed
//! `failures` times in a row. It is ready once its readiness probe has passed `successes` times in a row, and until that has failed
//! `failures` times in a row.

use model::resource::{Probe, Probes};

/// The kind of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeKind {
    /// Whether the replica has started.
    Startup,
    /// Whether it may get traffic.
    Readiness,
    /// Whether it must be restarted.
    Liveness,
}

/// The state of a replica by the results so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeState {
    startup: Streak,
    readiness: Streak,
    liveness: Streak,
}

/// The state of one probe, how many of its latest results in a row were equal, and its thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Streak {
    is_passing: bool,
    passed_in_a_row: u32,
    failed_in_a_row: u32,
    failures: u32,
    successes: u32,
}

impl ProbeState {
    /// Before the first result a probe that is not declared passes, startup and readiness fail, and liveness passes.
    pub fn new(probes: &Probes) -> Self {
        Self {
            startup: Streak::new(probes.startup.as_ref(), false),
            readiness: Streak::new(probes.readiness.as_ref(), false),
            liveness: Streak::new(probes.liveness.as_ref(), true),
        }
    }

    /// Records a result; returns whether the state has changed.
    pub fn record(&mut self, kind: ProbeKind, passed: bool) -> bool {
        let before = (self.has_started(), self.is_ready(), self.is_live());
        match kind {
            ProbeKind::Startup => self.startup.record(passed),
            ProbeKind::Readiness => self.readiness.record(passed),
            ProbeKind::Liveness => self.liveness.record(passed),
        }
        before != (self.has_started(), self.is_ready(), self.is_live())
    }

    /// Whether the replica has started. Once it has, it stays so.
    pub fn has_started(&self) -> bool {
        self.startup.is_passing
    }

    /// Whether it may get traffic; never before it has started.
    pub fn is_ready(&self) -> bool {
        self.has_started() && self.readiness.is_passing
    }

    /// Whether it need not be restarted; false also when its startup probe has used up its failures.
    pub fn is_live(&self) -> bool {
        self.liveness.is_passing
            && (self.startup.is_passing || self.startup.failed_in_a_row < self.startup.failures)
    }
}

impl Streak {
    fn new(probe: Option<&Probe>, at_first: bool) -> Self {
        let (is_passing, failures, successes) = match probe {
            None => (true, u32::MAX, 1),
            Some(probe) => (at_first, probe.failures.get(), probe.successes.get()),
        };
        Self { is_passing, passed_in_a_row: 0, failed_in_a_row: 0, failures, successes }
    }

    fn record(&mut self, passed: bool) {
        if passed {
            self.failed_in_a_row = 0;
            self.passed_in_a_row = self.passed_in_a_row.saturating_add(1);
            self.is_passing |= self.passed_in_a_row >= self.successes;
        } else {
            self.passed_in_a_row = 0;
            self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
            self.is_passing &= self.failed_in_a_row < self.failures;
        }
    }
}

#[cfg(test)]
mod tests;
