//! Answers of probes in, what they mean out: thresholds as Kubernetes has them.
//!
//! Before the startup probe has passed nothing else is asked. Then a replica is live until its liveness probe has failed so many
//! times in a row, and ready once its readiness probe has passed so many times in a row, until it has failed so many times.

use model::resource::{Probe, Probes};

/// Which probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeKind {
    /// Has it begun.
    Startup,
    /// May it get traffic.
    Readiness,
    /// Must it be restarted.
    Liveness,
}

/// What the probes of one life say so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeState {
    startup: Row,
    readiness: Row,
    liveness: Row,
}

/// One probe: what it says, and how the latest answers went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
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
            startup: Row::new(probes.startup.as_ref(), false),
            readiness: Row::new(probes.readiness.as_ref(), false),
            liveness: Row::new(probes.liveness.as_ref(), true),
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

    /// Whether it need not be restarted; no, when it has not begun within the answers that its startup probe allows.
    pub fn is_live(&self) -> bool {
        self.liveness.says && (self.startup.says || self.startup.failed_in_a_row < self.startup.failures)
    }
}

impl Row {
    fn new(probe: Option<&Probe>, at_first: bool) -> Self {
        match probe {
            None => {
                Self { says: true, passed_in_a_row: 0, failed_in_a_row: 0, failures: u32::MAX, successes: 1 }
            }
            Some(probe) => {
                let (failures, successes) = (probe.failures.get(), probe.successes.get());
                Self { says: at_first, passed_in_a_row: 0, failed_in_a_row: 0, failures, successes }
            }
        }
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
