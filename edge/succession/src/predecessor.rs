//! The side of the one that begins.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::estate::{Estate, Heirloom};
use crate::place::Place;
use crate::wire::{self, FORM, Message};

/// How long the predecessor may take to release what only one process may have: its API and its loop end within seconds, and a file on a
/// slow disk closes within some more.
const RELEASE_PATIENCE: Duration = Duration::from_secs(60);

/// The running process, asked to make room.
#[derive(Debug)]
pub struct Predecessor {
    stream: UnixStream,
    folder: PathBuf,
}

/// It could not be found out whether one runs, or it could not be asked. It goes on as it did.
#[derive(Debug, thiserror::Error)]
#[error("could not ask the homeostat of {folder} to hand over; check the owner of the folder")]
pub struct FindError {
    /// The data folder.
    pub folder: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

/// Nothing was handed over. The predecessor goes on, or begins again, by itself.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    /// It does not want to.
    #[error("the homeostat of {folder} did not hand over: {why}")]
    Refused {
        /// The data folder.
        folder: PathBuf,
        /// Why, in its words.
        why: String,
    },
    /// It does not get done.
    #[error("the homeostat of {folder} did not hand over within {} s; look at its log", RELEASE_PATIENCE.as_secs())]
    TooSlow {
        /// The data folder.
        folder: PathBuf,
    },
    /// It said what is not understood, or nothing more.
    #[error("the homeostat of {folder} broke off while it handed over; look at its log")]
    Broken {
        /// The data folder.
        folder: PathBuf,
        /// What was wrong.
        source: io::Error,
    },
}

/// The predecessor was not told that it may go; it will take its place back when this process is gone.
#[derive(Debug, thiserror::Error)]
#[error("the homeostat before this one could not be told to go; did it end meanwhile?")]
pub struct RetireError {
    source: io::Error,
}

impl Predecessor {
    /// Asks the one that runs on `folder` to hand over, and to give its clients up to `linger` then; `None` when none runs.
    pub async fn find(folder: &Path, linger: Duration) -> Result<Option<Self>, FindError> {
        let failed = |source| FindError { folder: folder.to_owned(), source };
        let place = match Place::of(folder) {
            Ok(place) => place,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut stream = match UnixStream::connect(place.path()).await {
            Ok(stream) => stream,
            // No door, or one that somebody has left behind.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(failed(error)),
        };
        let linger_ms = u64::try_from(linger.as_millis()).unwrap_or(u64::MAX);
        wire::say(&mut stream, &Message::Ask { form: FORM, linger_ms }).await.map_err(failed)?;
        Ok(Some(Self { stream, folder: folder.to_owned() }))
    }

    /// Waits until it has let go of what was its alone, and takes what it hands over.
    pub async fn estate(&mut self) -> Result<Estate, InheritError> {
        let folder = || self.folder.clone();
        let mut estate = Estate::default();
        let taken = timeout(RELEASE_PATIENCE, take_all(&mut self.stream, &mut estate)).await;
        match taken {
            Ok(Ok(None)) => Ok(estate),
            Ok(Ok(Some(why))) => Err(InheritError::Refused { folder: folder(), why }),
            Ok(Err(source)) => Err(InheritError::Broken { folder: folder(), source }),
            Err(_) => Err(InheritError::TooSlow { folder: folder() }),
        }
    }

    /// Tells it that this process serves, so that it sees off its clients and ends.
    pub async fn retire(mut self) -> Result<(), RetireError> {
        wire::say(&mut self.stream, &Message::Serve).await.map_err(|source| RetireError { source })
    }
}

/// Answers why nothing is handed over, if nothing is.
async fn take_all(stream: &mut UnixStream, estate: &mut Estate) -> io::Result<Option<String>> {
    loop {
        match wire::hear(stream).await? {
            Message::Socket { name, requested } => {
                let socket = wire::take(stream).await?;
                estate.sockets.push(Heirloom { name, requested, socket });
            }
            Message::Serving { service, replicas } => {
                estate.serving.insert(service, replicas);
            }
            Message::Whole => return Ok(None),
            Message::Refuse { why } => return Ok(Some(why)),
            Message::Ask { .. } | Message::Serve => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it said what a successor says"));
            }
        }
    }
}
