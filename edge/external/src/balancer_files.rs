//! The files of all external balancers.

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

use crate::file::TargetFile;
use crate::notice::Notify;
use crate::reconciler::{BalancerFile, Desired, EndWhen, FileReconciler, FileState};
use crate::render::render;
use crate::upstream::{Server, ServerState, Upstream};

/// How long after a reload a balancer may still use its earlier configuration: the command ends when the reload is requested, the new
/// processes take over a moment later, and an old one may already have chosen a replica for a request that it was reading.
const SETTLE: Duration = Duration::from_secs(2);

/// Reconciles the files of external balancers; cheap to clone.
#[derive(Clone)]
pub struct BalancerFiles {
    shared: Arc<Shared>,
}

struct Shared {
    runtime: Handle,
    tasks: TaskTracker,
    notify: Notify,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    by_file: BTreeMap<PathBuf, Entry>,
    /// Whether the shutdown has begun.
    is_closed: bool,
}

struct Entry {
    wanted: watch::Sender<Desired>,
    state: watch::Receiver<FileState>,
}

impl Entry {
    /// Whether the file lists the replicas of `service`, or did so last.
    fn is_of(&self, service: &ServiceName) -> bool {
        self.wanted.borrow().service == *service
    }

    /// Whether the balancer has applied the file without servers, and nothing more is desired of it.
    fn is_emptied(&self) -> bool {
        let wanted = self.wanted.borrow();
        wanted.ends == EndWhen::Applied && self.state.borrow().in_force >= wanted.number
    }

    /// Whether the balancer may still use its earlier configuration.
    fn is_settling(&self, now: Duration) -> bool {
        let state = self.state.borrow();
        state.in_force < self.wanted.borrow().number || now.saturating_sub(state.in_force_since) < SETTLE
    }
}

impl fmt::Debug for BalancerFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files: Vec<PathBuf> = self.entries().by_file.keys().cloned().collect();
        f.debug_struct("BalancerFiles").field("files", &files).finish()
    }
}

impl BalancerFiles {
    /// Without a file yet; the tasks will run on `runtime`.
    pub fn new(runtime: Handle, notify: Notify) -> Self {
        let shared = Shared { runtime, tasks: TaskTracker::new(), notify, entries: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Sets the replicas of a service in these external balancers, and removes them from all others.
    ///
    /// A file that is no longer named is kept without servers, because a configuration may include it. `is_settled` says whether all
    /// replicas have been probed. Returns at once.
    pub fn set(&self, service: &ServiceName, externals: &[External], upstream: &Upstream, is_settled: bool) {
        let entries = &mut *self.entries();
        if entries.is_closed {
            return;
        }
        let now = os::since_boot();
        // Its reconciler ends with it. It does not end by itself: the file may be declared again while its servers are being removed.
        entries.by_file.retain(|_, entry| !entry.is_emptied() || entry.is_settling(now));
        for (file, entry) in &mut entries.by_file {
            let is_named = externals.iter().any(|external| Path::new(&external.file) == file.as_path());
            if entry.is_of(service) && !is_named {
                remove_servers(entry, EndWhen::Applied);
            }
        }
        for external in externals {
            let name = external.name_for(service);
            let upstream = Upstream { name: name.to_owned(), ..upstream.clone() };
            let serves =
                |it: &&Server| it.ordinal.is_some() && matches!(it.state, ServerState::Serving { .. });
            let wanted = Desired {
                service: service.clone(),
                external: Arc::new(external.clone()),
                text: render(external.format, &upstream).into(),
                serving: upstream.servers.iter().filter(serves).count(),
                number: 1,
                is_settled,
                ends: EndWhen::Never,
            };
            self.set_desired(entries, wanted);
        }
    }

    /// The state of the files of a service, in the order of their paths.
    pub fn state(&self, service: &ServiceName) -> Vec<BalancerFile> {
        let entries = self.entries();
        let of_service = entries
            .by_file
            .values()
            .filter(|entry| entry.is_of(service) && entry.wanted.borrow().ends == EndWhen::Never);
        let files = of_service.map(|entry| {
            let (wanted, state) = (entry.wanted.borrow(), entry.state.borrow().clone());
            let is_current = state.in_force >= wanted.number;
            BalancerFile { external: Arc::clone(&wanted.external), state, is_current }
        });
        files.collect()
    }

    /// Waits until the balancers of a service have applied the content that is desired now.
    pub fn applied(&self, service: &ServiceName) -> Applied {
        let entries = self.entries();
        let of_service = entries.by_file.values().filter(|entry| entry.is_of(service));
        Applied(of_service.map(|entry| (entry.state.clone(), entry.wanted.borrow().number)).collect())
    }

    /// Whether a balancer of a service may still use its earlier configuration; `None` when the service has no balancer.
    pub fn is_settling(&self, service: &ServiceName) -> Option<bool> {
        let now = os::since_boot();
        let entries = self.entries();
        let of_service = entries.by_file.values().filter(|entry| entry.is_of(service));
        of_service.map(|entry| entry.is_settling(now)).reduce(|a, b| a || b)
    }

    /// Removes the servers from all files, and waits until their balancers have applied that, for at most `limit`. A balancer that has not
    /// applied it at the second attempt is assumed to have ended before.
    ///
    /// Call it before the replicas are stopped: another program may get their ports.
    pub async fn close(&self, limit: Duration) {
        {
            let entries = &mut *self.entries();
            entries.is_closed = true;
            // A file that is no longer declared may have been deleted since, and is not written again.
            entries.by_file.retain(|_, entry| !entry.is_emptied());
            entries.by_file.values_mut().for_each(|entry| remove_servers(entry, EndWhen::Attempted));
        }
        self.shared.tasks.close();
        if tokio::time::timeout(limit, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!("balancers_not_emptied");
        }
    }

    fn set_desired(&self, entries: &mut Entries, new: Desired) {
        let file = PathBuf::from(&new.external.file);
        let known = entries.by_file.get(&file).filter(|entry| !entry.wanted.is_closed());
        if let Some(entry) = known {
            entry.wanted.send_if_modified(|wanted| change(wanted, new));
            return;
        }
        let (wanted, receiver) = watch::channel(new);
        let (sender, state) = watch::channel(FileState::default());
        let reconciler = FileReconciler {
            file: TargetFile::new(&file),
            wanted: receiver,
            state: sender,
            notify: Arc::clone(&self.shared.notify),
        };
        self.shared.tasks.spawn_on(reconciler.run(), &self.shared.runtime);
        entries.by_file.insert(file, Entry { wanted, state });
    }

    /// Locks the entries. They are consistent after every change, so a poisoned lock does no harm.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.shared.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Replaces the desired content, under the next number if the file has to change; returns whether anything differs.
fn change(wanted: &mut Desired, mut new: Desired) -> bool {
    let is_same_text = wanted.text == new.text;
    let is_same = is_same_text
        && (&wanted.service, &wanted.external, wanted.is_settled, wanted.ends)
            == (&new.service, &new.external, new.is_settled, new.ends);
    // Other differences take effect with the next text.
    new.number = wanted.number + u64::from(!is_same_text || wanted.external != new.external);
    *wanted = new;
    !is_same
}

/// Removes the servers from a file, after which its reconciler may end.
fn remove_servers(entry: &mut Entry, ends: EndWhen) {
    entry.wanted.send_if_modified(|wanted| {
        let before = wanted.ends;
        wanted.ends = ends.max(before);
        if before != EndWhen::Never {
            return wanted.ends != before;
        }
        let none = Upstream {
            service: wanted.service.to_string(),
            name: wanted.external.name_for(&wanted.service).to_owned(),
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

/// Waits until balancers have applied what was desired at one moment.
#[derive(Debug)]
pub struct Applied(Vec<(watch::Receiver<FileState>, u64)>);

impl Applied {
    /// Whether they have applied it.
    pub fn is_now(&self) -> bool {
        self.0.iter().all(|(state, number)| state.borrow().in_force >= *number)
    }

    /// Ends when they have applied it, or their reconcilers have ended.
    pub async fn wait(self) {
        for (mut state, number) in self.0 {
            // A reconciler that has ended applies no more.
            let _ = state.wait_for(|state| state.in_force >= number).await;
        }
    }
}
