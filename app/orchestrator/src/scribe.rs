//! Writes what must survive a restart to the store, on a thread of its own, so that the loop does not wait for the disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use model::action::{Failure, FailureKind, Outcome};
use model::identity::ActionId;
use model::input::Input;
use model::memory::{LoadRecord, Memory};
use model::name::ServiceName;
use store::{CommitError, Txn};

use crate::handle::Handle;
use crate::state_store::{self, StateStore, StateStoreError};

/// Most notes in one transaction; those that come meanwhile wait for the next.
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
pub(crate) fn start(state_store: StateStore, handle: Handle) -> std::io::Result<Sender<Note>> {
    let (notes, inbox) = channel();
    thread::Builder::new().name("scribe".into()).spawn(move || run(&inbox, &state_store, &handle))?;
    Ok(notes)
}

/// The load of each service as it was written last: a record is written only when it is a new one.
type Loads = BTreeMap<ServiceName, Option<Arc<LoadRecord>>>;

fn run(inbox: &Receiver<Note>, state_store: &StateStore, handle: &Handle) {
    let mut loads = Loads::new();
    // Rows that could not be removed yet: the loop repeats what it wants remembered, but not what it has forgotten.
    let mut owed = Vec::new();
    while let Ok(first) = inbox.recv() {
        let mut notes = std::mem::take(&mut owed);
        notes.push(first);
        notes.extend(inbox.try_iter().take(NOTES_MAX - 1));
        let outcomes = write_each(state_store, &notes, &mut loads);
        for (note, outcome) in notes.into_iter().zip(outcomes) {
            match note {
                Note::Remember(action, _) => {
                    if handle.report(Input::Ended { action, outcome }).is_err() {
                        return;
                    }
                }
                Note::Forget(_) if outcome != Outcome::Applied => owed.push(note),
                Note::Forget(_) => {}
            }
        }
    }
}

/// Writes all notes in one transaction. Returns the outcome of each.
///
/// When the transaction is too large, each half is tried by itself, so that one note that cannot be kept harms no other.
fn write_each(state_store: &StateStore, notes: &[Note], loads: &mut Loads) -> Vec<Outcome> {
    let error = match write(state_store, notes, loads) {
        Ok(()) => {
            notes.iter().for_each(|note| note_load(note, loads));
            return vec![Outcome::Applied; notes.len()];
        }
        Err(error) => error,
    };
    let is_too_much =
        matches!(error, StateStoreError::TooLong(_) | StateStoreError::Write(CommitError::TooLarge(_)));
    if is_too_much && notes.len() > 1 {
        let (before, after) = notes.split_at(notes.len() / 2);
        return [write_each(state_store, before, loads), write_each(state_store, after, loads)].concat();
    }
    tracing::warn!(error = %error, "memory_not_written");
    vec![
        Outcome::Failed(Failure { kind: FailureKind::Other, message: error.to_string().into() });
        notes.len()
    ]
}

fn write(state_store: &StateStore, notes: &[Note], loads: &Loads) -> Result<(), StateStoreError> {
    let mut txn = Txn::new();
    for note in notes {
        txn = match note {
            Note::Remember(_, memory) => put_load(state_store::put_memory(txn, memory)?, memory, loads)?,
            Note::Forget(service) => state_store::delete_memory(txn, service),
        };
    }
    state_store.commit(txn).map(drop)
}

/// Adds the load of a service to a transaction, unless it is the record that was written last.
fn put_load(txn: Txn, memory: &Memory, loads: &Loads) -> Result<Txn, StateStoreError> {
    match (&memory.load, loads.get(&memory.service)) {
        (Some(load), Some(Some(written))) if Arc::ptr_eq(load, written) => Ok(txn),
        (None, Some(None)) => Ok(txn),
        (Some(load), _) => state_store::put_load(txn, &memory.service, load),
        (None, _) => Ok(state_store::delete_load(txn, &memory.service)),
    }
}

fn note_load(written: &Note, loads: &mut Loads) {
    match written {
        Note::Remember(_, memory) => {
            loads.insert(memory.service.clone(), memory.load.clone());
        }
        Note::Forget(service) => {
            loads.remove(service);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::identity::{Epoch, Ordinal};
    use model::memory::{Exchange, LoadSource, RestartMemory, StepLoad};
    use store::memory::MemoryStore;

    use super::*;

    fn note(number: u64, name: &str, places: u32) -> Note {
        let memory = Memory {
            desired: Some(places),
            restarts: (0..places).map(|place| (Ordinal(place), RestartMemory::default())).collect(),
            ..Memory::blank(ServiceName::parse(name).unwrap())
        };
        Note::Remember(ActionId { epoch: Epoch(1), sequence: number }, Arc::new(memory))
    }

    #[test]
    fn a_memory_that_is_too_long_keeps_no_other_from_being_written() {
        let state_store = StateStore::new(Arc::new(MemoryStore::default()));
        let notes = [note(1, "shop", 2), note(2, "vast", 100_000), note(3, "cart", 3)];
        let outcomes = write_each(&state_store, &notes, &mut Loads::new());
        let is_applied: Vec<_> = outcomes.iter().map(|outcome| *outcome == Outcome::Applied).collect();
        assert_eq!(is_applied, [true, false, true]);
        let kept: Vec<_> =
            state_store.memories().unwrap().iter().map(|memory| memory.service.to_string()).collect();
        assert_eq!(kept, ["cart", "shop"]);
    }

    #[test]
    fn a_load_is_written_when_it_is_another_one_and_comes_back_with_the_memory() {
        let load = |first| {
            Some(Arc::new(LoadRecord {
                source: LoadSource::Requests,
                step: Duration::from_secs(60),
                first,
                loads: vec![StepLoad::of(12_500), StepLoad::GAP],
                exchange: Exchange::default(),
            }))
        };
        let state_store = StateStore::new(Arc::new(MemoryStore::default()));
        let mut loads = Loads::new();
        let mut remember = |desired, load: &Option<Arc<LoadRecord>>| {
            let blank = Memory::blank(ServiceName::parse("shop").unwrap());
            let memory = Memory { desired: Some(desired), load: load.clone(), ..blank };
            let note = Note::Remember(ActionId { epoch: Epoch(1), sequence: 1 }, Arc::new(memory));
            assert_eq!(write_each(&state_store, &[note], &mut loads), [Outcome::Applied]);
            let kept = state_store.memories().unwrap().remove(0);
            assert_eq!((kept.desired, &kept.load), (Some(desired), load));
        };
        let first = load(7);
        remember(1, &first);
        remember(2, &first);
        remember(3, &load(9));
        remember(4, &None);
        state_store
            .commit(state_store::delete_memory(Txn::new(), &ServiceName::parse("shop").unwrap()))
            .unwrap();
        assert!(state_store.memories().unwrap().is_empty());
    }
}
