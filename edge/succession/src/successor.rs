//! The side of the running process.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::handover::{Handover, ListeningSocket};
use crate::socket_path::SocketPath;
use crate::successor_process::SuccessorProcess;
use crate::wire::{self, FORM, Message};

/// How long a process that has connected may take to send its request: one message from a program on this machine.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause after a connection could not be accepted, such as when descriptors have run out.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// Only its owner may connect.
const SOCKET_MODE: u32 = 0o600;

/// The longest time that clients are given to finish: a day is longer than any of them is worth waiting for.
const LINGER_MAX: Duration = Duration::from_hours(24);

/// No successor can connect; everything else is unaffected.
#[derive(Debug, thiserror::Error)]
#[error("could not listen in {folder} for a successor; check that the folder may be written")]
pub struct ListenError {
    /// The data folder.
    pub folder: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

/// The socket that a successor connects to; closed and removed on drop.
#[derive(Debug)]
pub struct SuccessorListener {
    file: SocketFile,
    listener: UnixListener,
}

/// The file of the socket; removed on drop.
#[derive(Debug)]
struct SocketFile {
    path: SocketPath,
}

/// The successor does not serve, and has released the resources that it used.
#[derive(Debug, thiserror::Error)]
#[error("it ended before it served; its own output says why")]
pub struct ServeError {
    source: io::Error,
}

/// A process that requests to replace this one. Dropping it refuses the handover.
#[derive(Debug)]
pub struct Successor {
    stream: UnixStream,
    pid: Option<u32>,
    process: Option<SuccessorProcess>,
    linger: Duration,
}

impl SuccessorListener {
    /// Listens in `folder`, and replaces a socket that an earlier process has left behind. To be called by the process that owns the folder,
    /// within a tokio runtime that drives I/O.
    pub fn bind(folder: &Path) -> Result<Self, ListenError> {
        let failed = |source| ListenError { folder: folder.to_owned(), source };
        let path = SocketPath::of(folder).map_err(failed)?;
        remove(&path).map_err(failed)?;
        let listener = UnixListener::bind(path.get()).map_err(failed)?;
        fs::set_permissions(path.get(), Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
        Ok(Self { file: SocketFile { path }, listener })
    }

    /// Stops listening. The future refuses the processes that wait to be accepted, with the reason `why`; it may be awaited later.
    pub fn close(self, why: &str) -> impl Future<Output = ()> + Send + use<> {
        let Self { file, listener } = self;
        // First, so that no other process connects.
        drop(file);
        let (waiting, why) = (waiting(listener), why.to_owned());
        async move {
            for stream in waiting {
                // A process that is gone, or sends nothing, needs no reason.
                drop(timeout(ASK_TIMEOUT, refuse(stream, &why)).await);
            }
        }
    }

    /// Waits for a process that may replace this one: one of the same user, or of root. Cancel safe: a process whose request is being read
    /// when the future is dropped is refused.
    pub async fn accept(&self) -> Successor {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => match timeout(ASK_TIMEOUT, read_request(stream)).await {
                    Ok(Ok(successor)) => return successor,
                    Ok(Err(error)) => tracing::warn!(%error, "successor_refused"),
                    Err(_) => tracing::warn!("successor_request_timed_out"),
                },
                Err(error) => {
                    tracing::warn!(%error, "successor_accept_failed");
                    tokio::time::sleep(SHORTAGE_PAUSE).await;
                }
            }
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A socket that stays has no listener, and the next process replaces it.
        let _ = remove(&self.path);
    }
}

fn remove(path: &SocketPath) -> io::Result<()> {
    match fs::remove_file(path.get()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The connections that were not accepted yet.
fn waiting(listener: UnixListener) -> Vec<UnixStream> {
    let Ok(listener) = listener.into_std() else { return Vec::new() };
    // It does not block, so that it ends with an error when there is no other one.
    let waiting = std::iter::from_fn(|| listener.accept().ok());
    let usable = waiting.filter_map(|(stream, _)| {
        stream.set_nonblocking(true).ok()?;
        UnixStream::from_std(stream).ok()
    });
    usable.collect()
}

/// Refuses a process after its request was read: closing the connection before would reset it, and the reason would be lost.
async fn refuse(mut stream: UnixStream, why: &str) -> io::Result<()> {
    wire::receive(&mut stream).await?;
    wire::send(&mut stream, &Message::Refuse { why: why.to_owned() }).await
}

async fn read_request(mut stream: UnixStream) -> io::Result<Successor> {
    let peer = stream.peer_cred()?;
    let uid = peer.uid();
    if uid != 0 && uid != rustix::process::geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    match wire::receive(&mut stream).await? {
        Message::Ask { form: FORM, linger_ms } => {
            let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
            // As long as the connection is open, its process has not ended, so that its id has not been used again.
            let process = pid.and_then(|pid| SuccessorProcess::open(pid).ok());
            let linger = Duration::from_millis(linger_ms).min(LINGER_MAX);
            Ok(Successor { stream, pid, process, linger })
        }
        Message::Ask { form, .. } => {
            let why = format!(
                "it hands over with protocol {FORM}, and protocol {form} was requested; stop it, then start the other"
            );
            wire::send(&mut stream, &Message::Refuse { why: why.clone() }).await?;
            Err(io::Error::new(io::ErrorKind::Unsupported, why))
        }
        Message::Refuse { .. }
        | Message::Socket { .. }
        | Message::Serving { .. }
        | Message::Whole
        | Message::Serve => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "the first message is not a request"))
        }
    }
}

impl Successor {
    /// Its process id from the kernel; `None` when the kernel does not report one.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Its process, to kill it if it hangs; `None` when it cannot be opened, such as that of another PID namespace.
    pub fn process(&self) -> Option<SuccessorProcess> {
        self.process.clone()
    }

    /// How long clients of this process may take to finish once the successor serves.
    pub fn linger(&self) -> Duration {
        self.linger
    }

    /// Sends the handover. From now on the successor may use the exclusive resources; the sockets are shared.
    pub async fn send(&mut self, handover: &Handover) -> io::Result<()> {
        for ListeningSocket { name, requested, socket } in &handover.sockets {
            let message = Message::Socket { name: name.clone(), requested: *requested };
            wire::send(&mut self.stream, &message).await?;
            wire::send_socket(&self.stream, socket).await?;
        }
        for (service, replicas) in &handover.serving {
            let message = Message::Serving { service: service.clone(), replicas: *replicas };
            wire::send(&mut self.stream, &message).await?;
        }
        wire::send(&mut self.stream, &Message::Whole).await
    }

    /// Waits until the successor serves; fails if it ends before that, which releases the resources that it used. A hanging successor is
    /// waited for until it is killed ([`SuccessorProcess::kill`]), since it may still use them.
    pub async fn wait_until_serving(&mut self) -> Result<(), ServeError> {
        let source = match wire::receive(&mut self.stream).await {
            Ok(Message::Serve) => return Ok(()),
            Ok(_) => io::Error::new(io::ErrorKind::InvalidData, "unexpected message of a successor"),
            Err(error) => error,
        };
        Err(ServeError { source })
    }
}
