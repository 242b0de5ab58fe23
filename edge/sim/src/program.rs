//! How the program of a service behaves.

use std::time::Duration;

use model::quantity::Bytes;

/// How the replicas of one generation of a service behave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// From the start action to the running program, at least and at most.
    pub exec: (Duration, Duration),
    /// From the running program until it may get traffic, at least and at most.
    pub boot: (Duration, Duration),
    /// Processor time that a request costs.
    pub cost: Duration,
    /// The most processor it can use, in thousandths of a core; at least 1.
    pub cpu_limit_milli: u64,
    /// Processor that it uses until it may get traffic, in thousandths of a core.
    pub boot_cpu_milli: u64,
    /// How long it warms up once it may get traffic, and how much more processor it takes meanwhile, in thousandths of a core.
    pub warmup: (Duration, u64),
    /// Memory that it takes.
    pub memory: Bytes,
    /// From its stop signal to its end.
    pub stop: Duration,
    /// Whether its platform can change its resources while it runs.
    pub is_resizable: bool,
    /// Its defect.
    pub defect: Defect,
}

/// A defect of a program, the same in each of its lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Defect {
    /// No defect.
    #[default]
    None,
    /// It ends by itself with this exit code, `after` it began to run.
    Ends {
        /// Its exit code.
        code: i32,
        /// From its exec to its end.
        after: Duration,
    },
    /// It runs and is never ready.
    NeverReady,
}

impl Program {
    /// Requests that a replica can answer within `span`, in thousandths.
    pub(crate) fn capacity_milli(&self, span: Duration) -> u64 {
        let cost_us = u64::try_from(self.cost.as_micros()).unwrap_or(u64::MAX).max(1);
        let span_us = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        // (milli-cores / 1000) × span / cost requests, times 1000.
        self.cpu_limit_milli.saturating_mul(span_us) / cost_us
    }
}

impl Default for Program {
    /// A small web shop: 10 ms a request on a quarter of a core, ready within a second.
    fn default() -> Self {
        Self {
            exec: (Duration::from_millis(5), Duration::from_millis(20)),
            boot: (Duration::from_millis(400), Duration::from_millis(900)),
            cost: Duration::from_millis(10),
            cpu_limit_milli: 250,
            boot_cpu_milli: 200,
            warmup: (Duration::ZERO, 0),
            memory: Bytes(64 << 20),
            stop: Duration::from_millis(50),
            is_resizable: true,
            defect: Defect::None,
        }
    }
}
