//! The signals that stop this process.

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

/// Listens for [`StopSignal`]s, which from then on no longer end the process by themselves.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// The signals could not be listened for.
#[derive(Debug, thiserror::Error)]
#[error("could not listen for SIGINT and SIGTERM")]
pub struct SignalsError {
    source: io::Error,
}

impl Signals {
    /// Begins to listen. Must be called within a tokio runtime that drives I/O.
    pub fn listen() -> Result<Self, SignalsError> {
        let listen = |kind| signal(kind).map_err(|source| SignalsError { source });
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
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
