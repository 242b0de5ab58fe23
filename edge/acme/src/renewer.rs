//! The tasks that order and renew certificates, one for each certificate.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::resource::Acme;
use model::time::Wall;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::failure::{Failure, hosts};
use crate::files::Subject;
use crate::issue::{PublishProof, issue, validity};
use crate::schedule;

/// The longest wait before the wall clock is read again: it may be set, and machines are suspended.
const CLOCK_CHECK_INTERVAL: Duration = Duration::from_secs(600);

/// The state of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuanceStatus {
    /// It was ordered, and no attempt has failed since.
    Ordered,
    /// It was issued, and is in its file.
    Issued {
        /// When it will be renewed.
        renewal: Wall,
    },
    /// The last attempt has failed.
    Failed {
        /// Why, as a sentence without its full stop.
        why: Arc<str>,
        /// When the next attempt is.
        retry_at: Wall,
    },
}

/// Orders certificates and renews them; cheap to clone.
#[derive(Clone)]
pub struct Renewer {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    runtime: Handle,
    tasks: TaskTracker,
    publish: PublishProof,
    /// One order at a time: two for the same host would publish each other's proofs.
    order_permit: Semaphore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By the owner that declares them.
    wanted: BTreeMap<String, Vec<Acme>>,
    running: BTreeMap<Subject, Running>,
    is_closed: bool,
}

struct Running {
    acme: Acme,
    status: watch::Receiver<IssuanceStatus>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl fmt::Debug for Renewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewer").field("folder", &self.inner.folder).finish_non_exhaustive()
    }
}

impl Renewer {
    /// Without a certificate yet. `folder` is created with the first order; the tasks will run on `runtime`.
    pub fn new(folder: PathBuf, runtime: Handle, publish: PublishProof) -> Self {
        let (tasks, order_permit) = (TaskTracker::new(), Semaphore::new(1));
        let inner = Inner { folder, runtime, tasks, publish, order_permit, state: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Sets the certificates of `owner`, in place of the previous ones. Files are not removed. Returns at once.
    pub fn set(&self, owner: &str, wanted: &[Acme]) {
        let state = &mut *self.state();
        let before = state.wanted.get(owner).map_or(&[][..], Vec::as_slice);
        if state.is_closed || before == wanted {
            return;
        }
        if wanted.is_empty() {
            state.wanted.remove(owner);
        } else {
            state.wanted.insert(owner.to_owned(), wanted.to_vec());
        }
        self.reconcile(state);
    }

    /// The file with key and chain in PEM, which exists once the certificate was issued.
    pub fn file(&self, acme: &Acme) -> PathBuf {
        Subject::of(acme).file(&self.inner.folder)
    }

    /// The state of a certificate; `None` for one that no owner declares.
    pub fn status(&self, acme: &Acme) -> Option<IssuanceStatus> {
        Some(self.state().running.get(&Subject::of(acme))?.status.borrow().clone())
    }

    /// Ends all tasks, even in the middle of an order.
    pub async fn close(&self) {
        {
            let state = &mut *self.state();
            state.is_closed = true;
            state.running.values().for_each(|running| running.stop.cancel());
        }
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Starts and stops tasks so that each wanted certificate has one, as its first owner declares it.
    fn reconcile(&self, state: &mut State) {
        let mut wanted: BTreeMap<Subject, &Acme> = BTreeMap::new();
        for acme in state.wanted.values().flatten() {
            wanted.entry(Subject::of(acme)).or_insert(acme);
        }
        state.running.retain(|subject, running| {
            let stays = wanted.contains_key(subject);
            if !stays {
                running.stop.cancel();
            }
            stays
        });
        for (subject, acme) in wanted {
            let before = match state.running.remove(&subject) {
                Some(running) if running.acme == *acme => {
                    state.running.insert(subject, running);
                    continue;
                }
                before => before,
            };
            let running = self.run(&subject, acme, before);
            state.running.insert(subject, running);
        }
    }

    fn run(&self, subject: &Subject, acme: &Acme, before: Option<Running>) -> Running {
        let (sender, status) = watch::channel(IssuanceStatus::Ordered);
        let stop = CancellationToken::new();
        let task = Task {
            inner: Arc::clone(&self.inner),
            file: subject.file(&self.inner.folder),
            acme: acme.clone(),
            status: sender,
        };
        let ends = stop.clone();
        let body = async move {
            if let Some(before) = before {
                before.stop.cancel();
                // A task that panicked has ended as well.
                let _ = before.task.await;
            }
            // Every step may be cancelled: files are written atomically, and an order can be made again.
            ends.run_until_cancelled(task.run()).await;
        };
        let task = self.inner.tasks.spawn_on(body, &self.inner.runtime);
        Running { acme: acme.clone(), status, stop, task }
    }

    /// Locks the state. It is consistent after every change, so a poisoned lock does no harm.
    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task of one certificate.
struct Task {
    inner: Arc<Inner>,
    file: PathBuf,
    acme: Acme,
    status: watch::Sender<IssuanceStatus>,
}

impl Task {
    async fn run(self) {
        loop {
            if let Some(renewal) = self.renewal() {
                self.status.send_replace(IssuanceStatus::Issued { renewal });
                until(renewal).await;
            }
            let mut failures = 0;
            while let Err(error) = self.renew().await {
                failures += 1;
                self.wait(failures, &error).await;
            }
        }
    }

    /// When the certificate in the file is to be renewed; `None` when there is no usable one.
    fn renewal(&self) -> Option<Wall> {
        let kept = std::fs::read(&self.file).ok()?;
        let before = self.acme.renew_before.map(Into::into);
        validity(&kept).ok().map(|validity| schedule::renewal(validity, before))
    }

    /// Orders a certificate. Fails for one that is due for renewal already: without a pause, it would be ordered again and again.
    async fn renew(&self) -> Result<(), Failure> {
        let folder = &self.inner.folder;
        os::create_secret_folder(folder)
            .map_err(|error| Failure::Write { file: folder.clone(), why: error.source.to_string() })?;
        let _permit = self.inner.order_permit.acquire().await.expect("it is never closed");
        let issued = issue(folder, &self.acme, &self.inner.publish).await?;
        os::write_secret(&self.file, issued.as_bytes())
            .map_err(|error| Failure::Write { file: self.file.clone(), why: error.source.to_string() })?;
        tracing::info!(
            hosts = hosts(&self.acme.hosts),
            directory = self.acme.directory.as_str(),
            "certificate_issued"
        );
        match self.renewal() {
            Some(renewal) if renewal > os::wall() => Ok(()),
            Some(_) | None => Err(Failure::DueAtOnce { directory: self.acme.directory.to_string() }),
        }
    }

    async fn wait(&self, failures: u32, error: &Failure) {
        // Without randomness from the kernel there is no jitter.
        let pause = schedule::retry_delay(failures, os::seed().unwrap_or_default());
        let retry_at = Wall::from_millis(os::wall().as_millis() + pause.as_millis() as u64);
        tracing::warn!(
            hosts = hosts(&self.acme.hosts),
            error = %error,
            again_in = ?pause,
            "certificate_not_issued"
        );
        self.status.send_replace(IssuanceStatus::Failed { why: error.to_string().into(), retry_at });
        tokio::time::sleep(pause).await;
    }
}

/// Waits for a time of the wall clock.
async fn until(time: Wall) {
    loop {
        let left = Duration::from_millis(time.as_millis().saturating_sub(os::wall().as_millis()));
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(CLOCK_CHECK_INTERVAL)).await;
    }
}
