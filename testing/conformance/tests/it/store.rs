//! The conformance suite with both stores, and tests of the store on disk.

mod kill;
mod opening;
mod retention;

use std::path::PathBuf;
use std::sync::Arc;

use conformance::store::{StoreHome, suite};
use store::Store;
use store::memory::{MemoryDisk, MemoryStore};
use store_embedded::EmbeddedStore;
use tempfile::TempDir;

#[derive(Default)]
struct InMemory(MemoryDisk);

impl StoreHome for InMemory {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(MemoryStore::open(self.0.clone()))
    }
}

struct InFolder(TempDir);

impl StoreHome for InFolder {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(EmbeddedStore::open(self.0.path()).unwrap())
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn store_file(dir: &TempDir) -> PathBuf {
    dir.path().join("store.db")
}

#[test]
fn the_store_in_memory_keeps_the_contract() {
    suite(&|| Box::new(InMemory::default()));
}

#[test]
fn the_embedded_store_keeps_the_contract() {
    suite(&|| Box::new(InFolder(folder())));
}
