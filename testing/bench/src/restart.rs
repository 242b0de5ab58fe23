//! `restart`: from kill -9 of a replica to its successor's first instruction, while clients send requests.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::figure::{Findings, Target, Unit};
use crate::house::{self, House, Place, ReplicaStatus};
use crate::loading::Loading;
use crate::replica::Births;
use crate::spans::Spans;

const P50: Target = Target::AtMost(0.010);
const P99: Target = Target::AtMost(0.050);
const NONE: Target = Target::AtMost(0.0);

/// The services, one after the other; each replica is killed once, as only its first end is answered at once.
///
/// 14 × 10: at least 100 kills, even where one replica in four has ended before, as when another program took its port.
const SERVICES: usize = 14;
/// The replicas of each.
const EACH: usize = 10;

/// Requests a second to the service whose replicas are killed.
///
/// 500: one every 2 ms, so a dead replica that stays in the balancer for 20 ms gets at least one request.
const LOAD: f64 = 500.0;

/// How long a successor may take before the bench gives up.
const BIRTH_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long a service may take to have all its replicas ready again.
const HEALED_WAIT_MAX: Duration = Duration::from_secs(20);

/// Kills every replica once, service by service, each service under load.
pub(crate) fn run() -> anyhow::Result<Findings> {
    let mut findings = Findings::of("restart");
    findings.say(format!(
        "{SERVICES} services of {EACH} replicas that answer `ok`; each replica killed once, one at a time, its service asked \
         {LOAD} times a second; from before kill(2) to the first line of the successor's main, which is after its exec"
    ));
    let place = Place::new()?;
    let births_path = place.path().join("births");
    let births = Births::listen(&births_path)?;
    let addresses: Vec<_> = (0..SERVICES).map(|_| house::free_address()).collect();
    let mut manifests = Vec::new();
    for (number, address) in addresses.iter().enumerate() {
        manifests.push(manifest(place.path(), number, *address, &births_path)?);
    }
    let mut house = House::up(place, &manifests, &RESTARTS_UNLIMITED)?;
    while births.next(Duration::from_millis(1)).is_some() {}
    let retries_before = house.counter(RETRIES)?;
    let mut spans = Spans::new();
    let (mut requests, mut failed, mut ended_before) = (0, 0, 0);
    for (number, address) in addresses.iter().enumerate() {
        let name = service_name(number);
        let mut replicas = house.replicas()?;
        replicas.retain(|replica| replica.service == name);
        ensure!(replicas.len() == EACH, "{name} has {} replicas, not {EACH}", replicas.len());
        replicas.retain(|replica| replica.restarts == 0);
        ended_before += EACH - replicas.len();
        let loading = Loading::begin(*address, LOAD, Duration::from_mins(5))?;
        for replica in replicas {
            spans.add(kill(&replica, &births)?);
            healed(&mut house, &name)?;
        }
        let report = loading.end()?;
        requests += report.requests;
        failed += report.failed;
    }
    let retries = house.counter(RETRIES)? - retries_before;
    spans.tell("from kill -9 to the successor's exec", [Some(P50), Some(P99), None], &mut findings);
    findings.hold("failed requests", failed as f64, Unit::Count, NONE);
    findings.note("requests", requests as f64, Unit::Count);
    findings.note("replicas left out: they had ended by themselves before", ended_before as f64, Unit::Count);
    findings.note("requests sent again to another replica", retries, Unit::Count);
    Ok(findings)
}

/// The counter of requests that needed a second try because of a dead or refusing replica.
const RETRIES: &str = "homeostat_request_retries_total";

/// Lifts the limits on restarts per minute, which are meant for storms, not for benches.
const RESTARTS_UNLIMITED: [&str; 2] = ["--restarts-per-minute", "100000"];

fn service_name(number: usize) -> String {
    format!("target-{number:02}")
}

fn manifest(
    folder: &Path,
    number: usize,
    listen: SocketAddr,
    births: &Path,
) -> anyhow::Result<serde_json::Value> {
    let command = [
        house::program("bench")?.display().to_string(),
        "replica".to_owned(),
        "--port".to_owned(),
        "$(PORT_HTTP)".to_owned(),
        "--socket".to_owned(),
        births.display().to_string(),
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

/// Kills a replica and waits for the birth of its successor.
fn kill(replica: &ReplicaStatus, births: &Births) -> anyhow::Result<Duration> {
    let dead = replica.pid.context("a replica without a process")?;
    let pid = Pid::from_raw(dead).context("no process has the number 0")?;
    let killed = os::since_boot();
    kill_process(pid, Signal::KILL).with_context(|| format!("could not kill replica {dead}"))?;
    let birth = births.next(BIRTH_WAIT_MAX).with_context(|| {
        format!("a replica of {} had no successor within {} s", replica.service, BIRTH_WAIT_MAX.as_secs())
    })?;
    ensure!(
        birth.pid != dead && birth.at > killed,
        "the birth that was reported is not that of the successor"
    );
    Ok(birth.at.saturating_sub(killed))
}

/// Waits until the service is whole again, so that the next kill meets the same state as the first.
fn healed(house: &mut House, name: &str) -> anyhow::Result<()> {
    house.wait(HEALED_WAIT_MAX, "all replicas are ready again", |house| {
        let replicas = house.replicas().ok()?;
        let ready = replicas.iter().filter(|replica| replica.service == name && replica.ready).count();
        (ready == EACH).then_some(())
    })
}
