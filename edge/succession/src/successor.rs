//! The side of the one that runs.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::estate::{Estate, Heirloom};
use crate::place::Place;
use crate::wire::{self, FORM, Message};

/// How long a process at the door may take to say what it wants: it is one message from a program on this machine.
const ASK_PATIENCE: Duration = Duration::from_secs(5);

/// The pause after a process could not be let in, as when descriptors have run out.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// Only its owner may ask.
const SOCKET_MODE: u32 = 0o600;

/// The longest time that clients are given: a day is longer than any of them is worth waiting for.
const LINGER_MAX: Duration = Duration::from_hours(24);

/// Nobody can ask to take our place; everything else goes on.
#[derive(Debug, thiserror::Error)]
#[error("could not listen in {folder} for a successor; check that the folder may be written")]
pub struct DoorError {
    /// The data folder.
    pub folder: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

/// Where a successor asks; closed when it is dropped.
#[derive(Debug)]
pub struct Door {
    place: Place,
    listener: UnixListener,
}

/// One that wants to take our place. Dropping it tells it that it may not.
#[derive(Debug)]
pub struct Successor {
    stream: UnixStream,
    pid: Option<u32>,
    linger: Duration,
}

impl Door {
    /// Opens the door in `folder`, in place of one that a process has left behind. To be called by the one whose folder it is; within a
    /// tokio runtime that drives I/O.
    pub fn open(folder: &Path) -> Result<Self, DoorError> {
        let failed = |source| DoorError { folder: folder.to_owned(), source };
        let place = Place::of(folder).map_err(failed)?;
        remove(&place).map_err(failed)?;
        let listener = UnixListener::bind(place.path()).map_err(failed)?;
        fs::set_permissions(place.path(), Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
        Ok(Self { place, listener })
    }

    /// Waits for a process that may take our place: one of our own user, or of root. Cancel safe: a process that is no longer waited for is
    /// turned away.
    pub async fn successor(&self) -> Successor {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => match timeout(ASK_PATIENCE, listen_to(stream)).await {
                    Ok(Ok(successor)) => return successor,
                    Ok(Err(error)) => tracing::warn!(%error, "successor_turned_away"),
                    Err(_) => tracing::warn!("successor_silent"),
                },
                Err(error) => {
                    tracing::warn!(%error, "successor_not_let_in");
                    tokio::time::sleep(SHORTAGE_PAUSE).await;
                }
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // One that stays leads nowhere, and the next process puts its own in its place.
        let _ = remove(&self.place);
    }
}

fn remove(place: &Place) -> io::Result<()> {
    match fs::remove_file(place.path()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

async fn listen_to(mut stream: UnixStream) -> io::Result<Successor> {
    let peer = stream.peer_cred()?;
    let uid = peer.uid();
    if uid != 0 && uid != rustix::process::geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    match wire::hear(&mut stream).await? {
        Message::Ask { form: FORM, linger_ms } => {
            let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
            Ok(Successor { stream, pid, linger: Duration::from_millis(linger_ms).min(LINGER_MAX) })
        }
        Message::Ask { form, .. } => {
            let why = format!(
                "it hands over in form {FORM} and was asked in form {form}; stop it, and start the other"
            );
            wire::say(&mut stream, &Message::Refuse { why: why.clone() }).await?;
            Err(io::Error::new(io::ErrorKind::Unsupported, why))
        }
        Message::Refuse { .. }
        | Message::Socket { .. }
        | Message::Serving { .. }
        | Message::Whole
        | Message::Serve => Err(io::Error::new(io::ErrorKind::InvalidData, "it did not ask")),
    }
}

impl Successor {
    /// Its process, as the kernel knows it; `None` when it does not say.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// How long our clients may take to leave once it serves.
    pub fn linger(&self) -> Duration {
        self.linger
    }

    /// Gives it everything. From now on it may use what was ours alone; the sockets are still ours, too.
    pub async fn give(&mut self, estate: &Estate) -> io::Result<()> {
        for Heirloom { name, requested, socket } in &estate.sockets {
            let message = Message::Socket { name: name.clone(), requested: *requested };
            wire::say(&mut self.stream, &message).await?;
            wire::pass(&self.stream, socket).await?;
        }
        for (service, replicas) in &estate.serving {
            let message = Message::Serving { service: service.clone(), replicas: *replicas };
            wire::say(&mut self.stream, &message).await?;
        }
        wire::say(&mut self.stream, &Message::Whole).await
    }

    /// Waits until it serves; `false` if it ends before that, and then what was ours alone is ours again. A process that hangs is waited
    /// for, since it may hold what would be ours, until somebody ends it.
    pub async fn serves(&mut self) -> bool {
        matches!(wire::hear(&mut self.stream).await, Ok(Message::Serve))
    }
}
