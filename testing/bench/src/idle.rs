//! `idle`: the memory and processor time of Homeostat while nothing happens.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use procfs::process::Process;
use serde_json::json;

use crate::figure::{Findings, Target, Unit};
use crate::instance::{self, Instance, InstanceFolder};

const MEMORY: Target = Target::AtMost(40e6);
const CPU: Target = Target::AtMost(1.0);
const BINARY: Target = Target::AtMost(30e6);

const SERVICES: usize = 10;
const EACH: usize = 2;

/// The time before the measurement, in which the first samples, plans and writes are made.
const SETTLE: Duration = Duration::from_secs(15);
/// The duration of the measurement: sixty periods of the loop.
const WATCH: Duration = Duration::from_mins(1);

/// Measures a Homeostat with a few services that get no requests.
pub(crate) fn run() -> anyhow::Result<Findings> {
    let mut findings = Findings::of("idle");
    findings.describe(format!(
        "{SERVICES} services of {EACH} replicas, each behind the proxy, probed for readiness each second and for liveness every \
         two by HTTP; {} s after their start, over {} s; no client",
        SETTLE.as_secs(),
        WATCH.as_secs()
    ));
    let binary = std::fs::metadata(instance::program("homeostat")?)
        .context("could not read the size of the binary")?;
    findings.compare("release binary, as built", binary.len() as f64, Unit::Bytes, BINARY);
    let folder = InstanceFolder::new()?;
    let manifests =
        (0..SERVICES).map(|number| manifest(folder.path(), number)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut instance = Instance::up(folder, &manifests, &[])?;
    let process = instance.process()?;
    let mut resident = 0;
    observe(&mut instance, SETTLE, || Ok(()))?;
    let (begun, cpu) = (os::since_boot(), cpu_time(&process)?);
    observe(&mut instance, WATCH, || {
        resident = resident.max(memory(&process)?);
        Ok(())
    })?;
    let elapsed = os::since_boot().saturating_sub(begun);
    let spent = cpu_time(&process)?.saturating_sub(cpu);
    findings.compare("most memory resident", resident as f64, Unit::Bytes, MEMORY);
    let percent = 100.0 * spent.as_secs_f64() / elapsed.as_secs_f64();
    findings.compare("processor, user and system", percent, Unit::PercentOfCore, CPU);
    Ok(findings)
}

fn manifest(folder: &Path, number: usize) -> anyhow::Result<serde_json::Value> {
    let bench = instance::program("bench")?.display().to_string();
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
            "expose": {"listen": instance::free_address(), "port": "http"},
        },
    }))
}

/// Calls `sample` repeatedly for the span; fails if Homeostat exits meanwhile.
fn observe(
    instance: &mut Instance,
    span: Duration,
    mut sample: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let begun = os::since_boot();
    instance.wait_until(span * 2, "the measurement is over", |_| {
        if let Err(error) = sample() {
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
