//! The process of a predecessor, whose end frees everything that only one process may hold.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::net::UnixStream;

/// The process that listens at the other end of a connection.
#[derive(Debug)]
pub(crate) enum PredecessorProcess {
    /// Held by a descriptor (pidfd_open(2)): another process that gets its id later is not mistaken for it.
    Opened(OwnedFd),
    /// It had ended before it could be opened.
    Ended,
    /// It cannot be opened, such as one of another PID namespace.
    Unknown,
}

impl PredecessorProcess {
    pub(crate) fn of(stream: &UnixStream) -> Self {
        let pid = stream.peer_cred().ok().and_then(|peer| peer.pid()).and_then(Pid::from_raw);
        match pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
            Some(Ok(pidfd)) => Self::Opened(pidfd),
            Some(Err(Errno::SRCH)) => Self::Ended,
            Some(Err(_)) | None => Self::Unknown,
        }
    }

    /// Waits until the process has ended, at most for `patience`; `false` when it still runs or cannot be observed.
    pub(crate) async fn ends_within(&self, patience: Duration) -> bool {
        let pidfd = match self {
            Self::Opened(pidfd) => pidfd.try_clone(),
            Self::Ended => return true,
            Self::Unknown => return false,
        };
        let waiting = tokio::task::spawn_blocking(move || wait_for_end(&pidfd?, patience));
        waiting.await.is_ok_and(|ended| ended.unwrap_or(false))
    }
}

fn wait_for_end(pidfd: &OwnedFd, patience: Duration) -> io::Result<bool> {
    let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
    // A pidfd becomes readable when its process has ended, also before its parent has waited for it.
    Ok(poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&patience))? > 0)
}
