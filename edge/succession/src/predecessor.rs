//! The side of the starting process.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::handover::{Handover, ListeningSocket};
use crate::socket_path::SocketPath;
use crate::wire::{self, FORM, Message};

/// How long the predecessor may take to release its exclusive resources: its API and its loop end within seconds, and a file on a slow disk
/// closes within some more.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(60);

/// The running process, which has received a request to hand over.
#[derive(Debug)]
pub struct Predecessor {
    stream: UnixStream,
    folder: PathBuf,
}

/// The request could not be sent, or it is unknown whether there is a predecessor. A predecessor continues as before.
#[derive(Debug, thiserror::Error)]
#[error("could not request a handover from the homeostat of {folder}; check the owner of the folder")]
pub struct ConnectError {
    /// The data folder.
    pub folder: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

/// Nothing was handed over. The predecessor continues, or restarts, by itself.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// It refused.
    #[error("the homeostat of {folder} did not hand over: {why}")]
    Refused {
        /// The data folder.
        folder: PathBuf,
        /// Its reason.
        why: String,
    },
    /// It timed out.
    #[error("the homeostat of {folder} did not hand over within {} s; look at its log", RELEASE_TIMEOUT.as_secs())]
    TooSlow {
        /// The data folder.
        folder: PathBuf,
    },
    /// It sent an invalid message, or closed the connection.
    #[error(
        "the handover from the homeostat of {folder} was interrupted: it ended, or hands over to another process; look at its log"
    )]
    Broken {
        /// The data folder.
        folder: PathBuf,
        /// What was wrong.
        source: io::Error,
    },
}

/// The predecessor could not be notified that this process serves; it will restart when this process has ended.
#[derive(Debug, thiserror::Error)]
#[error("could not notify the previous homeostat that this one serves; check whether it still runs")]
pub struct RetireError {
    source: io::Error,
}

impl Predecessor {
    /// Requests a handover from the process that runs on `folder`, with up to `linger` for its clients to finish; `None` when none runs.
    pub async fn connect(folder: &Path, linger: Duration) -> Result<Option<Self>, ConnectError> {
        let failed = |source| ConnectError { folder: folder.to_owned(), source };
        let path = match SocketPath::of(folder) {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut stream = match UnixStream::connect(path.get()).await {
            Ok(stream) => stream,
            // No socket, or one that an earlier process has left behind.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(failed(error)),
        };
        let linger_ms = u64::try_from(linger.as_millis()).unwrap_or(u64::MAX);
        wire::send(&mut stream, &Message::Ask { form: FORM, linger_ms }).await.map_err(failed)?;
        Ok(Some(Self { stream, folder: folder.to_owned() }))
    }

    /// Waits until it has released its exclusive resources, and receives the handover.
    pub async fn receive(&mut self) -> Result<Handover, ReceiveError> {
        let folder = || self.folder.clone();
        let mut handover = Handover::default();
        let received = timeout(RELEASE_TIMEOUT, receive_all(&mut self.stream, &mut handover)).await;
        match received {
            Ok(Ok(None)) => Ok(handover),
            Ok(Ok(Some(why))) => Err(ReceiveError::Refused { folder: folder(), why }),
            Ok(Err(source)) => Err(ReceiveError::Broken { folder: folder(), source }),
            Err(_) => Err(ReceiveError::TooSlow { folder: folder() }),
        }
    }

    /// After the handover, waits until the predecessor has ended, by itself or killed: nobody serves then until this process does. Cancel safe.
    pub async fn ended(&mut self) {
        let mut unexpected = [0; 64];
        // It sends nothing more.
        while self.stream.read(&mut unexpected).await.is_ok_and(|read| read > 0) {}
    }

    /// Confirms that this process serves, so that the predecessor drains its connections and ends.
    pub async fn retire(mut self) -> Result<(), RetireError> {
        wire::send(&mut self.stream, &Message::Serve).await.map_err(|source| RetireError { source })
    }
}

/// Returns the reason if the handover was refused.
async fn receive_all(stream: &mut UnixStream, handover: &mut Handover) -> io::Result<Option<String>> {
    loop {
        match wire::receive(stream).await? {
            Message::Socket { name, requested } => {
                let socket = wire::receive_socket(stream).await?;
                handover.sockets.push(ListeningSocket { name, requested, socket });
            }
            Message::Serving { service, replicas } => {
                handover.serving.insert(service, replicas);
            }
            Message::Whole => return Ok(None),
            Message::Refuse { why } => return Ok(Some(why)),
            Message::Ask { .. } | Message::Serve => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "unexpected message of a successor"));
            }
        }
    }
}
