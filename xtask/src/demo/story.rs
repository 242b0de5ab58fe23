//! What happens on the stage: load, scale-out, one replica killed, scale-in; all of it written down.

use std::io::{IsTerminal, Write};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::stage::{self, Stage};
use super::watch::{Decision, LoadReport, Replica, Replicas, ServiceStatus};

/// The pause between two looks at the shop.
const SAMPLE_PAUSE: Duration = Duration::from_millis(500);

/// How long after the first replica beyond the start is ready one is killed: into the middle of the rush,
/// with the balancer settled.
const KILL_DELAY: Duration = Duration::from_secs(5);

/// How long the shop may take to scale in after the load has ended.
///
/// 120 s: the example looks back for ten seconds, lets three go every five, and a replica may take eight to
/// finish; the rest is room for a busy machine.
const SCALE_IN_WAIT_MAX: Duration = Duration::from_secs(120);

/// How long the load may take before it counts as hung.
///
/// 30 min: a recorded day at speed 48.
const LOAD_WAIT_MAX: Duration = Duration::from_secs(30 * 60);

/// Everything that was seen.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) at_start: ServiceStatus,
    pub(super) samples: Vec<Sample>,
    /// Each decision that changed how many replicas there shall be, in order.
    pub(super) decisions: Vec<Decision>,
    pub(super) killed: Option<KilledReplica>,
    pub(super) load: LoadReport,
}

/// One look at the shop.
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
    /// Other processes that served before it was killed.
    pub(super) served_before: Vec<i32>,
    /// When a process that was not there before was first seen ready, since the kill; seen every half second.
    pub(super) successor_after: Option<Duration>,
}

/// What is done to the shop besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Harm {
    /// Nothing.
    None,
    /// One replica is killed when there are more than at the start.
    KillOne,
}

/// Runs the load, watches, kills, waits for scale-in.
///
/// Fails when something could not be seen or done; whether what was seen is good is for the summary to say.
pub(super) fn tell(stage: &mut Stage, load_arguments: &[String], harm: Harm) -> anyhow::Result<Run> {
    let at_start = stage.look()?;
    let mut load = Load(stage.start_load(load_arguments)?);
    let mut notes = Notes::begin(at_start);
    while !load.has_ended()? {
        ensure!(
            notes.start.elapsed() < LOAD_WAIT_MAX,
            "the load did not end within {} s",
            LOAD_WAIT_MAX.as_secs()
        );
        notes.pause(stage)?;
        notes.sample(stage)?;
        if harm == Harm::KillOne {
            notes.kill_one_when_it_is_time(stage)?;
        }
    }
    let report = stage.load_report()?;
    let load_end = Instant::now();
    while notes.is_scaled_out() && load_end.elapsed() < SCALE_IN_WAIT_MAX {
        notes.pause(stage)?;
        notes.sample(stage)?;
    }
    notes.progress.end();
    Ok(Run {
        at_start,
        samples: notes.samples,
        decisions: notes.decisions,
        killed: notes.killed,
        load: report,
    })
}

fn replicas_of_the_shop(stage: &Stage) -> anyhow::Result<Vec<Replica>> {
    let all: Replicas = stage.ask(&["get", "replicas"])?;
    Ok(all.items.into_iter().filter(|replica| replica.status.service == "shop").collect())
}

/// The load generator; interrupted when dropped.
struct Load(Child);

impl Load {
    fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.0.try_wait().context("could not look after the load")?.is_some())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        stage::stop(&mut self.0);
    }
}

struct Notes {
    start: Instant,
    at_start: ServiceStatus,
    samples: Vec<Sample>,
    decisions: Vec<Decision>,
    killed: Option<KilledReplica>,
    /// When more replicas than at the start were first seen ready.
    scaled_out: Option<Instant>,
    progress: Progress,
}

impl Notes {
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

    /// Waits for the next look; an interrupt ends the wait at once.
    fn pause(&self, stage: &mut Stage) -> anyhow::Result<()> {
        let start = Instant::now();
        while start.elapsed() < SAMPLE_PAUSE {
            stage.check_on()?;
            std::thread::sleep(SAMPLE_PAUSE / 10);
        }
        Ok(())
    }

    fn sample(&mut self, stage: &Stage) -> anyhow::Result<()> {
        let at = self.start.elapsed();
        let status = stage.look()?;
        let before = self.samples.last().map_or(self.at_start, |sample| sample.status);
        if status.desired_replicas != before.desired_replicas {
            let decision: Decision = stage.ask(&["explain", "service/shop"])?;
            // Between the two looks the loop may have decided once more, or only confirmed: both are reported
            // once.
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

    fn kill_one_when_it_is_time(&mut self, stage: &Stage) -> anyhow::Result<()> {
        let is_time = self.scaled_out.is_some_and(|since| since.elapsed() >= KILL_DELAY);
        if !is_time || self.killed.is_some() {
            return Ok(());
        }
        let replicas = replicas_of_the_shop(stage)?;
        let pids: Vec<i32> = replicas.iter().filter_map(|replica| replica.status.pid).collect();
        let is_serving = |replica: &&Replica| replica.status.ready && replica.status.pid.is_some();
        let Some(victim) = replicas.iter().find(is_serving) else {
            bail!("homeostat get replicas shows no ready replica of the shop, though it counts some");
        };
        let raw = victim.status.pid.unwrap_or_default();
        let pid =
            Pid::from_raw(raw).filter(|_| raw > 1).with_context(|| format!("{raw} is no process to kill"))?;
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

/// One line that changes on a terminal; a line for each change elsewhere.
struct Progress {
    is_live: bool,
    /// Wanted, running and ready, as last shown.
    last: Option<[u32; 3]>,
}

impl Progress {
    fn show(&mut self, at: Duration, status: ServiceStatus) {
        let ServiceStatus { desired_replicas, replicas, ready_replicas, .. } = status;
        let counts = [desired_replicas, replicas, ready_replicas];
        let line = format!(
            "{:>6.1} s  {desired_replicas:>2} wanted  {replicas:>2} running  {ready_replicas:>2} ready",
            at.as_secs_f64()
        );
        let mut terminal = std::io::stderr();
        if self.is_live {
            // A terminal that is gone is no reason to end the demo.
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
