//! What the answers of probes mean: thresholds as in Kubernetes.
//!
//! Nothing else is asked before the startup probe has passed. From then on a replica is live until its liveness probe has failed
//! `failures` times in a row. It is ready once its readiness probe has passed `successes` times in a row, and until that has failed
//! `failures` times in a row.

use model::resource::{Probe, Probes};

/// Which probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeKind {
    /// Whether it has begun its work.
    Startup,
    /// Whether it may get traffic.
    Readiness,
    /// Whether it must be restarted.
    Liveness,
}

/// What the probes of one life say so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeState {
    startup: Streak,
    readiness: Streak,
    liveness: Streak,
}

/// What one probe says, how many of its latest answers in a row were the same, and its thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Streak {
    says: bool,
    passed_in_a_row: u32,
    failed_in_a_row: u32,
    failures: u32,
    successes: u32,
}

impl ProbeState {
    /// Before the first answer: a probe that is not declared says yes, startup and readiness say no, liveness says yes.
    pub fn new(probes: &Probes) -> Self {
        Self {
            startup: Streak::new(probes.startup.as_ref(), false),
            readiness: Streak::new(probes.readiness.as_ref(), false),
            liveness: Streak::new(probes.liveness.as_ref(), true),
        }
    }

    /// Takes an answer; returns whether what the probes say has changed.
    pub fn answer(&mut self, kind: ProbeKind, passed: bool) -> bool {
        let before = (self.has_begun(), self.is_ready(), self.is_live());
        match kind {
            ProbeKind::Startup => self.startup.answer(passed),
            ProbeKind::Readiness => self.readiness.answer(passed),
            ProbeKind::Liveness => self.liveness.answer(passed),
        }
        before != (self.has_begun(), self.is_ready(), self.is_live())
    }

    /// Whether the replica has begun its work. Once it has, it stays so.
    pub fn has_begun(&self) -> bool {
        self.startup.says
    }

    /// Whether it may get traffic; never before it has begun.
    pub fn is_ready(&self) -> bool {
        self.has_begun() && self.readiness.says
    }

    /// Whether it need not be restarted; false also when its startup probe has used up its failures.
    pub fn is_live(&self) -> bool {
        self.liveness.says && (self.startup.says || self.startup.failed_in_a_row < self.startup.failures)
    }
}

impl Streak {
    fn new(probe: Option<&Probe>, at_first: bool) -> Self {
        let (says, failures, successes) = match probe {
            None => (true, u32::MAX, 1),
            Some(probe) => (at_first, probe.failures.get(), probe.successes.get()),
        };
        Self { says, passed_in_a_row: 0, failed_in_a_row: 0, failures, successes }
    }

    fn answer(&mut self, passed: bool) {
        if passed {
            self.failed_in_a_row = 0;
            self.passed_in_a_row = self.passed_in_a_row.saturating_add(1);
            self.says |= self.passed_in_a_row >= self.successes;
        } else {
            self.passed_in_a_row = 0;
            self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
            self.says &= self.failed_in_a_row < self.failures;
        }
    }
}

#[cfg(test)]
mod tests;
