//! The path of the socket that successors connect to, in the data folder.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};

/// The name of the socket in its folder.
const SOCKET: &str = "successor.sock";

/// A path of the socket that is short however long the folder's path is: a socket address has at most 108 bytes (unix(7)).
#[derive(Debug)]
pub(crate) struct SocketPath {
    folder: OwnedFd,
}

impl SocketPath {
    pub(crate) fn of(folder: &Path) -> io::Result<Self> {
        let folder = open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { folder })
    }

    pub(crate) fn get(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", self.folder.as_raw_fd()))
    }
}
