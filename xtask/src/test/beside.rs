//! Steps that only compute, run on idle cores while the steps before them wait.
//!
//! Each is a process of its own at the lowest priority. Its output is kept until its turn comes.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Signal, getpgrp, kill_process_group, nice, setsid};

/// Of all priorities the lowest.
const LOWEST: i32 = 19;

/// Steps that are done one after the other beside those that have their turn.
pub(super) struct BackgroundSteps {
    ended: Receiver<Ended>,
}

struct Ended {
    outcome: io::Result<(ExitStatus, File)>,
    took: Duration,
}

impl BackgroundSteps {
    /// Begins with the first of these steps. They end with this process, however it ends.
    pub(super) fn begin(names: Vec<&'static str>) -> Self {
        let (sender, ended) = channel();
        std::thread::spawn(move || {
            for name in names {
                let start = Instant::now();
                let outcome = call(name);
                // Nobody takes it when a step in its turn has failed: then this process ends.
                let _nobody_asks = sender.send(Ended { outcome, took: start.elapsed() });
            }
        });
        Self { ended }
    }

    /// Waits for the next of them, prints what it said, and returns how long it took; fails when it did.
    pub(super) fn take(&self) -> anyhow::Result<Duration> {
        let Ended { outcome, took } = self.ended.recv().context("every step beside others was taken")?;
        let (status, mut output) = outcome.context("could not do it beside others")?;
        output.rewind().and_then(|()| io::copy(&mut output, &mut io::stdout())).context("could not read it")?;
        if !status.success() {
            bail!("{status}");
        }
        Ok(took)
    }
}

/// Does a step in a process of its own.
fn call(name: &str) -> io::Result<(ExitStatus, File)> {
    // Not by the path of our program: a build may have put another one there.
    run(Command::new("/proc/self/exe").args(["test", "--beside", name]))
}

/// Runs a command that is [tied] to this process, and returns what it said, too.
fn run(command: &mut Command) -> io::Result<(ExitStatus, File)> {
    let output = tempfile::tempfile()?;
    command.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output.try_clone()?);
    let mut child = command.spawn()?;
    // Open for as long as we live.
    let _tie = child.stdin.take();
    Ok((child.wait()?, output))
}

/// Makes this process, and all that it starts, the last to get a core and end with the process that it was started by.
pub(super) fn tied() {
    // The scheduler takes a session for one in which its processes share, whatever the priority of each: where it does, that group is the last one.
    let _leads_already = setsid();
    let _no_such_groups = std::fs::write("/proc/self/autogroup", LOWEST.to_string());
    let _as_it_was = nice(LOWEST);
    std::thread::spawn(|| {
        let _closed = io::stdin().read(&mut [0]);
        let _ends_us = kill_process_group(getpgrp(), Signal::TERM);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_a_background_command_is_kept_with_its_status() {
        let (status, mut output) = run(Command::new("sh").args(["-c", "echo some; echo more >&2; exit 3"]))
            .expect("sh is everywhere");

        let mut text = String::new();
        output.rewind().and_then(|()| output.read_to_string(&mut text)).expect("it was kept");
        assert_eq!((status.code(), text.as_str()), (Some(3), "some\nmore\n"));
    }

    #[test]
    fn a_failed_background_command_fails_in_its_turn_and_the_next_is_still_awaited() {
        let (sender, ended) = channel();
        for program in ["false", "true"] {
            let outcome = run(&mut Command::new(program));
            sender.send(Ended { outcome, took: Duration::from_secs(7) }).expect("it is taken");
        }
        drop(sender);
        let steps = BackgroundSteps { ended };

        assert_eq!(steps.take().expect_err("it failed").to_string(), "exit status: 1");
        assert_eq!(steps.take().expect("it passed"), Duration::from_secs(7));
        assert!(steps.take().is_err(), "there is none");
    }
}
