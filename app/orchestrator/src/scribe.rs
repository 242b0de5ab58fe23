//! Writes down what must survive a restart, on a thread of its own, so that the loop never waits for that disk write.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use model::action::{Failure, FailureKind, Outcome};
use model::identity::ActionId;
use model::input::Input;
use model::memory::Memory;
use model::name::ServiceName;
use store::Txn;

use crate::handle::Handle;
use crate::shelf::{self, Shelf, ShelfError};

/// Notes written in one transaction: what comes while one is being written waits for the next.
const NOTES_MAX: usize = 100;

/// Something to be written down.
#[derive(Debug)]
pub(crate) enum Note {
    /// What the loop remembers of a service.
    Remember(ActionId, Arc<Memory>),
    /// A service is gone, and with it what was remembered.
    Forget(ServiceName),
}

/// Starts the thread; it ends when the sender is dropped.
pub(crate) fn start(shelf: Shelf, handle: Handle) -> std::io::Result<Sender<Note>> {
    let (notes, inbox) = channel();
    thread::Builder::new().name("scribe".into()).spawn(move || run(&inbox, &shelf, &handle))?;
    Ok(notes)
}

fn run(inbox: &Receiver<Note>, shelf: &Shelf, handle: &Handle) {
    while let Ok(first) = inbox.recv() {
        let notes: Vec<Note> = std::iter::once(first).chain(inbox.try_iter().take(NOTES_MAX - 1)).collect();
        let outcome = match write(shelf, &notes) {
            Ok(()) => Outcome::Applied,
            Err(error) => {
                tracing::warn!(error = %error, "memory_not_written");
                Outcome::Failed(Failure { kind: FailureKind::Other, message: error.to_string().into() })
            }
        };
        for note in &notes {
            if let Note::Remember(action, _) = note
                && handle.report(Input::Ended { action: *action, outcome: outcome.clone() }).is_err()
            {
                return;
            }
        }
    }
}

fn write(shelf: &Shelf, notes: &[Note]) -> Result<(), ShelfError> {
    let mut txn = Txn::new();
    for note in notes {
        txn = match note {
            Note::Remember(_, memory) => shelf::put_memory(txn, memory)?,
            Note::Forget(service) => shelf::delete_memory(txn, service),
        };
    }
    shelf.commit(txn)
}
