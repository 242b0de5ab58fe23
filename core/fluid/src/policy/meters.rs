//! What the model reports to the planner: the replicas as they are, and a measurement for each metric.

use std::time::Duration;

use model::quantity::{Milli, MilliRps};
use model::resource::{AutoscalerSpec, LatencySlo, MeteredResource, MetricSpec};
use model::time::Time;
use plan::scale::reading::{Gap, Phase, Readiness, ReplicaView, Replicas, Sample, Unavailable};
use plan::simulated::{MeasuredMetric, load_to_carry};

use super::{PolicyInput, TickResult};
use crate::fleet::Replica;

/// One usual replica at full use, in the unit of [`Meter::ArrivedInCapacities`]: so fine that no target is rounded by more than a millionth.
pub(crate) const WHOLE: i64 = 1_000_000;

/// What the model reports for a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meter {
    /// Of each replica: the share that it uses of what it has requested of the processor. At full capacity it uses just that.
    Cpu,
    /// Of each replica: requests a second that it served.
    Served,
    /// Of each replica: its part of the requests a second that came, and of those that have waited for longer than is promised, what is to be worked off.
    Asked(LatencySlo),
    /// Of the whole: requests a second that came.
    Arrived,
    /// Of the whole: what came, in millionths of what a replica carries.
    ArrivedInCapacities,
    /// Nothing: the model does not have it, as memory.
    Nothing,
}

/// The meters of an autoscaler.
#[derive(Clone, Debug)]
pub(crate) struct Meters {
    /// In the order of its metrics.
    pub(crate) meters: Vec<Meter>,
    /// What a replica requests of the processor.
    pub(crate) request: Option<Milli>,
    /// Over how long a replica is measured: in less time after its start it has no sample that counts.
    pub(crate) window: Duration,
}

impl Meters {
    /// The meters that a manifest asks for: metrics of type Object and External are taken to be the load of the trace, metrics that replicas
    /// report themselves to be what they serve. An SLO is compared with the demand on them.
    pub(crate) fn of(spec: &AutoscalerSpec, request: Option<Milli>, window: Duration) -> Self {
        let meters = match spec.policy.slo() {
            Some(slo) => vec![Meter::Asked(slo.latency)],
            None => spec.metrics.iter().map(Meter::of).collect(),
        };
        Self { meters, request, window }
    }

    /// What was measured of each metric in the tick before.
    pub(crate) fn take(&self, input: &PolicyInput<'_>, past: &TickResult) -> Vec<MeasuredMetric> {
        let sample = |value| Ok(Sample { value, at: input.now.time, window: self.window });
        // The ready ones come first.
        let each = |of_ready, of_starting| {
            let (ready, total) = (input.fleet.ready() as usize, input.fleet.total() as usize);
            let mut samples = Vec::with_capacity(total);
            samples.extend((0..ready).map(|_| of_ready));
            samples.extend((ready..total).map(|_| of_starting));
            MeasuredMetric::Each(samples)
        };
        let capacity = input.service.capacity.rate();
        let measured = |meter: &Meter| match meter {
            Meter::Cpu => {
                let used = used_of(self.request.unwrap_or_default(), past.utilization);
                // Starting replicas have a sample that does not count yet, which is another thing than none.
                each(sample(used), sample(Milli(0)))
            }
            Meter::Served => each(sample(milli(past.utilization * capacity)), Err(Gap::Absent)),
            Meter::Asked(promise) => {
                let part = asked(past, *promise) / f64::from(input.fleet.ready().max(1));
                each(sample(milli(part)), Err(Gap::Absent))
            }
            Meter::Arrived => MeasuredMetric::Whole(vec![milli(past.load)]),
            Meter::ArrivedInCapacities => MeasuredMetric::Whole(vec![of_whole(past.load / capacity)]),
            Meter::Nothing => MeasuredMetric::Nothing(Unavailable::NoSource),
        };
        self.meters.iter().map(measured).collect()
    }
}

impl Meter {
    fn of(metric: &MetricSpec) -> Self {
        match metric {
            MetricSpec::Resource { resource: MeteredResource::Cpu, .. }
            | MetricSpec::ContainerResource { resource: MeteredResource::Cpu, .. } => Self::Cpu,
            MetricSpec::Resource { resource: MeteredResource::Memory, .. }
            | MetricSpec::ContainerResource { resource: MeteredResource::Memory, .. } => Self::Nothing,
            MetricSpec::Pods { .. } => Self::Served,
            MetricSpec::Object { .. } | MetricSpec::External { .. } => Self::Arrived,
        }
    }
}

/// The replicas, those that serve and those that start: the same at each tick until [`Fleet::changes`](crate::fleet::Fleet::changes).
pub(crate) fn views(input: &PolicyInput<'_>) -> Replicas {
    let tick_ms = u64::try_from(input.service.tick.as_millis()).unwrap_or(u64::MAX);
    let now_ms = input.now.time.as_millis();
    let at = |tick: u64| {
        let ago_ms = tick_ms.saturating_mul(input.tick.saturating_sub(tick));
        Time::from_millis(now_ms.saturating_sub(ago_ms))
    };
    input.fleet.replicas().map(|replica| view(replica, input.tick, at)).collect()
}

fn view(replica: &Replica, tick: u64, at: impl Fn(u64) -> Time) -> ReplicaView {
    let ready = replica.ready <= tick;
    let since = if ready { replica.ready } else { replica.started };
    ReplicaView {
        phase: Phase::Running,
        leaving: false,
        started: Some(at(replica.started)),
        readiness: Some(Readiness { ready, since: at(since) }),
    }
}

/// The demand on all replicas in requests a second, as production computes it: only whole requests wait.
fn asked(past: &TickResult, promise: LatencySlo) -> f64 {
    let rate = MilliRps((past.load * 1000.0).round() as u64);
    load_to_carry(rate, past.queue as u64, promise).per_second()
}

/// What a replica uses of its request. Cut off to a whole thousandth, as the meters of production do.
fn used_of(request: Milli, utilization: f64) -> Milli {
    Milli((request.0 as f64 * utilization) as i64)
}

/// A part of [`WHOLE`].
pub(crate) fn of_whole(part: f64) -> Milli {
    milli(part * WHOLE as f64 / 1000.0)
}

/// To the nearest thousandth; the largest amount for what does not fit.
fn milli(amount: f64) -> Milli {
    Milli::nearest(amount).unwrap_or(Milli(i64::MAX))
}
