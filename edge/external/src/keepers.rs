//! The keepers of all files.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::name::ServiceName;
use model::resource::External;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::file::Place;
use crate::keeper::{Ends, FileState, Keeper, Kept, Wanted};
use crate::render::render;
use crate::upstream::{Server, Standing, Upstream};

/// How long after a reload a balancer may still go by what it had before: the command ends when the reload has been asked for, the new
/// processes take over a moment later, and an old one may already have chosen a replica for a request that it had begun to read.
const SETTLE: Duration = Duration::from_secs(2);

/// News of a file, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whose replicas are in the file.
    pub service: ServiceName,
    /// Whether it is about trouble.
    pub is_warning: bool,
    /// What happened.
    pub message: String,
}

/// Tells people. Called in a task; must not block.
pub type Tell = Arc<dyn Fn(Notice) + Send + Sync>;

/// Keeps the files of external balancers; cheap to clone.
#[derive(Clone)]
pub struct Keepers {
    inner: Arc<Inner>,
}

struct Inner {
    runtime: Handle,
    tasks: TaskTracker,
    tell: Tell,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    by_file: BTreeMap<PathBuf, Entry>,
    /// Whether the shutdown has begun.
    is_closed: bool,
}

struct Entry {
    wanted: watch::Sender<Wanted>,
    state: watch::Receiver<FileState>,
}

impl Entry {
    /// Whether the file has the replicas of `service`, or had them last.
    fn is_of(&self, service: &ServiceName) -> bool {
        self.wanted.borrow().service == *service
    }

    /// Whether the balancer may still go by what it had before.
    fn is_settling(&self, now: Duration) -> bool {
        let state = self.state.borrow();
        state.in_force < self.wanted.borrow().number || now.saturating_sub(state.in_force_since) < SETTLE
    }
}

impl fmt::Debug for Keepers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files: Vec<PathBuf> = self.shelf().by_file.keys().cloned().collect();
        f.debug_struct("Keepers").field("files", &files).finish()
    }
}

impl Keepers {
    /// Without a file yet; the tasks will run on `runtime`.
    pub fn new(runtime: Handle, tell: Tell) -> Self {
        let inner = Inner { runtime, tasks: TaskTracker::new(), tell, shelf: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Brings the replicas of `upstream` to the external balancers of a service, and to no other.
    ///
    /// A file that is not named any more is left without a server, because a configuration may include it. `is_settled` says whether it is
    /// known of all replicas if they can serve. Returns at once.
    pub fn set(&self, service: &ServiceName, externals: &[External], upstream: &Upstream, is_settled: bool) {
        let shelf = &mut *self.shelf();
        if shelf.is_closed {
            return;
        }
        let now = os::since_boot();
        shelf.by_file.retain(|_, entry| !entry.wanted.is_closed() || entry.is_settling(now));
        for (file, entry) in &mut shelf.by_file {
            let is_named = externals.iter().any(|external| Path::new(&external.file) == file.as_path());
            if entry.is_of(service) && !is_named {
                retire(entry, Ends::Taken);
            }
        }
        for external in externals {
            let name = external.name_for(service);
            let upstream = Upstream { name: name.to_owned(), ..upstream.clone() };
            let serves =
                |it: &&Server| it.ordinal.is_some() && matches!(it.standing, Standing::Serving { .. });
            let wanted = Wanted {
                service: service.clone(),
                external: Arc::new(external.clone()),
                text: render(external.format, &upstream).into(),
                serving: upstream.servers.iter().filter(serves).count(),
                number: 1,
                is_settled,
                ends: Ends::Not,
            };
            self.want(shelf, wanted);
        }
    }

    /// The state of the files of a service, in the order of their paths.
    pub fn state(&self, service: &ServiceName) -> Vec<Kept> {
        let shelf = self.shelf();
        let own = shelf
            .by_file
            .values()
            .filter(|entry| entry.is_of(service) && entry.wanted.borrow().ends == Ends::Not);
        let kept = own.map(|entry| {
            let (wanted, state) = (entry.wanted.borrow(), entry.state.borrow().clone());
            let is_current = state.in_force >= wanted.number;
            Kept { external: Arc::clone(&wanted.external), state, is_current }
        });
        kept.collect()
    }

    /// Waits until the balancers of a service have what is wanted now.
    pub fn applied(&self, service: &ServiceName) -> Applied {
        let shelf = self.shelf();
        let own = shelf.by_file.values().filter(|entry| entry.is_of(service));
        Applied(own.map(|entry| (entry.state.clone(), entry.wanted.borrow().number)).collect())
    }

    /// Whether a balancer of a service may still go by what it had before; `None` when the service has no balancer.
    pub fn is_settling(&self, service: &ServiceName) -> Option<bool> {
        let now = os::since_boot();
        let shelf = self.shelf();
        let own = shelf.by_file.values().filter(|entry| entry.is_of(service));
        own.map(|entry| entry.is_settling(now)).reduce(|a, b| a || b)
    }

    /// Leaves all files without a server, and waits until their balancers have taken that, but not longer than `limit`. A balancer that does not
    /// take it at the second attempt is taken to have ended before.
    ///
    /// Call it before the replicas are stopped: another program may get their ports.
    pub async fn close(&self, limit: Duration) {
        {
            let shelf = &mut *self.shelf();
            shelf.is_closed = true;
            shelf.by_file.values_mut().for_each(|entry| retire(entry, Ends::Asked));
        }
        self.inner.tasks.close();
        if tokio::time::timeout(limit, self.inner.tasks.wait()).await.is_err() {
            tracing::warn!("balancers_not_emptied");
        }
    }

    fn want(&self, shelf: &mut Shelf, new: Wanted) {
        let file = PathBuf::from(&new.external.file);
        let known = shelf.by_file.get(&file).filter(|entry| !entry.wanted.is_closed());
        if let Some(entry) = known {
            entry.wanted.send_if_modified(|wanted| change(wanted, new));
            return;
        }
        let (wanted, receiver) = watch::channel(new);
        let (sender, state) = watch::channel(FileState::default());
        let keeper = Keeper {
            place: Place::new(&file),
            wanted: receiver,
            state: sender,
            tell: Arc::clone(&self.inner.tell),
        };
        self.inner.tasks.spawn_on(keeper.run(), &self.inner.runtime);
        shelf.by_file.insert(file, Entry { wanted, state });
    }

    /// Every change leaves it whole, so a panic while it was locked does no harm.
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.inner.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Replaces what is wanted, under the next number if the file has to change; returns whether anything differs.
fn change(wanted: &mut Wanted, mut new: Wanted) -> bool {
    let is_same_text = wanted.text == new.text;
    let is_same = is_same_text
        && (&wanted.service, &wanted.external, wanted.is_settled, wanted.ends)
            == (&new.service, &new.external, new.is_settled, new.ends);
    // Other differences are in force as soon as the text is.
    new.number = wanted.number + u64::from(!is_same_text || wanted.external != new.external);
    *wanted = new;
    !is_same
}

/// Leaves a file without a server, after which its keeper ends.
fn retire(entry: &mut Entry, ends: Ends) {
    entry.wanted.send_if_modified(|wanted| {
        let before = wanted.ends;
        wanted.ends = ends.max(before);
        if before != Ends::Not {
            return wanted.ends != before;
        }
        let none = Upstream {
            service: wanted.service.to_string(),
            name: wanted.external.name_for(&wanted.service).to_owned(),
            http2: false,
            balance: model::resource::Balance::RoundRobin,
            hash: model::resource::HashKey::Address,
            servers: Vec::new(),
        };
        wanted.text = render(wanted.external.format, &none).into();
        wanted.serving = 0;
        wanted.number += 1;
        true
    });
}

/// Waits until balancers have what was wanted at one moment.
#[derive(Debug)]
pub struct Applied(Vec<(watch::Receiver<FileState>, u64)>);

impl Applied {
    /// Whether they have it.
    pub fn is_now(&self) -> bool {
        self.0.iter().all(|(state, number)| state.borrow().in_force >= *number)
    }

    /// Ends when they have it, or their keepers have ended.
    pub async fn wait(self) {
        for (mut state, number) in self.0 {
            // A keeper that has ended will not do more.
            let _ended = state.wait_for(|state| state.in_force >= number).await;
        }
    }
}
