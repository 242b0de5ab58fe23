//! Background steps: they only compute, and run on cores that earlier steps leave idle.
//!
//! Each is a process of its own at the lowest priority. Its output is printed when its turn comes.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Signal, getpgrp, kill_process_group, nice, setsid};

/// The lowest priority, see nice(2).
const LOWEST: i32 = 19;

/// Steps that run one after the other in the background.
pub(super) struct BackgroundSteps {
    ended: Receiver<Ended>,
}

struct Ended {
    outcome: io::Result<(ExitStatus, File)>,
    took: Duration,
}

impl BackgroundSteps {
    /// Starts these steps. They end with this process, however it ends.
    pub(super) fn begin(names: Vec<&'static str>) -> Self {
        let (sender, ended) = channel();
        std::thread::spawn(move || {
            for name in names {
                let start = Instant::now();
                let outcome = call(name);
                // The receiver is dropped after a failed step, shortly before this process exits.
                let _is_dropped = sender.send(Ended { outcome, took: start.elapsed() });
            }
        });
        Self { ended }
    }

    /// Waits for the next step, prints its output, and returns how long it took; fails if the step failed.
    pub(super) fn take(&self) -> anyhow::Result<Duration> {
        let Ended { outcome, took } = self.ended.recv().context("all background steps were taken already")?;
        let (status, mut output) = outcome.context("could not run the step in the background")?;
        output
            .rewind()
            .and_then(|()| io::copy(&mut output, &mut io::stdout()))
            .context("could not print its output")?;
        if !status.success() {
            bail!("{status}");
        }
        Ok(took)
    }
}

/// Runs a step in a process of its own.
fn call(name: &str) -> io::Result<(ExitStatus, File)> {
    // Not by the path of this program: a build may have replaced the file.
    run(Command::new("/proc/self/exe").args(["test", "--background-step", name]))
}

/// Runs a command that ends with this process, see [`detach`], and returns its status and output.
fn run(command: &mut Command) -> io::Result<(ExitStatus, File)> {
    let output = tempfile::tempfile()?;
    command.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output.try_clone()?);
    let mut child = command.spawn()?;
    // Closed when this process ends.
    let _lifeline = child.stdin.take();
    Ok((child.wait()?, output))
}

/// Gives this process and its children the lowest priority, and ends them when the parent process ends.
pub(super) fn detach() {
    // With autogroups the scheduler divides the processor between sessions, whatever the priority of their processes.
    let _is_leader_already = setsid();
    let _no_autogroups = std::fs::write("/proc/self/autogroup", LOWEST.to_string());
    let _is_unchanged = nice(LOWEST);
    std::thread::spawn(|| {
        let _is_closed = io::stdin().read(&mut [0]);
        let _is_sent = kill_process_group(getpgrp(), Signal::TERM);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_a_background_command_is_kept_with_its_status() {
        let (status, mut output) = run(Command::new("sh").args(["-c", "echo some; echo more >&2; exit 3"]))
            .expect("sh is installed");

        let mut text = String::new();
        output.rewind().and_then(|()| output.read_to_string(&mut text)).expect("it can be read");
        assert_eq!((status.code(), text.as_str()), (Some(3), "some\nmore\n"));
    }

    #[test]
    fn a_failed_background_command_fails_in_its_turn_and_the_next_is_still_awaited() {
        let (sender, ended) = channel();
        for program in ["false", "true"] {
            let outcome = run(&mut Command::new(program));
            sender.send(Ended { outcome, took: Duration::from_secs(7) }).expect("it is received");
        }
        drop(sender);
        let steps = BackgroundSteps { ended };

        assert_eq!(steps.take().expect_err("it failed").to_string(), "exit status: 1");
        assert_eq!(steps.take().expect("it passed"), Duration::from_secs(7));
        assert!(steps.take().is_err(), "there is no other step");
    }
}
