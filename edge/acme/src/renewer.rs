//! The tasks that keep certificates, one for each.

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
use crate::issue::{Show, issue, validity};
use crate::pace;
use crate::place::Subject;

/// The longest wait before the wall clock is read again: it may be set, and machines sleep.
const LOOK_AGAIN: Duration = Duration::from_secs(600);

/// The state of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was ordered, and nothing has failed since.
    Asked,
    /// It was issued, and is kept in its file.
    Kept {
        /// When it will be renewed.
        renewal: Wall,
    },
    /// The last attempt has failed.
    Failed {
        /// Why, as a sentence without its full stop.
        why: Arc<str>,
        /// When the next attempt is.
        again: Wall,
    },
}

/// Keeps certificates; cheap to clone.
#[derive(Clone)]
pub struct Keeper {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    runtime: Handle,
    tasks: TaskTracker,
    show: Show,
    /// One order at a time: two for the same host would show each other's proofs.
    turn: Semaphore,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    /// By the owner who wants them.
    wanted: BTreeMap<String, Vec<Acme>>,
    running: BTreeMap<Subject, Running>,
    is_closed: bool,
}

struct Running {
    acme: Acme,
    state: watch::Receiver<Standing>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("folder", &self.inner.folder).finish_non_exhaustive()
    }
}

impl Keeper {
    /// Without a certificate yet. `folder` is made with the first order; the tasks will run on `runtime`.
    pub fn new(folder: PathBuf, runtime: Handle, show: Show) -> Self {
        let (tasks, turn) = (TaskTracker::new(), Semaphore::new(1));
        let inner = Inner { folder, runtime, tasks, show, turn, shelf: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Keeps these certificates for `owner`, instead of those that it wanted before. Files stay where they are. Returns at once.
    pub fn set(&self, owner: &str, wanted: &[Acme]) {
        let shelf = &mut *self.shelf();
        let before = shelf.wanted.get(owner).map_or(&[][..], Vec::as_slice);
        if shelf.is_closed || before == wanted {
            return;
        }
        if wanted.is_empty() {
            shelf.wanted.remove(owner);
        } else {
            shelf.wanted.insert(owner.to_owned(), wanted.to_vec());
        }
        self.follow(shelf);
    }

    /// The file with key and chain in PEM, which is there once the certificate was issued.
    pub fn file(&self, acme: &Acme) -> PathBuf {
        Subject::of(acme).file(&self.inner.folder)
    }

    /// The state of a certificate; `None` for one that nobody wants.
    pub fn standing(&self, acme: &Acme) -> Option<Standing> {
        Some(self.shelf().running.get(&Subject::of(acme))?.state.borrow().clone())
    }

    /// Ends all tasks, even in the middle of an order.
    pub async fn close(&self) {
        {
            let shelf = &mut *self.shelf();
            shelf.is_closed = true;
            shelf.running.values().for_each(|running| running.stop.cancel());
        }
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Sees to it that each certificate that is wanted has a task, as its first owner declares it.
    fn follow(&self, shelf: &mut Shelf) {
        let mut wanted: BTreeMap<Subject, &Acme> = BTreeMap::new();
        for acme in shelf.wanted.values().flatten() {
            wanted.entry(Subject::of(acme)).or_insert(acme);
        }
        shelf.running.retain(|subject, running| {
            let stays = wanted.contains_key(subject);
            if !stays {
                running.stop.cancel();
            }
            stays
        });
        for (subject, acme) in wanted {
            let before = match shelf.running.remove(&subject) {
                Some(running) if running.acme == *acme => {
                    shelf.running.insert(subject, running);
                    continue;
                }
                before => before,
            };
            let running = self.run(&subject, acme, before);
            shelf.running.insert(subject, running);
        }
    }

    fn run(&self, subject: &Subject, acme: &Acme, before: Option<Running>) -> Running {
        let (sender, state) = watch::channel(Standing::Asked);
        let stop = CancellationToken::new();
        let task = Task {
            inner: Arc::clone(&self.inner),
            file: subject.file(&self.inner.folder),
            acme: acme.clone(),
            state: sender,
        };
        let ends = stop.clone();
        let body = async move {
            if let Some(before) = before {
                before.stop.cancel();
                // One that panicked is over as well.
                let _ = before.task.await;
            }
            // Every step may be broken off: files are written whole, and an order can be made again.
            ends.run_until_cancelled(task.keep()).await;
        };
        let task = self.inner.tasks.spawn_on(body, &self.inner.runtime);
        Running { acme: acme.clone(), state, stop, task }
    }

    /// Every change leaves it whole, so a panic while it was locked does no harm.
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.inner.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps one certificate.
struct Task {
    inner: Arc<Inner>,
    file: PathBuf,
    acme: Acme,
    state: watch::Sender<Standing>,
}

impl Task {
    async fn keep(self) {
        loop {
            if let Some(renewal) = self.renewal() {
                self.state.send_replace(Standing::Kept { renewal });
                until(renewal).await;
            }
            let mut failures = 0;
            while let Err(error) = self.renew().await {
                failures += 1;
                self.wait(failures, &error).await;
            }
        }
    }

    /// When the certificate in the file is to be renewed; `None` when there is none that can be used.
    fn renewal(&self) -> Option<Wall> {
        let kept = std::fs::read(&self.file).ok()?;
        let before = self.acme.renew_before.map(Into::into);
        validity(&kept).ok().map(|validity| pace::renewal(validity, before))
    }

    async fn renew(&self) -> Result<(), Failure> {
        let folder = &self.inner.folder;
        os::create_secret_folder(folder)
            .map_err(|error| Failure::Keep { file: folder.clone(), why: error.source.to_string() })?;
        let _turn = self.inner.turn.acquire().await.expect("it is never closed");
        let issued = issue(folder, &self.acme, &self.inner.show).await?;
        os::write_secret(&self.file, issued.as_bytes())
            .map_err(|error| Failure::Keep { file: self.file.clone(), why: error.source.to_string() })?;
        tracing::info!(
            hosts = hosts(&self.acme.hosts),
            directory = self.acme.directory.as_str(),
            "certificate_issued"
        );
        Ok(())
    }

    async fn wait(&self, failures: u32, error: &Failure) {
        // Without randomness from the kernel all wait equally long.
        let pause = pace::again(failures, os::seed().unwrap_or_default());
        let again = Wall::from_millis(os::wall().as_millis() + pause.as_millis() as u64);
        tracing::warn!(
            hosts = hosts(&self.acme.hosts),
            error = %error,
            again_in = ?pause,
            "certificate_not_issued"
        );
        self.state.send_replace(Standing::Failed { why: error.to_string().into(), again });
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
        tokio::time::sleep(left.min(LOOK_AGAIN)).await;
    }
}
