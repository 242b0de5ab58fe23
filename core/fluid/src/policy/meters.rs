//! What the model reports to the planner: its replicas, and a measurement for each metric.

use std::time::Duration;

use model::quantity::{Milli, MilliRps};
use model::resource::{AutoscalerSpec, LatencySlo, MeteredResource, MetricSpec};
use model::time::Time;
use plan::scale::reading::{Gap, Phase, Readiness, ReplicaView, Replicas, Sample, Unavailable};
use plan::simulated::{MeasuredMetric, load_to_carry};

use super::{PolicyInput, TickResult};
use crate::fleet::Replica;

/// One nominal replica at full utilization, in the unit of [`Meter::ArrivedInCapacities`]: fine enough that rounding a target changes it by
/// at most a millionth.
pub(crate) const WHOLE: i64 = 1_000_000;

/// The source of a metric in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meter {
    /// Per replica: used processor time. At full capacity a replica uses exactly what it requests.
    Cpu,
    /// Per replica: served requests a second.
    Served,
    /// Per replica: its share of the demand in requests a second, which includes the backlog that waits longer than the SLO allows.
    Demanded(LatencySlo),
    /// In total: requests a second that arrived.
    Arrived,
    /// In total: requests a second that arrived, in millionths of the capacity of a replica.
    ArrivedInCapacities,
    /// No source: the model does not have the metric, for example memory.
    Nothing,
}

/// The meters of an autoscaler.
#[derive(Clone, Debug)]
pub(crate) struct Meters {
    /// In the order of its metrics.
    pub(crate) meters: Vec<Meter>,
    /// The CPU request of a replica.
    pub(crate) request: Option<Milli>,
    /// The window of a sample: a younger replica has no sample that counts.
    pub(crate) window: Duration,
}

impl Meters {
    /// The meters of a manifest's metrics: types Object and External are assumed to be the load of the trace, type Pods the served requests. An
    /// SLO uses the demand per replica.
    pub(crate) fn of(spec: &AutoscalerSpec, request: Option<Milli>, window: Duration) -> Self {
        let meters = match spec.policy.slo() {
            Some(slo) => vec![Meter::Demanded(slo.latency)],
            None => spec.metrics.iter().map(Meter::of).collect(),
        };
        Self { meters, request, window }
    }

    /// The measurement of each metric in the previous tick.
    pub(crate) fn take(&self, input: &PolicyInput<'_>, past: &TickResult) -> Vec<MeasuredMetric> {
        let sample = |value| Ok(Sample { value, at: input.now.time, window: self.window });
        // Replicas are in the order of `views`: ready ones first.
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
                // A starting replica has a sample that does not count yet, which the planner distinguishes from a missing one.
                each(sample(used), sample(Milli(0)))
            }
            Meter::Served => each(sample(milli(past.utilization * capacity)), Err(Gap::Absent)),
            Meter::Demanded(slo) => {
                let per_replica = demand(past, *slo) / f64::from(input.fleet.ready().max(1));
                each(sample(milli(per_replica)), Err(Gap::Absent))
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

/// The ready and starting replicas as the planner sees them; they change only with [`Fleet::changes`](crate::fleet::Fleet::changes).
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

/// The demand on all replicas in requests a second, as the planner computes it: only whole requests wait.
fn demand(past: &TickResult, slo: LatencySlo) -> f64 {
    let rate = MilliRps((past.load * 1000.0).round() as u64);
    load_to_carry(rate, past.queue as u64, slo).per_second()
}

/// The used processor time of a replica, truncated to a thousandth as in production.
fn used_of(request: Milli, utilization: f64) -> Milli {
    Milli((request.0 as f64 * utilization) as i64)
}

/// The share `part` of [`WHOLE`].
pub(crate) fn of_whole(part: f64) -> Milli {
    milli(part * WHOLE as f64 / 1000.0)
}

/// `amount` to the nearest thousandth; the largest amount where it does not fit.
fn milli(amount: f64) -> Milli {
    Milli::nearest(amount).unwrap_or(Milli(i64::MAX))
}
