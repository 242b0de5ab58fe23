//! The process of a successor, which may have to be killed.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process, held by a descriptor (pidfd_open(2)): another one that gets its id later is never killed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SuccessorProcess {
    pid: u32,
    pidfd: Arc<OwnedFd>,
}

impl SuccessorProcess {
    /// Opens the process with this id. Fails when there is none, or the kernel has no pidfds (before Linux 5.3).
    pub fn open(pid: u32) -> io::Result<Self> {
        let id = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { pid, pidfd: Arc::new(pidfd_open(id, PidfdFlags::empty())?) })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Asks it to end (SIGTERM): a successor that does not serve yet does so without a change. Fails as [`kill`](Self::kill).
    pub fn terminate(&self) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.pidfd, Signal::TERM)?)
    }

    /// Kills it, also one that is stopped; it may take some time to end. Fails when it has ended already, or belongs to another user.
    pub fn kill(&self) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.pidfd, Signal::KILL)?)
    }
}
