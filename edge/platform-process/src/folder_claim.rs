//! At most one driver has the replicas of a data folder and of its copies.
//!
//! The lock of a data folder says nothing about a copy, whose records name the same processes. So a folder has a random id, which its copies have
//! as well, and a driver binds an abstract socket of that name (unix(7)): the kernel gives it up with the process, however that ends.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use os::{Durability, write_atomically};
use rustix::net::sockopt::socket_peercred;

/// How often the claim is tried: a child that was just forked may share the socket of a driver that is gone.
const TRIES_MAX: u32 = 50;

/// The pause between two tries.
const TRY_PAUSE: Duration = Duration::from_millis(10);

/// The claim on a data folder and its copies; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct FolderClaim {
    /// The id of the folder.
    pub(crate) id: String,
    _listener: UnixListener,
}

/// Why a folder could not be claimed.
#[derive(Debug)]
pub(crate) enum ClaimError {
    /// Another process has the replicas that are recorded in it.
    Held {
        /// The process, as far as it is known.
        holder: Option<u32>,
    },
    /// The id cannot be read or written, or there are no abstract sockets.
    Unusable(io::Error),
}

impl From<io::Error> for ClaimError {
    fn from(error: io::Error) -> Self {
        Self::Unusable(error)
    }
}

impl FolderClaim {
    /// Claims the folder whose id is in the file `path`, which is made if need be.
    ///
    /// Where another process has the id, a folder with `has_running` replicas is a copy of that process's and is refused. One without any is on
    /// its own, and gets a new id.
    pub(crate) fn take(path: &Path, has_running: bool) -> Result<Self, ClaimError> {
        let known = match std::fs::read_to_string(path) {
            Ok(id) => Some(id.trim().to_owned()).filter(|id| is_id(id)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        if let Some(id) = known {
            let address = address(&id)?;
            match bind(&address) {
                Ok(listener) => return Ok(Self { id, _listener: listener }),
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => return Err(error.into()),
                Err(_) if has_running => return Err(ClaimError::Held { holder: holder(&address) }),
                Err(_) => {}
            }
        }
        let id = os::token().map_err(io::Error::other)?;
        let listener = bind(&address(&id)?)?;
        write_atomically(path, id.as_bytes(), Durability::Process).map_err(|error| error.source)?;
        Ok(Self { id, _listener: listener })
    }
}

/// Whether it is a token as [`os::token`] makes them; anything else was not written by us.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn address(id: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("homeostat/{id}"))
}

fn bind(address: &SocketAddr) -> io::Result<UnixListener> {
    let mut tries = 1;
    loop {
        match UnixListener::bind_addr(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < TRIES_MAX => sleep(TRY_PAUSE),
            result => return result,
        }
        tries += 1;
    }
}

/// The process that listens there.
fn holder(address: &SocketAddr) -> Option<u32> {
    let stream = UnixStream::connect_addr(address).ok()?;
    let credentials = socket_peercred(&stream).ok()?;
    u32::try_from(credentials.pid.as_raw_nonzero().get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_with_running_replicas_is_refused_while_the_original_is_claimed() {
        let folder = tempfile::tempdir().unwrap();
        let (original, copy) = (folder.path().join("id"), folder.path().join("copy"));
        let claim = FolderClaim::take(&original, false).unwrap();
        std::fs::copy(&original, &copy).unwrap();
        let Err(ClaimError::Held { holder }) = FolderClaim::take(&copy, true) else {
            panic!("it is claimed")
        };
        assert_eq!(holder, Some(std::process::id()));
        drop(claim);
        FolderClaim::take(&copy, true).expect("nobody else has the replicas now");
    }

    #[test]
    fn a_copy_without_running_replicas_gets_an_id_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (original, copy) = (folder.path().join("id"), folder.path().join("copy"));
        let _claim = FolderClaim::take(&original, false).unwrap();
        std::fs::copy(&original, &copy).unwrap();
        let _other = FolderClaim::take(&copy, false).unwrap();
        assert_ne!(std::fs::read(&original).unwrap(), std::fs::read(&copy).unwrap());
    }
}
