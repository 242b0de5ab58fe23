//! Runs a program in the environment and the control groups of a replica: the command of a probe.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus as ChildStatus};
use std::sync::Arc;

use model::input::ExitStatus;
use platform::{RunEnd, RunError, RunRequest};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::driver::Driver;
use crate::launch::{LaunchError, Output};
use crate::process_end::ProcessEnd;
use crate::tracked_life::TrackedLife;

/// Runs the program until it ends or its timeout expires, even when the caller stops waiting.
pub(crate) async fn run(driver: &Arc<Driver>, request: RunRequest) -> Result<RunEnd, RunError> {
    let not_running = || RunError::NotRunning { replica: request.replica.clone() };
    let tracked = driver
        .last(&request.replica)
        .filter(|tracked| tracked.record.incarnation() == request.incarnation && !tracked.has_ended())
        .ok_or_else(not_running)?;
    let attempt = format!("could not run {:?} beside {}", request.command.join(" "), request.replica);
    let task = driver.tasks.spawn(run_to_end(tracked, request));
    match task.await {
        Ok(Ok(end)) => Ok(end),
        Ok(Err(fault)) => Err(fault.error(&attempt)),
        Err(error) => Err(RunError::NotStarted { message: format!("{attempt}: {error}") }),
    }
}

/// Why a program did not run, or could not be followed to its end.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    System(#[from] io::Error),
}

impl Fault {
    fn error(&self, attempt: &str) -> RunError {
        let message = format!("{attempt}: {self}");
        let system = match self {
            Self::Launch(error) => error.system_error(),
            Self::System(error) => Some(error),
        };
        if system.is_some_and(is_exhaustion) {
            RunError::NoResources { message }
        } else {
            RunError::NotStarted { message }
        }
    }
}

/// Whether descriptors, processes or memory of this process or the machine have run out.
fn is_exhaustion(error: &io::Error) -> bool {
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| exhausted.contains(&errno))
}

async fn run_to_end(tracked: Arc<TrackedLife>, request: RunRequest) -> Result<RunEnd, Fault> {
    let RunRequest { command, timeout, .. } = request;
    let spawned = tokio::task::spawn_blocking(move || {
        let cell = tracked.record.cell.as_ref();
        let procs_files = cell.map_or_else(|| Ok(Vec::new()), crate::cgroup::Cell::procs_files);
        Ok::<_, Fault>(tracked.record.context.execute(&command, procs_files?, Output::Nowhere, None)?)
    });
    let mut process = ExecProcess { child: spawned.await.map_err(io::Error::from)?? };
    let ended = process.ended();
    match tokio::time::timeout(timeout, ended).await {
        Ok(ended) => ended?,
        Err(_elapsed) => return Ok(RunEnd::TimedOut),
    }
    Ok(RunEnd::Exited(process.reap()?))
}

/// A running program. When it is dropped, everything in its process group is killed.
struct ExecProcess {
    child: Child,
}

impl ExecProcess {
    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.child.id()).ok()?)
    }

    async fn ended(&self) -> io::Result<()> {
        let pid = self.pid().ok_or(io::ErrorKind::InvalidData)?;
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        ProcessEnd::of(process.as_fd())?.happened().await
    }

    /// Kills the rest of the process group, and reaps the program, which has ended or is about to.
    fn reap(&mut self) -> io::Result<ExitStatus> {
        if let Some(group) = self.pid() {
            // Before the program is reaped: until then no other process group can have its id.
            let _ = kill_process_group(group, Signal::KILL);
        }
        self.child.wait().map(status_of)
    }
}

impl Drop for ExecProcess {
    fn drop(&mut self) {
        // Once it was reaped, its id may belong to another process.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.reap();
        }
    }
}

fn status_of(status: ChildStatus) -> ExitStatus {
    match (status.code(), status.signal()) {
        (Some(code), _) => ExitStatus::Code(code),
        (None, Some(signal)) => ExitStatus::Signal(signal),
        (None, None) => ExitStatus::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exhausted_resources_are_distinguished_from_a_program_that_cannot_run() {
        let execution = |errno: Errno| LaunchError::Exec {
            path: "/bin/true".into(),
            source: errno.into(),
            hint: "see the limits",
        };
        for errno in [Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::NOMEM] {
            for fault in [Fault::Launch(execution(errno)), Fault::System(errno.into())] {
                let error = fault.error("could not run it");
                assert!(matches!(error, RunError::NoResources { .. }), "{error:?}");
            }
        }
        for errno in [Errno::NOENT, Errno::ACCESS, Errno::NOEXEC] {
            let error = Fault::Launch(execution(errno)).error("could not run it");
            assert!(matches!(error, RunError::NotStarted { .. }), "{error:?}");
        }
    }
}
