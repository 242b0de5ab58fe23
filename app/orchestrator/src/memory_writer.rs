//! Writes the memories of the loop to the store, on a thread of its own, so that the loop does not wait for the disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use model::action::{Failure, FailureKind, Outcome};
use model::identity::ActionId;
use model::input::{Declared, Input};
use model::memory::{LoadRecord, Memory};
use model::name::ServiceName;
use store::{CommitError, Txn};

use crate::handle::Handle;
use crate::state_store::{self, StateStore, StateStoreError};

/// Most writes in a transaction; further ones wait for the next.
const BATCH_MAX: usize = 100;

/// A change of the memory of a service.
#[derive(Debug)]
pub(crate) enum MemoryWrite {
    /// Save this memory, and report the outcome as that of the action.
    Save(ActionId, Arc<Memory>),
    /// Delete the memory of a service that is gone.
    Delete(ServiceName),
}

/// Starts the thread; it ends when the sender is dropped.
pub(crate) fn start(state_store: StateStore, handle: Handle) -> std::io::Result<Sender<MemoryWrite>> {
    let (writes, inbox) = channel();
    thread::Builder::new().name("memory".into()).spawn(move || run(&inbox, &state_store, &handle))?;
    Ok(writes)
}

/// What was last written for each service beside its memory, to skip writing the same again.
type Written = BTreeMap<ServiceName, WrittenParts>;

/// The parts of a memory that have keys of their own, as they are large and change rarely.
#[derive(Debug)]
struct WrittenParts {
    load: Option<Arc<LoadRecord>>,
    proven: Option<Arc<Declared>>,
}

fn run(inbox: &Receiver<MemoryWrite>, state_store: &StateStore, handle: &Handle) {
    let mut written = Written::new();
    // Failed deletions, tried again with the next write: the loop repeats saves but not deletions.
    let mut undeleted = Vec::new();
    while let Ok(first) = inbox.recv() {
        let mut writes = std::mem::take(&mut undeleted);
        writes.push(first);
        writes.extend(inbox.try_iter().take(BATCH_MAX - 1));
        let outcomes = write_all(state_store, &writes, &mut written);
        for (write, outcome) in writes.into_iter().zip(outcomes) {
            match write {
                MemoryWrite::Save(action, _) => {
                    if handle.report(Input::Ended { action, outcome }).is_err() {
                        return;
                    }
                }
                MemoryWrite::Delete(_) if outcome != Outcome::Applied => undeleted.push(write),
                MemoryWrite::Delete(_) => {}
            }
        }
    }
}

/// Commits all writes in one transaction. Returns the outcome of each.
///
/// When the transaction is too large, each half is committed by itself, so that one memory that is too large does not block others.
fn write_all(state_store: &StateStore, writes: &[MemoryWrite], written: &mut Written) -> Vec<Outcome> {
    let error = match write_batch(state_store, writes, written) {
        Ok(()) => {
            writes.iter().for_each(|write| track(write, written));
            return vec![Outcome::Applied; writes.len()];
        }
        Err(error) => error,
    };
    let is_too_large =
        matches!(error, StateStoreError::TooLong(_) | StateStoreError::Write(CommitError::TooLarge(_)));
    if is_too_large && writes.len() > 1 {
        let (before, after) = writes.split_at(writes.len() / 2);
        return [write_all(state_store, before, written), write_all(state_store, after, written)].concat();
    }
    tracing::warn!(error = %error, "memory_not_written");
    vec![
        Outcome::Failed(Failure { kind: FailureKind::Other, message: error.to_string().into() });
        writes.len()
    ]
}

fn write_batch(
    state_store: &StateStore,
    writes: &[MemoryWrite],
    written: &Written,
) -> Result<(), StateStoreError> {
    let mut txn = Txn::new();
    for write in writes {
        txn = match write {
            MemoryWrite::Save(_, memory) => {
                let before = written.get(&memory.service);
                txn = state_store::put_memory(txn, memory)?;
                txn = put_load(txn, memory, before)?;
                put_proven(txn, memory, before)?
            }
            MemoryWrite::Delete(service) => state_store::delete_memory(txn, service),
        };
    }
    state_store.commit(txn).map(drop)
}

/// Adds the load record of a service to a transaction, unless the same record was written last.
fn put_load(txn: Txn, memory: &Memory, before: Option<&WrittenParts>) -> Result<Txn, StateStoreError> {
    match &memory.load {
        load if before.is_some_and(|before| is_same(&before.load, load)) => Ok(txn),
        Some(load) => state_store::put_load(txn, &memory.service, load),
        None => Ok(state_store::delete_load(txn, &memory.service)),
    }
}

/// Adds the proven version of a service to a transaction, unless the same was written last.
fn put_proven(txn: Txn, memory: &Memory, before: Option<&WrittenParts>) -> Result<Txn, StateStoreError> {
    match &memory.proven {
        proven if before.is_some_and(|before| is_same(&before.proven, proven)) => Ok(txn),
        Some(proven) => state_store::put_proven(txn, &memory.service, proven),
        None => Ok(state_store::delete_proven(txn, &memory.service)),
    }
}

fn is_same<T>(one: &Option<Arc<T>>, other: &Option<Arc<T>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn track(write: &MemoryWrite, written: &mut Written) {
    match write {
        MemoryWrite::Save(_, memory) => {
            let parts = WrittenParts { load: memory.load.clone(), proven: memory.proven.clone() };
            written.insert(memory.service.clone(), parts);
        }
        MemoryWrite::Delete(service) => {
            written.remove(service);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::identity::{Epoch, Ordinal};
    use model::memory::{DemandCurve, LoadSource, RestartMemory, StepLoad};
    use store::memory::MemoryStore;

    use super::*;

    fn save(number: u64, name: &str, replicas: u32) -> MemoryWrite {
        let memory = Memory {
            desired: Some(replicas),
            restarts: (0..replicas).map(|place| (Ordinal(place), RestartMemory::default())).collect(),
            ..Memory::blank(ServiceName::parse(name).unwrap())
        };
        MemoryWrite::Save(ActionId { epoch: Epoch(1), sequence: number }, Arc::new(memory))
    }

    #[test]
    fn a_memory_that_is_too_large_does_not_block_others() {
        let state_store = StateStore::new(Arc::new(MemoryStore::default()));
        let writes = [save(1, "shop", 2), save(2, "vast", 100_000), save(3, "cart", 3)];
        let outcomes = write_all(&state_store, &writes, &mut Written::new());
        let is_applied: Vec<_> = outcomes.iter().map(|outcome| *outcome == Outcome::Applied).collect();
        assert_eq!(is_applied, [true, false, true]);
        let kept: Vec<_> =
            state_store.memories().unwrap().iter().map(|memory| memory.service.to_string()).collect();
        assert_eq!(kept, ["cart", "shop"]);
    }

    #[test]
    fn a_load_is_written_only_when_it_has_changed_and_is_read_with_the_memory() {
        let load = |first| {
            Some(Arc::new(LoadRecord {
                source: LoadSource::Requests,
                step: Duration::from_secs(60),
                first,
                loads: vec![StepLoad::of(12_500), StepLoad::GAP],
                demand: DemandCurve::default(),
            }))
        };
        let state_store = StateStore::new(Arc::new(MemoryStore::default()));
        let mut written = Written::new();
        let mut remember = |desired, load: &Option<Arc<LoadRecord>>| {
            let blank = Memory::blank(ServiceName::parse("shop").unwrap());
            let memory = Memory { desired: Some(desired), load: load.clone(), ..blank };
            let write = MemoryWrite::Save(ActionId { epoch: Epoch(1), sequence: 1 }, Arc::new(memory));
            assert_eq!(write_all(&state_store, &[write], &mut written), [Outcome::Applied]);
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
