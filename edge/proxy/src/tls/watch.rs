//! The thread that watches the files of certificates, once a second while there are any.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::table::Table;

/// How often files are looked at. It costs a few system calls each, and a new certificate can wait that long.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Watches until the proxy stops. A message in `news` says that there may be certificates now, or that the proxy stops.
pub(crate) fn run(table: &Table, news: &Receiver<()>) {
    while !table.is_stopped() {
        let heard = if table.has_certificates() {
            news.recv_timeout(LOOK_EVERY)
        } else {
            news.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        match heard {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => table.look_at_certificates(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
