//! Durations and processor times, collected in histograms.

use std::time::Duration;

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};

use crate::figure::{Findings, Target, Unit};

/// The longest span that is recorded: longer ones count as this one. Every wait of a bench ends before.
const SPAN_MAX: Duration = Duration::from_mins(2);

/// A histogram of durations with three significant digits.
#[derive(Debug)]
pub(crate) struct Spans(Histogram<u64>);

impl Spans {
    /// An empty histogram.
    pub(crate) fn new() -> Self {
        let most = u64::try_from(SPAN_MAX.as_nanos()).expect("two minutes of nanoseconds are 37 bits");
        Self(
            Histogram::new_with_bounds(1, most, 3).expect("the bounds are in order and three digits are few"),
        )
    }

    /// Adds a span.
    pub(crate) fn add(&mut self, span: Duration) {
        self.0.saturating_record(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The span that this share of them does not exceed, in seconds; 0 without spans.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1e9
    }

    /// The longest, in seconds; 0 without spans.
    pub(crate) fn longest(&self) -> f64 {
        self.0.max() as f64 / 1e9
    }

    /// Notes p50, p99 and the longest, each with the target given for it.
    pub(crate) fn note(&self, what: &str, targets: [Option<Target>; 3], findings: &mut Findings) {
        let figures = [
            (format!("{what}, p50"), self.quantile(0.5)),
            (format!("{what}, p99"), self.quantile(0.99)),
            (format!("{what}, longest of {}", self.count()), self.longest()),
        ];
        for ((name, value), target) in figures.into_iter().zip(targets) {
            match target {
                Some(target) => findings.compare(name, value, Unit::Seconds, target),
                None => findings.note(name, value, Unit::Seconds),
            }
        }
    }
}

/// The time that one operation took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Wall-clock time, which includes what other programs used.
    pub(crate) elapsed: Duration,
    /// Processor time of this thread.
    pub(crate) cpu: Duration,
}

/// A measurement in progress.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch {
    cpu: Duration,
    elapsed: Duration,
}

impl Stopwatch {
    /// Starts now, on this thread.
    pub(crate) fn start() -> Self {
        let cpu = thread_cpu();
        Self { cpu, elapsed: os::since_boot() }
    }

    /// The cost from the start until now; to be called on the thread that started it.
    pub(crate) fn stop(self) -> Cost {
        let elapsed = os::since_boot().saturating_sub(self.elapsed);
        Cost { elapsed, cpu: thread_cpu().saturating_sub(self.cpu) }
    }
}

fn thread_cpu() -> Duration {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(spent.tv_sec).unwrap_or(0), u32::try_from(spent.tv_nsec).unwrap_or(0))
}

/// Histograms of many costs.
#[derive(Debug)]
pub(crate) struct Costs {
    elapsed: Spans,
    cpu: Spans,
}

impl Costs {
    /// Empty histograms.
    pub(crate) fn new() -> Self {
        Self { elapsed: Spans::new(), cpu: Spans::new() }
    }

    /// Adds a cost.
    pub(crate) fn add(&mut self, cost: Cost) {
        self.elapsed.add(cost.elapsed);
        self.cpu.add(cost.cpu);
    }

    /// The median of the processor times, in seconds; 0 without costs.
    pub(crate) fn median_cpu(&self) -> f64 {
        self.cpu.quantile(0.5)
    }

    /// The highest processor time, in seconds; 0 without costs.
    pub(crate) fn highest_cpu(&self) -> f64 {
        self.cpu.longest()
    }

    /// Notes p50 and p99 by the clock and the highest by processor time, each of which should be within `target`; and the
    /// longest by the clock, which includes the time for which other programs had the core.
    pub(crate) fn note(&self, what: &str, target: Target, findings: &mut Findings) {
        self.elapsed.note(what, [Some(target), Some(target), None], findings);
        let name = format!("{what}, dearest by processor time");
        findings.compare(name, self.cpu.longest(), Unit::Seconds, target);
    }
}
