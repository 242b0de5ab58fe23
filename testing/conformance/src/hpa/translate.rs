//! Translates the shapes of rows to the types of crate `plan`.

use std::time::Duration;

use model::memory::{Recommendation, ScaleEvent, ScalingMemory};
use model::resource::{Behavior, Percent, PolicyChange, Quantity, ScalingPolicy, ScalingRules, SelectPolicy};
use model::time::Time;
use plan::scale::reading::{Gap, Milli, Phase, Readiness, ReplicaView, RequestFault, Sample};
use plan::scale::request::{ContainerRequest, ContainerRole, PodRequests, usage_of_container, usage_total};

use super::row::{EventRow, Pod, PodMetric, RecommendationRow, Rules};

/// The time of every case: late enough that each age is after the start of the clock.
pub const NOW: Time = Time::from_millis(2_000_000_000_000);

/// The time `age_s` before [`NOW`].
pub fn ago(age_s: u64) -> Time {
    NOW - Duration::from_secs(age_s)
}

/// A pod as the algorithm sees it.
pub fn replica(pod: &Pod) -> Result<ReplicaView, String> {
    let phase = match pod.phase.as_str() {
        "Pending" => Phase::Pending,
        "Running" => Phase::Running,
        "Succeeded" => Phase::Succeeded,
        "Failed" => Phase::Failed,
        other => return Err(format!("unknown phase {other:?}")),
    };
    let readiness = pod.ready.as_ref().map(|ready| Readiness {
        ready: ready == "True",
        since: pod.ready_transition_age_s.map_or(Time::ZERO, ago),
    });
    Ok(ReplicaView { phase, leaving: pod.deleting, started: pod.start_age_s.map(ago), readiness })
}

/// All pods as the algorithm sees them.
pub fn replicas(pods: &[Pod]) -> Result<Vec<ReplicaView>, String> {
    pods.iter().map(replica).collect()
}

/// Samples in the order of `pods`, and the number of samples of other pods.
pub fn samples(
    pods: &[Pod],
    metrics: &[PodMetric],
    container: Option<&str>,
) -> (Vec<Result<Sample, Gap>>, u32) {
    let of = |pod: &Pod| {
        let metric = metrics.iter().find(|metric| metric.pod == pod.name).ok_or(Gap::Absent)?;
        let used = metric.containers_milli.iter().map(|(name, milli)| (name.as_str(), Milli(*milli)));
        let value = match (metric.value_milli, container) {
            (Some(value), _) => Milli(value),
            (None, None) => usage_total(used),
            (None, Some(container)) => usage_of_container(used, container)?,
        };
        Ok(Sample { value, at: ago(metric.age_s), window: Duration::from_secs(metric.window_s) })
    };
    let is_unmatched = |metric: &&PodMetric| pods.iter().all(|pod| pod.name != metric.pod);
    let unmatched = metrics.iter().filter(is_unmatched).count();
    (pods.iter().map(of).collect(), u32::try_from(unmatched).expect("a row has few samples"))
}

/// Each pod's request of `resource`, in their order.
pub fn requests(
    pods: &[Pod],
    resource: &str,
    container: Option<&str>,
    knows_whole: bool,
) -> Result<Vec<Milli>, RequestFault> {
    pods.iter().map(|pod| request(pod, resource, container, knows_whole)).collect()
}

fn request(
    pod: &Pod,
    resource: &str,
    container: Option<&str>,
    knows_whole: bool,
) -> Result<Milli, RequestFault> {
    let main = pod.containers.iter().map(|c| (c, ContainerRole::Main));
    let init = pod.init_containers.iter().map(|c| match c.restart_policy.as_deref() {
        Some("Always") => (c, ContainerRole::Sidecar),
        Some(_) | None => (c, ContainerRole::Init),
    });
    let containers: Vec<_> = main
        .chain(init)
        .map(|(c, role)| ContainerRequest {
            name: &c.name,
            role,
            request: c.requests_milli.get(resource).map(|milli| Milli(*milli)),
        })
        .collect();
    let whole = pod.pod_level_requests_milli.get(resource).filter(|_| knows_whole);
    let declared = PodRequests {
        pod: &pod.name,
        resource,
        whole: whole.map(|milli| Milli(*milli)),
        containers: &containers,
    };
    match container {
        None => declared.total(),
        Some(name) => declared.of_container(name),
    }
}

/// The rules of one direction; `window_s` is the default window.
pub fn rules(rules: &Rules, window_s: u64, tolerance: Option<Quantity>) -> Result<ScalingRules, String> {
    let policy = |row: &super::row::PolicyRow| {
        let change = match row.kind.as_str() {
            "Pods" => PolicyChange::Pods(row.value),
            "Percent" => PolicyChange::Percent(Percent(row.value)),
            other => return Err(format!("unknown policy type {other:?}")),
        };
        Ok(ScalingPolicy { change, period: Duration::from_secs(row.period_s) })
    };
    Ok(ScalingRules {
        stabilization: Duration::from_secs(rules.stabilization_window_s.unwrap_or(window_s)),
        select: match rules.select_policy.as_str() {
            "Max" => SelectPolicy::Max,
            "Min" => SelectPolicy::Min,
            "Disabled" => SelectPolicy::Disabled,
            other => return Err(format!("unknown selectPolicy {other:?}")),
        },
        policies: rules.policies.iter().map(policy).collect::<Result<_, _>>()?,
        tolerance,
    })
}

/// Rules of both directions that allow any change at once and differ only in their windows and tolerances.
pub fn behavior_of(up: (u64, Option<Quantity>), down: (u64, Option<Quantity>)) -> Behavior {
    let rules = |(window_s, tolerance)| ScalingRules {
        stabilization: Duration::from_secs(window_s),
        select: SelectPolicy::Max,
        policies: vec![ScalingPolicy {
            change: PolicyChange::Percent(Percent(100)),
            period: Duration::from_secs(15),
        }],
        tolerance,
    };
    Behavior { scale_up: rules(up), scale_down: rules(down) }
}

/// Changes of the number of replicas.
pub fn events(rows: &[EventRow]) -> Vec<ScaleEvent> {
    rows.iter()
        .map(|row| ScaleEvent { at: ago(row.age_s), change: row.change, outdated: row.outdated })
        .collect()
}

/// Earlier recommendations, slot by slot.
pub fn recommendations(rows: &[RecommendationRow]) -> Vec<Recommendation> {
    rows.iter().map(|row| Recommendation { at: ago(row.age_s), replicas: row.replicas }).collect()
}

/// The memory with only these changes of size in it.
pub fn memory_of(up: &[EventRow], down: &[EventRow]) -> ScalingMemory {
    ScalingMemory { scale_out: events(up), scale_in: events(down), ..ScalingMemory::default() }
}
