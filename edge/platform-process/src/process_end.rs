//! Waits for the end of a process without polling.

#![expect(
    unsafe_code,
    reason = "tokio has no safe way to wait for a descriptor that it did not open; the one call here has its proof beside it"
)]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A process whose end is registered with the runtime.
#[derive(Debug)]
pub(crate) struct ProcessEnd {
    pidfd: AsyncFd<OwnedFd>,
}

impl ProcessEnd {
    /// Registers the process. Must be called within a tokio runtime; fails when descriptors have run out.
    pub(crate) fn of(pidfd: BorrowedFd<'_>) -> io::Result<Self> {
        let own = pidfd.try_clone_to_owned()?;
        // SAFETY: the descriptor must stay open, and stay the same file, until the registration is gone. `OwnedFd` owns
        // it, its number never changes, and `AsyncFd` removes the registration before it drops the `OwnedFd`. Nothing
        // takes it out in between: the field is private and only `readable` is called.
        let pidfd = unsafe { AsyncFd::register_with_interest(own, Interest::READABLE) }?;
        Ok(Self { pidfd })
    }

    /// Returns when the process has ended. Cancel safe.
    pub(crate) async fn happened(&self) -> io::Result<()> {
        self.pidfd.readable().await.map(drop)
    }
}
