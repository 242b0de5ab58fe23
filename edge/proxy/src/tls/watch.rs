//! The thread that watches the files of certificates, once a second while there are any.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::table::Table;

/// How often files are checked. It costs a few system calls each, and a new certificate can wait that long.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Watches until the proxy stops. A message in `wake_ups` means that there may be certificates now, or that the proxy stops.
pub(crate) fn run(table: &Table, wake_ups: &Receiver<()>) {
    while !table.is_stopped() {
        let woken = if table.has_certificates() {
            wake_ups.recv_timeout(CHECK_INTERVAL)
        } else {
            wake_ups.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        match woken {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => table.reload_certificates(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
