//! `scale-out`: from a step of the load to the first request that a new replica serves.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;

use crate::figure::{Findings, Target, Unit};
use crate::instance::{self, Instance, InstanceFolder};
use crate::loading::LoadRun;
use crate::spans::Spans;

/// The time until the decision: a tenth of the mean of Kubernetes' autoscaler, 27.5 s (kubernetes/kubernetes#110317).
const DECIDED: Target = Target::AtMost(2.75);
const P50: Target = Target::AtMost(2.0);
const P99: Target = Target::AtMost(4.0);

/// Steps of the load: of this many, p99 is the longest.
const ROUNDS: usize = 20;

/// Requests a second before the step: a sixth of the declared capacity of two replicas.
const QUIET: f64 = 20.0;
/// Requests a second after it: each costs 2.5 ms, which makes four times the cpu that two replicas should use.
const BUSY: f64 = 250.0;
/// The minimum number of replicas, from which each step starts.
const FEWEST: u32 = 2;

/// How long the quiet load lasts before a step, after autoscaling is on again.
///
/// 5 s: twice the window of measurement and a period of the loop, so that nothing of the last round is measured any more.
const QUIET_FOR: Duration = Duration::from_secs(5);

/// The longest waits, for a step and for everything else.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Raises the load repeatedly, each time from the minimum number of replicas.
pub(crate) fn run() -> anyhow::Result<Findings> {
    let mut findings = Findings::of("scale-out");
    findings.describe(format!(
        "{ROUNDS} steps of real HTTP load from {QUIET} to {BUSY} requests a second on the shop, which costs 2.5 ms of processor a \
         page and opens in 200 ms; {FEWEST} replicas of 150m at first, autoscaler on cpu at 50 %, the loop's period at its default \
         of 1 s; the replica's own counter says when it has served, looked at every 20 ms"
    ));
    let folder = InstanceFolder::new()?;
    let shop = instance::free_address();
    let manifests = manifests(folder.path(), shop)?;
    let mut instance = Instance::up(folder, &manifests, &[])?;
    let [mut decided, mut started, mut spans] = std::array::from_fn(|_| Spans::new());
    let (mut requests, mut failed) = (0, 0);
    for _ in 0..ROUNDS {
        reset(&mut instance, shop)?;
        let known = pids(&instance)?;
        let begun = os::since_boot();
        let loading = LoadRun::begin(shop, BUSY, WAIT_MAX * 2)?;
        instance.wait_until(WAIT_MAX, "more replicas are desired", |instance| {
            is_scaling_out(instance).then_some(())
        })?;
        let decision = os::since_boot().saturating_sub(begun);
        instance.wait_until(WAIT_MAX, "a new replica serves", |instance| {
            has_new_replica_served(instance, &known).then_some(())
        })?;
        let served = os::since_boot().saturating_sub(begun);
        decided.add(decision);
        started.add(served.saturating_sub(decision));
        spans.add(served);
        let report = loading.end()?;
        requests += report.requests;
        failed += report.failed;
    }
    decided.note("from the step to the decision", [Some(DECIDED), None, None], &mut findings);
    started.note("from the decision to that request", [None; 3], &mut findings);
    spans.note(
        "from the step to the first request that a new replica served",
        [Some(P50), Some(P99), None],
        &mut findings,
    );
    findings.note("requests", requests as f64, Unit::Count);
    findings.note("failed requests", failed as f64, Unit::Count);
    Ok(findings)
}

/// Whether more replicas are desired than at the start.
fn is_scaling_out(instance: &Instance) -> bool {
    instance.services().is_ok_and(|services| services.iter().any(|status| status.desired_replicas > FEWEST))
}

/// Returns the shop to its minimum number of replicas and to the quiet load.
fn reset(instance: &mut Instance, shop: SocketAddr) -> anyhow::Result<()> {
    instance.run(&["scale", "service/shop", "--replicas", &FEWEST.to_string()])?;
    instance.wait_until(WAIT_MAX, "the shop is at its minimum number of replicas", |instance| {
        let services = instance.services().ok()?;
        let status = services.first()?;
        let processes = instance.replicas().ok()?.len();
        (processes == FEWEST as usize && status.ready_replicas == FEWEST).then_some(())
    })?;
    instance.run(&["scale", "service/shop", "--auto"])?;
    let quiet = LoadRun::begin(shop, QUIET, WAIT_MAX)?;
    let begun = os::since_boot();
    instance.wait_until(WAIT_MAX, "the quiet time is over", |_| {
        (os::since_boot().saturating_sub(begun) >= QUIET_FOR).then_some(())
    })?;
    quiet.end()?;
    Ok(())
}

fn pids(instance: &Instance) -> anyhow::Result<BTreeSet<i32>> {
    Ok(instance.replicas()?.into_iter().filter_map(|replica| replica.pid).collect())
}

/// Whether a new replica has served a request, by its own counter, which does not include probes.
fn has_new_replica_served(instance: &Instance, known: &BTreeSet<i32>) -> bool {
    let replicas = instance.replicas().unwrap_or_default();
    replicas.iter().filter(|replica| replica.pid.is_some_and(|pid| !known.contains(&pid))).any(|replica| {
        let counters =
            replica.ports.get("http").map(|port| instance.read(&format!("http://127.0.0.1:{port}/metrics")));
        counters
            .is_some_and(|text| text.is_ok_and(|text| instance::sum_of(&text, "shop_requests_total") > 0.0))
    })
}

/// The shop of examples/flash-sale, with its autoscaler in the current form.
fn manifests(folder: &Path, listen: SocketAddr) -> anyhow::Result<[serde_json::Value; 1]> {
    let shop = instance::program("shop")?;
    let shop = shop.to_str().context("the path of the shop is not valid UTF-8")?;
    let command = [shop, "--port", "$(PORT_HTTP)", "--work", "2.5ms", "--startup", "200ms", "--grace", "8s"];
    Ok([json!({
        "apiVersion": "homeostat/v1",
        "kind": "Service",
        "metadata": {"name": "shop"},
        "spec": {
            "run": {"command": command, "workingDirectory": folder},
            "resources": {"cpu": "150m", "memory": "64Mi"},
            "ports": [{"name": "http", "protocol": "http"}],
            "probes": {
                "readiness": {"http": {"path": "/healthz"}, "every": "250ms", "timeout": "1s", "failures": 2},
                "liveness": {"http": {"path": "/livez"}, "every": "2s", "timeout": "1s", "failures": 3},
            },
            "scale": {
                "min": FEWEST,
                "max": 10,
                "metrics": [{
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
                }],
                "behavior": {"scaleUp": {"policies": [
                    {"type": "Percent", "value": 100, "periodSeconds": 2},
                    {"type": "Pods", "value": 4, "periodSeconds": 2},
                ]}},
            },
            "expose": {"listen": listen, "port": "http", "balance": "leastLoaded"},
        },
    })])
}
