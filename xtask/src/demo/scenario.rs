//! The course of the demo: load, scale-out, one killed replica, scale-in; recorded for the summary.

use std::io::{IsTerminal, Write};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::stage::{self, Stage};
use super::watch::{Decision, LoadReport, Replica, Replicas, ServiceStatus};

/// Interval between samples.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(500);

/// Time from the first additional ready replica to the kill: during the peak, when all replicas are in use.
const KILL_DELAY: Duration = Duration::from_secs(5);

/// Longest time to scale in after the load has ended.
///
/// 120 s: the example has a stabilization window of ten seconds, removes three replicas every five, and a replica
/// may take eight to finish; the rest is for a busy machine.
const SCALE_IN_WAIT_MAX: Duration = Duration::from_secs(120);

/// Longest duration of the load.
///
/// 30 min: a recorded day at speed 48.
const LOAD_WAIT_MAX: Duration = Duration::from_secs(30 * 60);

/// The record of a run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) at_start: ServiceStatus,
    pub(super) samples: Vec<Sample>,
    /// Each decision that changed the desired number of replicas, in order.
    pub(super) decisions: Vec<Decision>,
    pub(super) killed: Option<KilledReplica>,
    pub(super) load: LoadReport,
}

/// The status of the shop at one time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// Since the load began.
    pub(super) at: Duration,
    pub(super) status: ServiceStatus,
}

/// The replica that was killed with -9.
#[derive(Debug)]
pub(super) struct KilledReplica {
    pub(super) name: String,
    pub(super) pid: i32,
    /// Since the load began.
    pub(super) at: Duration,
    /// All processes of the shop before the kill.
    pub(super) served_before: Vec<i32>,
    /// Time from the kill to the first sample with a ready new process; samples are half a second apart.
    pub(super) successor_after: Option<Duration>,
}

/// The fault during the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// One replica is killed after the scale-out.
    KillOne,
}

/// Runs the load with the fault, records samples, and waits for the scale-in.
///
/// Fails when a command or the load could not be run; the summary judges the result.
pub(super) fn run(stage: &mut Stage, load_arguments: &[String], fault: Fault) -> anyhow::Result<Run> {
    let at_start = stage.status()?;
    let mut load = Load(stage.start_load(load_arguments)?);
    let mut recorder = Recorder::begin(at_start);
    while !load.has_ended()? {
        ensure!(
            recorder.start.elapsed() < LOAD_WAIT_MAX,
            "the load did not end within {} s",
            LOAD_WAIT_MAX.as_secs()
        );
        recorder.pause(stage)?;
        recorder.sample(stage)?;
        if fault == Fault::KillOne {
            recorder.kill_one_when_due(stage)?;
        }
    }
    let report = stage.load_report()?;
    let load_end = Instant::now();
    while recorder.is_scaled_out() && load_end.elapsed() < SCALE_IN_WAIT_MAX {
        recorder.pause(stage)?;
        recorder.sample(stage)?;
    }
    recorder.progress.end();
    Ok(Run {
        at_start,
        samples: recorder.samples,
        decisions: recorder.decisions,
        killed: recorder.killed,
        load: report,
    })
}

fn replicas_of_the_shop(stage: &Stage) -> anyhow::Result<Vec<Replica>> {
    let all: Replicas = stage.query(&["get", "replicas"])?;
    Ok(all.items.into_iter().filter(|replica| replica.status.service == "shop").collect())
}

/// The load generator; interrupted when dropped.
struct Load(Child);

impl Load {
    fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.0.try_wait().context("could not check the process of the load")?.is_some())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        stage::stop(&mut self.0);
    }
}

struct Recorder {
    start: Instant,
    at_start: ServiceStatus,
    samples: Vec<Sample>,
    decisions: Vec<Decision>,
    killed: Option<KilledReplica>,
    /// When more replicas than at the start were first ready.
    scaled_out: Option<Instant>,
    progress: Progress,
}

impl Recorder {
    fn begin(at_start: ServiceStatus) -> Self {
        let progress = Progress { is_live: std::io::stderr().is_terminal(), last: None };
        let start = Instant::now();
        Self {
            start,
            at_start,
            samples: vec![Sample { at: Duration::ZERO, status: at_start }],
            decisions: Vec::new(),
            killed: None,
            scaled_out: None,
            progress,
        }
    }

    /// Waits for the time of the next sample; fails at once on an interrupt.
    fn pause(&self, stage: &mut Stage) -> anyhow::Result<()> {
        let start = Instant::now();
        while start.elapsed() < SAMPLE_INTERVAL {
            stage.check()?;
            std::thread::sleep(SAMPLE_INTERVAL / 10);
        }
        Ok(())
    }

    fn sample(&mut self, stage: &Stage) -> anyhow::Result<()> {
        let at = self.start.elapsed();
        let status = stage.status()?;
        let before = self.samples.last().map_or(self.at_start, |sample| sample.status);
        if status.desired_replicas != before.desired_replicas {
            let decision: Decision = stage.query(&["explain", "service/shop"])?;
            // The loop may have decided more than once since the last sample: a decision is recorded only once.
            if self.decisions.last() != Some(&decision) {
                self.decisions.push(decision);
            }
        }
        if status.ready_replicas > self.at_start.ready_replicas && self.scaled_out.is_none() {
            self.scaled_out = Some(Instant::now());
        }
        if let Some(killed) = self.killed.as_mut().filter(|killed| killed.successor_after.is_none()) {
            let is_new = |pid: i32| pid != killed.pid && !killed.served_before.contains(&pid);
            let ready = replicas_of_the_shop(stage)?.into_iter().filter(|replica| replica.status.ready);
            if ready.filter_map(|replica| replica.status.pid).any(is_new) {
                killed.successor_after = Some(self.start.elapsed().saturating_sub(killed.at));
            }
        }
        self.samples.push(Sample { at, status });
        self.progress.show(at, status);
        Ok(())
    }

    fn kill_one_when_due(&mut self, stage: &Stage) -> anyhow::Result<()> {
        let is_due = self.scaled_out.is_some_and(|since| since.elapsed() >= KILL_DELAY);
        if !is_due || self.killed.is_some() {
            return Ok(());
        }
        let replicas = replicas_of_the_shop(stage)?;
        let pids: Vec<i32> = replicas.iter().filter_map(|replica| replica.status.pid).collect();
        let is_serving = |replica: &&Replica| replica.status.ready && replica.status.pid.is_some();
        let Some(victim) = replicas.iter().find(is_serving) else {
            bail!(
                "homeostat get replicas shows no ready replica of the shop, although its status counts some"
            );
        };
        let raw = victim.status.pid.unwrap_or_default();
        let pid = Pid::from_raw(raw)
            .filter(|_| raw > 1)
            .with_context(|| format!("{raw} is not a valid process id"))?;
        kill_process(pid, Signal::KILL).with_context(|| format!("could not kill process {raw}"))?;
        let at = self.start.elapsed();
        self.progress.end();
        println!(
            "killed replica {} (process {raw}) with -9 after {:.1} s",
            victim.metadata.name,
            at.as_secs_f64()
        );
        self.killed = Some(KilledReplica {
            name: victim.metadata.name.clone(),
            pid: raw,
            at,
            served_before: pids,
            successor_after: None,
        });
        Ok(())
    }

    fn is_scaled_out(&self) -> bool {
        self.samples.last().is_some_and(|sample| {
            sample.status.desired_replicas > self.at_start.desired_replicas
                || sample.status.replicas > self.at_start.desired_replicas
        })
    }
}

/// Shows progress: a line that is updated on a terminal, or a line for each change otherwise.
struct Progress {
    is_live: bool,
    /// Desired, running and ready, as last shown.
    last: Option<[u32; 3]>,
}

impl Progress {
    fn show(&mut self, at: Duration, status: ServiceStatus) {
        let ServiceStatus { desired_replicas, replicas, ready_replicas, .. } = status;
        let counts = [desired_replicas, replicas, ready_replicas];
        let line = format!(
            "{:>6.1} s  {desired_replicas:>2} desired  {replicas:>2} running  {ready_replicas:>2} ready",
            at.as_secs_f64()
        );
        let mut terminal = std::io::stderr();
        if self.is_live {
            // Errors of the terminal do not end the demo.
            let _ = write!(terminal, "\r{line} {}", "#".repeat(ready_replicas.min(40) as usize));
            let _ = write!(terminal, "\x1b[K").and_then(|()| terminal.flush());
        } else if self.last != Some(counts) {
            println!("{line}");
        }
        self.last = Some(counts);
    }

    fn end(&self) {
        if self.is_live {
            eprintln!();
        }
    }
}
