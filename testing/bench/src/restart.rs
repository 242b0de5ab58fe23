//! `restart`: from kill -9 of a replica to its successor's first instruction, while clients send requests.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::figure::{Findings, Target, Unit};
use crate::instance::{self, Instance, InstanceFolder, ReplicaStatus};
use crate::loading::LoadRun;
use crate::replica::StartReports;
use crate::spans::Spans;

const P50: Target = Target::AtMost(0.010);
const P99: Target = Target::AtMost(0.050);
const NONE: Target = Target::AtMost(0.0);

/// The number of services. Each replica is killed once, because only the first restart is immediate.
///
/// 14 × 10: at least 100 kills, even if one replica in four has ended before, as when another program took its port.
const SERVICES: usize = 14;
/// The replicas of each.
const EACH: usize = 10;

/// Requests a second to the service whose replicas are killed.
///
/// 500: one every 2 ms, so a dead replica that stays in the balancer for 20 ms gets at least one request.
const LOAD: f64 = 500.0;

/// How long a successor may take before the bench gives up.
const START_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long a service may take until all of its replicas are ready again.
const READY_WAIT_MAX: Duration = Duration::from_secs(20);

/// Kills every replica once, service by service, each service under load.
pub(crate) fn run() -> anyhow::Result<Findings> {
    let mut findings = Findings::of("restart");
    findings.describe(format!(
        "{SERVICES} services of {EACH} replicas that answer `ok`; each replica killed once, one at a time, while its service gets \
         {LOAD} requests a second; from before kill(2) to the first line of the successor's main, which is after its exec"
    ));
    let folder = InstanceFolder::new()?;
    let socket = folder.path().join("reports");
    let reports = StartReports::listen(&socket)?;
    let addresses: Vec<_> = (0..SERVICES).map(|_| instance::free_address()).collect();
    let mut manifests = Vec::new();
    for (number, address) in addresses.iter().enumerate() {
        manifests.push(manifest(folder.path(), number, *address, &socket)?);
    }
    let mut instance = Instance::up(folder, &manifests, &RESTARTS_UNLIMITED)?;
    while reports.next(Duration::from_millis(1)).is_some() {}
    let retries_before = instance.counter(RETRIES)?;
    let mut spans = Spans::new();
    let (mut requests, mut failed, mut ended_before) = (0, 0, 0);
    for (number, address) in addresses.iter().enumerate() {
        let name = service_name(number);
        let mut replicas = instance.replicas()?;
        replicas.retain(|replica| replica.service == name);
        ensure!(replicas.len() == EACH, "{name} has {} replicas, not {EACH}", replicas.len());
        replicas.retain(|replica| replica.restarts == 0);
        ended_before += EACH - replicas.len();
        let loading = LoadRun::begin(*address, LOAD, Duration::from_mins(5))?;
        for replica in replicas {
            spans.add(kill(&replica, &reports)?);
            wait_until_ready(&mut instance, &name)?;
        }
        let report = loading.end()?;
        requests += report.requests;
        failed += report.failed;
    }
    let retries = instance.counter(RETRIES)? - retries_before;
    spans.note("from kill -9 to the successor's exec", [Some(P50), Some(P99), None], &mut findings);
    findings.compare("failed requests", failed as f64, Unit::Count, NONE);
    findings.note("requests", requests as f64, Unit::Count);
    findings.note("replicas left out: they had ended by themselves before", ended_before as f64, Unit::Count);
    findings.note("requests sent again to another replica", retries, Unit::Count);
    Ok(findings)
}

/// The counter of requests that were retried because of a dead or refusing replica.
const RETRIES: &str = "homeostat_request_retries_total";

/// Lifts the limit on restarts per minute, which a bench would exceed.
const RESTARTS_UNLIMITED: [&str; 2] = ["--restarts-per-minute", "100000"];

fn service_name(number: usize) -> String {
    format!("target-{number:02}")
}

fn manifest(
    folder: &Path,
    number: usize,
    listen: SocketAddr,
    socket: &Path,
) -> anyhow::Result<serde_json::Value> {
    let command = [
        instance::program("bench")?.display().to_string(),
        "replica".to_owned(),
        "--port".to_owned(),
        "$(PORT_HTTP)".to_owned(),
        "--socket".to_owned(),
        socket.display().to_string(),
    ];
    Ok(json!({
        "apiVersion": "homeostat/v1",
        "kind": "Service",
        "metadata": {"name": service_name(number)},
        "spec": {
            "run": {"command": command, "workingDirectory": folder},
            "resources": {"cpu": "50m", "memory": "64Mi"},
            "ports": [{"name": "http", "protocol": "http"}],
            "probes": {"readiness": {"http": {"path": "/healthz"}, "every": "1s"}},
            "scale": {"replicas": EACH},
            "expose": {"listen": listen, "port": "http"},
        },
    }))
}

/// Kills a replica and waits for the start of its successor.
fn kill(replica: &ReplicaStatus, reports: &StartReports) -> anyhow::Result<Duration> {
    let dead = replica.pid.context("a replica without a process")?;
    let pid = Pid::from_raw(dead).context("no process has the number 0")?;
    let killed = os::since_boot();
    kill_process(pid, Signal::KILL).with_context(|| format!("could not kill replica {dead}"))?;
    let report = reports.next(START_WAIT_MAX).with_context(|| {
        format!("a replica of {} had no successor within {} s", replica.service, START_WAIT_MAX.as_secs())
    })?;
    ensure!(report.pid != dead && report.at > killed, "the reported start is not that of the successor");
    Ok(report.at.saturating_sub(killed))
}

/// Waits until all replicas of the service are ready again, so that each kill happens in the same state.
fn wait_until_ready(instance: &mut Instance, name: &str) -> anyhow::Result<()> {
    instance.wait_until(READY_WAIT_MAX, "all replicas are ready again", |instance| {
        let replicas = instance.replicas().ok()?;
        let ready = replicas.iter().filter(|replica| replica.service == name && replica.ready).count();
        (ready == EACH).then_some(())
    })
}
