//! `idle`: what Homeostat costs while nothing happens.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use procfs::process::Process;
use serde_json::json;

use crate::figure::{Findings, Target, Unit};
use crate::house::{self, House, Place};

const MEMORY: Target = Target::AtMost(40e6);
const CPU: Target = Target::AtMost(1.0);
const BINARY: Target = Target::AtMost(30e6);

const SERVICES: usize = 10;
const EACH: usize = 2;

/// By then the cost of the start is over: the first samples, plans and writes have been made.
const SETTLE: Duration = Duration::from_secs(15);
/// How long it is measured: sixty periods of the loop.
const WATCH: Duration = Duration::from_mins(1);

/// Measures a Homeostat with a few services that get no requests.
pub(crate) fn run() -> anyhow::Result<Findings> {
    let mut findings = Findings::of("idle");
    findings.say(format!(
        "{SERVICES} services of {EACH} replicas, each behind the proxy, asked for readiness each second and for liveness every \
         two by HTTP; {} s after their start, over {} s; no client",
        SETTLE.as_secs(),
        WATCH.as_secs()
    ));
    let binary = std::fs::metadata(house::program("homeostat")?).context("could not look at the binary")?;
    findings.hold("release binary, as built", binary.len() as f64, Unit::Bytes, BINARY);
    let place = Place::new()?;
    let manifests =
        (0..SERVICES).map(|number| manifest(place.path(), number)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut house = House::up(place, &manifests, &[])?;
    let process = house.process()?;
    let mut resident = 0;
    watch(&mut house, SETTLE, || Ok(()))?;
    let (begun, cpu) = (os::since_boot(), cpu_time(&process)?);
    watch(&mut house, WATCH, || {
        resident = resident.max(memory(&process)?);
        Ok(())
    })?;
    let elapsed = os::since_boot().saturating_sub(begun);
    let spent = cpu_time(&process)?.saturating_sub(cpu);
    findings.hold("most memory resident", resident as f64, Unit::Bytes, MEMORY);
    let percent = 100.0 * spent.as_secs_f64() / elapsed.as_secs_f64();
    findings.hold("processor, user and system", percent, Unit::PercentOfCore, CPU);
    Ok(findings)
}

fn manifest(folder: &Path, number: usize) -> anyhow::Result<serde_json::Value> {
    let bench = house::program("bench")?.display().to_string();
    Ok(json!({
        "apiVersion": "homeostat/v1",
        "kind": "Service",
        "metadata": {"name": format!("idle-{number}")},
        "spec": {
            "run": {"command": [bench, "replica", "--port", "$(PORT_HTTP)"], "workingDirectory": folder},
            "resources": {"cpu": "50m", "memory": "64Mi"},
            "ports": [{"name": "http", "protocol": "http"}],
            "probes": {
                "readiness": {"http": {"path": "/healthz"}, "every": "1s"},
                "liveness": {"http": {"path": "/livez"}, "every": "2s"},
            },
            "scale": {"replicas": EACH},
            "expose": {"listen": house::free_address(), "port": "http"},
        },
    }))
}

/// Measures Homeostat for this long; fails when it ends meanwhile.
fn watch(
    house: &mut House,
    span: Duration,
    mut look: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let begun = os::since_boot();
    house.wait(span * 2, "the watch was over", |_| {
        if let Err(error) = look() {
            return Some(Err(error));
        }
        (os::since_boot().saturating_sub(begun) >= span).then_some(Ok(()))
    })?
}

/// Processor time of a process since its start, user and system.
pub(crate) fn cpu_time(process: &Process) -> anyhow::Result<Duration> {
    let stat = process.stat().context("could not read the processor time of a process")?;
    let ticks = (stat.utime + stat.stime) as f64;
    Ok(Duration::from_secs_f64(ticks / procfs::ticks_per_second() as f64))
}

/// Resident memory of a process, in bytes.
pub(crate) fn memory(process: &Process) -> anyhow::Result<u64> {
    let statm = process.statm().context("could not read the memory of a process")?;
    Ok(statm.resident * procfs::page_size())
}
