//! The state in the store: its keys, and the versioned format of each value.
//!
//! | key | value |
//! |---|---|
//! | `services/NAME` | the declaration of a service, with its revision and generation |
//! | `autoscalers/NAME` | a HorizontalPodAutoscaler as written |
//! | `routes/NAME` | a route as written |
//! | `metricsources/NAME` | a metric source as written |
//! | `holds/NAME` | the number of replicas at which an operator holds a service |
//! | `pauses/NAME` | the end of the pause of an autoscaler |
//! | `protections/NAME` | the replicas of a service that must not be removed |
//! | `memory/NAME` | the memory of the loop about a service, without its load and proven version |
//! | `loads/NAME` | the recorded load of a service with a forecast |
//! | `proven/NAME` | the latest version of a service that has proven itself, as it was last declared |
//! | `epoch` | the epoch of the latest run |
//!
//! Every value is JSON with the version of its format in `v`. A value written by a newer homeostat is refused and not changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use journal::{StoredLoad, StoredMemory, StoredVersion};
use model::identity::{Epoch, Generation, Incarnation, Ordinal, ReplicaId};
use model::input::{Declared, Intent};
use model::memory::{LoadRecord, Memory};
use model::name::ServiceName;
use model::resource::{Kind, Problems, Resource, ResourceVersion};
use model::time::Time;
use serde::{Deserialize, Serialize};
use store::{
    Commit, CommitError, Entry, Expect, Key, Prefix, ReadError, Revision, Store, Txn, Value, ValueTooLong,
};

use crate::replica_access::ReplicaAccess;

/// The format version of every value that this program writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// A resource in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredResource {
    /// As written, without a version.
    pub resource: Resource,
    /// Grows with each change of the resource.
    pub revision: Generation,
    /// For a service: the revision in which the part that its replicas run was first declared.
    pub generation: Generation,
    /// For a service: the versions that its replicas ran before, latest last, to recognise a rollback, and to reach replicas that still run
    /// them.
    pub earlier: Vec<Version>,
    /// The revision of the store in which the resource was created; it never changes.
    pub created: u64,
    /// The revision of the store in which it was last written.
    pub version: ResourceVersion,
}

impl StoredResource {
    /// The resource as people are shown it: with its version, from which they can change it.
    pub fn versioned(&self) -> Resource {
        self.resource.clone().with_version(self.version)
    }
}

/// A version of a service that its replicas ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The digest of the part that replicas run. A later homeostat that serializes the same declaration differently does not recognise it.
    pub digest: u64,
    /// The generation of this version.
    pub generation: u64,
    /// How its replicas are reached and probed; earlier homeostats did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Arc<ReplicaAccess>>,
}

/// A hold of a service at a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StoredHold {
    replicas: u32,
    until_ms: Option<u64>,
}

/// A pause of an autoscaler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StoredPause {
    until_ms: Option<u64>,
}

/// The replicas of a service that must not be removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredProtections {
    replicas: BTreeMap<u32, StoredProtection>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredProtection {
    incarnation: u32,
    until_ms: u64,
}

/// The state could not be read or written. Nothing has changed unless the error states that the outcome is unknown.
#[derive(Debug, thiserror::Error)]
pub enum StateStoreError {
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store could not be written.
    #[error(transparent)]
    Write(#[from] CommitError),
    /// A value is too long for the store; nothing has changed.
    #[error("could not store the value: {0}")]
    TooLong(#[from] ValueTooLong),
    /// A value was written by a newer homeostat; it was not changed.
    #[error(
        "could not read {key} from the store: a newer homeostat wrote it (format {found}, this one reads up to {FORMAT}); start that version"
    )]
    Newer {
        /// Its key.
        key: String,
        /// The version of its format.
        found: u32,
    },
    /// A value cannot be parsed.
    #[error(
        "could not read {key} from the store: its format is unknown to this homeostat; was it written by a newer one?"
    )]
    Form {
        /// Its key.
        key: String,
        /// Why.
        source: serde_json::Error,
    },
    /// Another orchestrator has begun a newer epoch in the meantime.
    #[error("another orchestrator has begun a newer epoch in this store; only one may run")]
    Overtaken,
}

#[derive(Serialize, Deserialize)]
struct ResourceValue {
    revision: u64,
    generation: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<Version>,
    resource: Resource,
}

#[derive(Serialize, Deserialize)]
struct StoredEpoch {
    epoch: u64,
}

/// The format version of a value, read before the rest.
#[derive(Deserialize)]
struct VersionHeader {
    v: u32,
}

/// A value with its format version.
#[derive(Serialize)]
struct Versioned<'a, T> {
    v: u32,
    #[serde(flatten)]
    value: &'a T,
}

/// Reads and writes the state.
#[derive(Clone, Debug)]
pub(crate) struct StateStore {
    store: Arc<dyn Store>,
}

impl StoredHold {
    pub(crate) fn new(replicas: u32, until: Option<Time>) -> Self {
        Self { replicas, until_ms: until.map(Time::as_millis) }
    }

    pub(crate) fn intent(self, service: ServiceName) -> Intent {
        Intent::Hold { service, replicas: self.replicas, until: self.until_ms.map(Time::from_millis) }
    }
}

impl StoredPause {
    pub(crate) fn new(until: Option<Time>) -> Self {
        Self { until_ms: until.map(Time::as_millis) }
    }

    pub(crate) fn intent(self, service: ServiceName) -> Intent {
        Intent::Pause { service, until: self.until_ms.map(Time::from_millis) }
    }
}

impl StoredProtections {
    /// Removes the protections that have ended by `now`.
    pub(crate) fn remove_expired(&mut self, now: Time) {
        self.replicas.retain(|_, protection| protection.until_ms > now.as_millis());
    }

    pub(crate) fn add(&mut self, ordinal: Ordinal, incarnation: Incarnation, until: Time) {
        let protection = StoredProtection { incarnation: incarnation.0, until_ms: until.as_millis() };
        self.replicas.insert(ordinal.0, protection);
    }

    pub(crate) fn remove(&mut self, ordinal: Ordinal) {
        self.replicas.remove(&ordinal.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.replicas.len()
    }

    fn intents(self, service: &ServiceName) -> Vec<Intent> {
        let intent = |(ordinal, protection): (u32, StoredProtection)| Intent::Protect {
            replica: ReplicaId { service: service.clone(), ordinal: Ordinal(ordinal) },
            incarnation: Incarnation(protection.incarnation),
            until: Time::from_millis(protection.until_ms),
        };
        self.replicas.into_iter().map(intent).collect()
    }
}

impl StateStore {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Begins the next epoch, which is later than `after`. No two runs ever have the same epoch.
    pub(crate) fn next_epoch(&self, after: Epoch) -> Result<Epoch, StateStoreError> {
        let key = key_of("epoch");
        let (last, expected) = match self.store.get(&key)? {
            None => (0, Expect::Absent),
            Some(entry) => (read::<StoredEpoch>(&entry)?.epoch, Expect::WrittenAt(entry.mod_revision)),
        };
        let epoch = last.max(after.0) + 1;
        match self.store.compare_and_set(key, expected, value_of(&StoredEpoch { epoch })?)? {
            Commit::Applied { .. } => Ok(Epoch(epoch)),
            Commit::Refused { .. } => Err(StateStoreError::Overtaken),
        }
    }

    /// All resources, by kind and name.
    pub(crate) fn resources(&self) -> Result<BTreeMap<(Kind, String), StoredResource>, StateStoreError> {
        let mut all = BTreeMap::new();
        for folder in ["services/", "autoscalers/", "routes/", "metricsources/"] {
            for entry in self.store.list(&prefix_of(folder))?.entries {
                let mut value: ResourceValue = read(&entry)?;
                // Earlier homeostats stored the version of a Kubernetes API server with an autoscaler.
                value.resource.take_version();
                let key = (value.resource.kind(), value.resource.name().to_owned());
                let stored = StoredResource {
                    resource: value.resource,
                    revision: Generation(value.revision),
                    generation: Generation(value.generation),
                    earlier: value.earlier,
                    created: entry.create_revision.0,
                    version: ResourceVersion(entry.mod_revision.0),
                };
                all.insert(key, stored);
            }
        }
        Ok(all)
    }

    /// The orders of operators: holds, pauses and protections.
    pub(crate) fn orders(&self) -> Result<Vec<Intent>, StateStoreError> {
        let mut orders = self.each("holds/", |name, hold: StoredHold| hold.intent(name))?;
        orders.extend(self.each("pauses/", |name, pause: StoredPause| pause.intent(name))?);
        let protections =
            self.each("protections/", |name, stored: StoredProtections| stored.intents(&name))?;
        orders.extend(protections.into_iter().flatten());
        Ok(orders)
    }

    /// The replicas of a service that must not be removed.
    pub(crate) fn protections(&self, service: &ServiceName) -> Result<StoredProtections, StateStoreError> {
        let entry = self.store.get(&key_of(&format!("protections/{service}")))?;
        entry.map_or_else(|| Ok(StoredProtections::default()), |entry| read(&entry))
    }

    pub(crate) fn memories(&self) -> Result<Vec<Arc<Memory>>, StateStoreError> {
        let load = |name, stored: StoredLoad| (name, Arc::new(LoadRecord::from(stored)));
        let mut loads: BTreeMap<ServiceName, Arc<LoadRecord>> =
            self.each("loads/", load)?.into_iter().collect();
        let version = |name, stored: StoredVersion| (name, Arc::new(Declared::from(stored)));
        let mut proven: BTreeMap<ServiceName, Arc<Declared>> =
            self.each("proven/", version)?.into_iter().collect();
        let memories = self.each("memory/", |_, stored: StoredMemory| Memory::from(stored))?;
        let whole = |memory: Memory| Memory {
            load: loads.remove(&memory.service),
            proven: proven.remove(&memory.service),
            ..memory
        };
        Ok(memories.into_iter().map(whole).map(Arc::new).collect())
    }

    fn each<T, R>(&self, folder: &str, of: impl Fn(ServiceName, T) -> R) -> Result<Vec<R>, StateStoreError>
    where
        T: for<'de> Deserialize<'de>,
    {
        let mut all = Vec::new();
        for entry in self.store.list(&prefix_of(folder))?.entries {
            // Homeostat writes only valid names: another program wrote this key, so it is ignored.
            let Some(name) =
                entry.key.as_str().strip_prefix(folder).and_then(|name| ServiceName::parse(name).ok())
            else {
                continue;
            };
            all.push(of(name, read(&entry)?));
        }
        Ok(all)
    }

    /// Commits a transaction, all or nothing. Returns the revision in which it was written.
    pub(crate) fn commit(&self, txn: Txn) -> Result<Revision, StateStoreError> {
        match self.store.commit(txn)? {
            Commit::Applied { revision } => Ok(revision),
            Commit::Refused { .. } => Err(StateStoreError::Overtaken),
        }
    }
}

/// Adds a resource to a transaction. Fails when the resource is too long for the store.
pub(crate) fn put_resource(txn: Txn, stored: &StoredResource) -> Result<Txn, StateStoreError> {
    let value = ResourceValue {
        revision: stored.revision.0,
        generation: stored.generation.0,
        earlier: stored.earlier.clone(),
        resource: stored.resource.clone(),
    };
    Ok(txn.put(resource_key(stored.resource.kind(), stored.resource.name()), value_of(&value)?))
}

/// Adds the removal of a resource to a transaction.
pub(crate) fn delete_resource(txn: Txn, kind: Kind, name: &str) -> Txn {
    txn.delete(resource_key(kind, name))
}

pub(crate) fn put_hold(txn: Txn, service: &ServiceName, hold: StoredHold) -> Result<Txn, StateStoreError> {
    Ok(txn.put(key_of(&format!("holds/{service}")), value_of(&hold)?))
}

pub(crate) fn delete_hold(txn: Txn, service: &ServiceName) -> Txn {
    txn.delete(key_of(&format!("holds/{service}")))
}

pub(crate) fn put_pause(txn: Txn, service: &ServiceName, pause: StoredPause) -> Result<Txn, StateStoreError> {
    Ok(txn.put(key_of(&format!("pauses/{service}")), value_of(&pause)?))
}

pub(crate) fn delete_pause(txn: Txn, service: &ServiceName) -> Txn {
    txn.delete(key_of(&format!("pauses/{service}")))
}

/// Adds the protections of a service to a transaction; without any, their key is deleted.
pub(crate) fn put_protections(
    txn: Txn,
    service: &ServiceName,
    protections: &StoredProtections,
) -> Result<Txn, StateStoreError> {
    if protections.len() == 0 {
        return Ok(delete_protections(txn, service));
    }
    Ok(txn.put(key_of(&format!("protections/{service}")), value_of(protections)?))
}

pub(crate) fn delete_protections(txn: Txn, service: &ServiceName) -> Txn {
    txn.delete(key_of(&format!("protections/{service}")))
}

pub(crate) fn put_memory(txn: Txn, memory: &Memory) -> Result<Txn, StateStoreError> {
    let value = StoredMemory::without_load_and_version(memory);
    Ok(txn.put(key_of(&format!("memory/{}", memory.service)), value_of(&value)?))
}

pub(crate) fn delete_memory(txn: Txn, service: &ServiceName) -> Txn {
    delete_proven(delete_load(txn.delete(key_of(&format!("memory/{service}"))), service), service)
}

pub(crate) fn put_load(txn: Txn, service: &ServiceName, load: &LoadRecord) -> Result<Txn, StateStoreError> {
    let value = StoredLoad::from(load);
    Ok(txn.put(key_of(&format!("loads/{service}")), value_of(&value)?))
}

pub(crate) fn delete_load(txn: Txn, service: &ServiceName) -> Txn {
    txn.delete(key_of(&format!("loads/{service}")))
}

pub(crate) fn put_proven(txn: Txn, service: &ServiceName, proven: &Declared) -> Result<Txn, StateStoreError> {
    let value = StoredVersion::from(proven);
    Ok(txn.put(key_of(&format!("proven/{service}")), value_of(&value)?))
}

pub(crate) fn delete_proven(txn: Txn, service: &ServiceName) -> Txn {
    txn.delete(key_of(&format!("proven/{service}")))
}

/// A service with the autoscaler that targets it, as an input of the loop.
///
/// Fails when an autoscaler is invalid. Autoscalers are checked before they are stored, so another version of homeostat stored it.
pub(crate) fn declared(
    all: &BTreeMap<(Kind, String), StoredResource>,
    name: &ServiceName,
) -> Result<Option<Declared>, Problems> {
    let Some(stored) = all.get(&(Kind::Service, name.to_string())) else { return Ok(None) };
    let Resource::Service(service) = &stored.resource else { return Ok(None) };
    let mut autoscaler = service.autoscaler()?;
    for other in all.values() {
        let Resource::HorizontalPodAutoscaler(hpa) = &other.resource else { continue };
        // The others are not converted: each service is declared with all autoscalers to search.
        if hpa.target().name == name.as_str() {
            autoscaler = Some(hpa.autoscaler()?);
        }
    }
    let (revision, generation) = (stored.revision, stored.generation);
    Ok(Some(Declared { name: name.clone(), revision, generation, spec: service.spec.clone(), autoscaler }))
}

fn resource_key(kind: Kind, name: &str) -> Key {
    match kind {
        Kind::Service => key_of(&format!("services/{name}")),
        Kind::HorizontalPodAutoscaler => key_of(&format!("autoscalers/{name}")),
        Kind::Route => key_of(&format!("routes/{name}")),
        Kind::MetricSource => key_of(&format!("metricsources/{name}")),
    }
}

fn key_of(text: &str) -> Key {
    Key::parse(text).expect("names of resources are checked, and fit in a key")
}

fn prefix_of(folder: &str) -> Prefix {
    Prefix::parse(folder).expect("the folders are constants that fit in a key")
}

fn value_of(value: &impl Serialize) -> Result<Value, ValueTooLong> {
    let json = serde_json::to_vec(&Versioned { v: FORMAT, value })
        .expect("the stored types have text keys only, so JSON can hold them");
    Value::new(json)
}

/// Reads the format version first, since the rest of a newer format is unknown.
fn read<T: for<'de> Deserialize<'de>>(entry: &Entry) -> Result<T, StateStoreError> {
    let unknown = |source| StateStoreError::Form { key: entry.key.to_string(), source };
    let header: VersionHeader = serde_json::from_slice(&entry.value).map_err(unknown)?;
    if header.v > FORMAT {
        return Err(StateStoreError::Newer { key: entry.key.to_string(), found: header.v });
    }
    serde_json::from_slice(&entry.value).map_err(unknown)
}
