//! The side of the starting process.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::handover::{Handover, ListeningSocket};
use crate::predecessor_process::PredecessorProcess;
use crate::socket_path::SocketPath;
use crate::wire::{self, FORM, Message};

/// How long the predecessor may take to release its exclusive resources: its API and its loop end within seconds, and a file on a slow disk
/// closes within some more.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a process whose connection broke may take to end before it is taken for one that goes on. The kernel closes the files of a killed
/// process one after the other, which takes milliseconds.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// The running process, which has received a request to hand over.
#[derive(Debug)]
pub struct Predecessor {
    stream: UnixStream,
    process: PredecessorProcess,
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

/// Nothing was handed over. The predecessor continues, or restarts, by itself, unless it has [ended](Self::Ended).
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
    /// It ended, by itself or killed, before it handed over anything: there is no predecessor any more.
    #[error("the homeostat of {folder} ended before it handed over")]
    Ended {
        /// The data folder.
        folder: PathBuf,
    },
    /// It sent an invalid message, or closed the connection: before it sent anything, and it still runs, or after a part of the handover.
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
        let process = PredecessorProcess::of(&stream);
        let linger_ms = u64::try_from(linger.as_millis()).unwrap_or(u64::MAX);
        match wire::send(&mut stream, &Message::Ask { form: FORM, linger_ms }).await {
            Ok(()) => Ok(Some(Self { stream, process, folder: folder.to_owned() })),
            // It was killed a moment ago.
            Err(_) if process.ends_within(END_TIMEOUT).await => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Waits until it has released its exclusive resources, and receives the handover.
    pub async fn receive(&mut self) -> Result<Handover, ReceiveError> {
        let received = timeout(RELEASE_TIMEOUT, self.receive_handover()).await;
        received.unwrap_or_else(|_| Err(ReceiveError::TooSlow { folder: self.folder.clone() }))
    }

    async fn receive_handover(&mut self) -> Result<Handover, ReceiveError> {
        let folder = self.folder.clone();
        let first = match wire::receive(&mut self.stream).await {
            Ok(message) => message,
            Err(_) if self.process.ends_within(END_TIMEOUT).await => {
                return Err(ReceiveError::Ended { folder });
            }
            Err(source) => return Err(ReceiveError::Broken { folder, source }),
        };
        let mut handover = Handover::default();
        match receive_all(&mut self.stream, first, &mut handover).await {
            Ok(None) => Ok(handover),
            Ok(Some(why)) => Err(ReceiveError::Refused { folder, why }),
            Err(source) => Err(ReceiveError::Broken { folder, source }),
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
async fn receive_all(
    stream: &mut UnixStream,
    first: Message,
    handover: &mut Handover,
) -> io::Result<Option<String>> {
    let mut message = first;
    loop {
        match message {
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
        message = wire::receive(stream).await?;
    }
}
