//! The signals that stop this process, and those that it ignores.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal that stops this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGINT: Ctrl-C was pressed.
    Interrupt,
    /// SIGTERM: a service manager stops the process.
    Terminate,
}

/// Signals that would end the process by default, and have no meaning for it.
const IGNORED: [SignalKind; 3] =
    [SignalKind::user_defined1(), SignalKind::user_defined2(), SignalKind::alarm()];

/// Listens for [`StopSignal`]s, which from then on no longer end the process by themselves; neither do SIGUSR1, SIGUSR2 and SIGALRM.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// Received and never looked at. If the kernel ignored them, so would the programs that this process starts.
    _ignored: [Signal; IGNORED.len()],
}

/// The signals could not be listened for.
#[derive(Debug, thiserror::Error)]
#[error("could not listen for signals")]
pub struct SignalsError {
    source: io::Error,
}

impl Signals {
    /// Begins to listen. Must be called within a tokio runtime that drives I/O.
    pub fn listen() -> Result<Self, SignalsError> {
        let listen = |kind| signal(kind).map_err(|source| SignalsError { source });
        let [first, second, third] = IGNORED.map(listen);
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            _ignored: [first?, second?, third?],
        })
    }

    /// Waits for the next signal; several of one kind at once count as one. Cancel safe.
    pub async fn next(&mut self) -> StopSignal {
        // Both branches are cancel safe: a received signal stays with its listener.
        tokio::select! {
            Some(()) = self.interrupt.recv() => StopSignal::Interrupt,
            Some(()) = self.terminate.recv() => StopSignal::Terminate,
            else => std::future::pending().await,
        }
    }
}
