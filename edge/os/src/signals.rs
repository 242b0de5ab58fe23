//! The signals that ask this process to stop.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal that asks us to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGINT: somebody pressed Ctrl-C.
    Interrupt,
    /// SIGTERM: a service manager wants it.
    Terminate,
}

/// Listens for the signals that ask us to stop, which from then on no longer end the process by themselves.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// The kernel does not let us listen.
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

    /// The next signal; several of one kind that come at once count as one. Cancel safe.
    pub async fn next(&mut self) -> StopSignal {
        // Both branches are cancel safe: a signal that came stays with its listener.
        tokio::select! {
            Some(()) = self.interrupt.recv() => StopSignal::Interrupt,
            Some(()) = self.terminate.recv() => StopSignal::Terminate,
            else => std::future::pending().await,
        }
    }
}
