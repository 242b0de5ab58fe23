//! The path of the socket that successors connect to, in the data folder.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};

/// The socket within its folder.
const SOCKET: &str = "successor.sock";

/// The socket of a folder, by a path that is short however long the folder's is: an address of a socket has 108 bytes at most (unix(7)).
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
