//! The driver: the state that all its tasks share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use model::identity::ReplicaId;
use model::resource::PortName;
use os::FileLock;
use platform::{Event, Life};
use tokio::sync::{Semaphore, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cgroup::Cgroups;
use crate::epoch_fence::EpochFence;
use crate::folder_claim::FolderClaim;
use crate::launch::PortAllocator;
use crate::record::Records;
use crate::settings::Settings;
use crate::tracked_life::TrackedLife;

/// The most concurrent starts: enough to keep both the disk and the processors busy; more would only wait for each other.
pub(crate) const STARTS_AT_ONCE: usize = 8;

/// The most events by which a receiver may lag behind: all replicas of a full machine (some 500) ending twice.
pub(crate) const EVENTS_MAX: usize = 1024;

/// The driver of one data folder: the state that all its tasks share.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) settings: Settings,
    pub(crate) boot: String,
    pub(crate) records: Records,
    pub(crate) fence: EpochFence,
    pub(crate) cgroups: Cgroups,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) starts: Semaphore,
    pub(crate) tasks: TaskTracker,
    pub(crate) closed: CancellationToken,
    places: Mutex<BTreeMap<ReplicaId, Arc<Place>>>,
    ports: Mutex<PortAllocator>,
    /// Both are held as long as a task may still write to the data folder. The claim ends first, so that whoever gets the lock gets it, too.
    pub(crate) claim: FolderClaim,
    _lock: FileLock,
}

/// One place of a service, and the last life that filled it.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// Held during an action on the place, so that a repeated action finds the result of the first.
    pub(crate) action_lock: Arc<tokio::sync::Mutex<()>>,
    last: Mutex<Option<Arc<TrackedLife>>>,
}

impl Place {
    pub(crate) fn last(&self) -> Option<Arc<TrackedLife>> {
        self.last.lock().expect("nothing panics while it holds a place").clone()
    }

    pub(crate) fn fill(&self, tracked: Arc<TrackedLife>) {
        *self.last.lock().expect("nothing panics while it holds a place") = Some(tracked);
    }
}

/// The parts of a driver.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) settings: Settings,
    pub(crate) boot: String,
    pub(crate) records: Records,
    pub(crate) fence: EpochFence,
    pub(crate) cgroups: Cgroups,
    pub(crate) claim: FolderClaim,
    pub(crate) lock: FileLock,
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Self {
        let (events, _) = broadcast::channel(EVENTS_MAX);
        Self {
            settings: parts.settings,
            boot: parts.boot,
            records: parts.records,
            fence: parts.fence,
            cgroups: parts.cgroups,
            events,
            starts: Semaphore::new(STARTS_AT_ONCE),
            tasks: TaskTracker::new(),
            closed: CancellationToken::new(),
            places: Mutex::default(),
            ports: Mutex::default(),
            claim: parts.claim,
            _lock: parts.lock,
        }
    }

    /// Creates spare cells for later starts, in the background.
    pub(crate) fn create_spares_later(self: &Arc<Self>) {
        let driver = Arc::clone(self);
        self.tasks.spawn_blocking(move || driver.cgroups.create_spares());
    }

    /// Removes the groups of drivers that are gone, in the background.
    pub(crate) fn sweep_later(self: &Arc<Self>) {
        let driver = Arc::clone(self);
        self.tasks.spawn_blocking(move || driver.cgroups.sweep());
    }

    /// The place, empty when it was never filled.
    pub(crate) fn place(&self, replica: &ReplicaId) -> Arc<Place> {
        self.places().entry(replica.clone()).or_default().clone()
    }

    /// The place, if a start was ever requested.
    pub(crate) fn known_place(&self, replica: &ReplicaId) -> Option<Arc<Place>> {
        self.places().get(replica).cloned()
    }

    /// The last life of the place, if it was ever filled.
    pub(crate) fn last(&self, replica: &ReplicaId) -> Option<Arc<TrackedLife>> {
        self.known_place(replica)?.last()
    }

    /// The last lives of all places, in their order.
    pub(crate) fn tracked_lives(&self) -> Vec<Arc<TrackedLife>> {
        let places: Vec<Arc<Place>> = self.places().values().cloned().collect();
        places.iter().filter_map(|place| place.last()).collect()
    }

    /// The last lives of all places, in their order, after those that ended long ago were forgotten.
    ///
    /// A start is compared with the same lives, so none is refused because of a life that is not listed.
    pub(crate) fn inventory(&self) -> Vec<Life> {
        self.forget_obsolete();
        self.tracked_lives().iter().map(|tracked| tracked.life()).collect()
    }

    /// Forgets the places that were never filled, since their start failed, and those whose last life ended long ago, so that their number
    /// is bounded. The next driver removes their records.
    ///
    /// A place that an action is using stays: places are only handed out under the same lock.
    fn forget_obsolete(&self) {
        self.places().retain(|_, place| {
            Arc::strong_count(place) > 1 || place.last().is_some_and(|last| !last.is_obsolete())
        });
    }

    /// The ports of other running replicas of the same service.
    pub(crate) fn ports_of_siblings(&self, replica: &ReplicaId) -> BTreeSet<u16> {
        let siblings = self.tracked_lives().into_iter().filter(|tracked| {
            let sibling = tracked.record.replica();
            sibling.service == replica.service && sibling.ordinal != replica.ordinal && !tracked.has_ended()
        });
        siblings.flat_map(|tracked| tracked.record.ports.values().copied().collect::<Vec<_>>()).collect()
    }

    pub(crate) fn port_allocator(&self) -> MutexGuard<'_, PortAllocator> {
        self.ports.lock().expect("nothing panics while it holds the ports")
    }

    pub(crate) fn release_ports(&self, ports: &BTreeMap<PortName, u16>) {
        self.port_allocator().release(ports);
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<ReplicaId, Arc<Place>>> {
        self.places.lock().expect("nothing panics while it holds the places")
    }
}
