//! The task that reconciles one file, and its balancer, with the desired servers.

use std::sync::Arc;
use std::time::Duration;

use model::name::ServiceName;
use model::resource::{CANDIDATE, External};
use model::time::Wall;
use tokio::sync::watch;

use crate::command::{self, RunError};
use crate::file::{FileError, TargetFile};
use crate::notice::{Notice, Notify};
use crate::pace::Pace;

/// How long a file of an earlier run is kept unchanged while not all replicas have been probed yet: the balancer has continued by
/// itself, and must not lose its replicas because Homeostat has started.
///
/// 30 s: a replica that takes longer to answer a probe is not healthy.
const PROBES_WAIT_MAX: Duration = Duration::from_secs(30);

/// Attempts to reload a balancer at shutdown: two, because a reload may fail while another is in progress.
const SHUTDOWN_ATTEMPTS: u32 = 2;

/// The pause between them.
const SHUTDOWN_PAUSE: Duration = Duration::from_millis(500);

/// The desired content of a file.
#[derive(Clone, Debug)]
pub(crate) struct Desired {
    pub(crate) service: ServiceName,
    pub(crate) external: Arc<External>,
    pub(crate) text: Arc<str>,
    /// Replicas that may get requests.
    pub(crate) serving: usize,
    /// Grows with each change.
    pub(crate) number: u64,
    /// Whether all replicas have been probed.
    pub(crate) is_settled: bool,
    pub(crate) ends: EndWhen,
}

/// When a reconciler ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EndWhen {
    /// Not yet: more changes may come.
    Never,
    /// When its entry is removed, once the balancer has applied this.
    Applied,
    /// Once this was attempted: at shutdown, which must not wait for a balancer that has ended before.
    Attempted,
}

/// A file and its state.
#[derive(Clone, Debug)]
pub struct BalancerFile {
    /// Its declaration.
    pub external: Arc<External>,
    /// Its state.
    pub state: FileState,
    /// Whether the balancer has applied the desired content.
    pub is_current: bool,
}

/// The state of a balancer's file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileState {
    /// When this run has last written it.
    pub written_at: Option<Wall>,
    /// When the balancer has last applied it in this run.
    pub reloaded_at: Option<Wall>,
    /// Replicas that may get requests in the applied content.
    pub serving: usize,
    /// Why the balancer has not applied the desired content.
    pub problem: Option<Problem>,
    /// How often the balancer has applied it.
    pub reloads: u64,
    /// How often it could not be written, was refused by the check, or could not be reloaded.
    pub failures: u64,
    /// The number of the applied content.
    pub(crate) in_force: u64,
    /// When it was applied, since the boot of the machine.
    pub(crate) in_force_since: Duration,
}

/// Why a balancer has not applied the desired content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Since when.
    pub since: Wall,
    /// What was attempted last, and why it failed.
    pub sentence: Arc<str>,
}

/// Why a balancer has not applied the desired content.
#[derive(Debug, thiserror::Error)]
enum UpdateError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{format} refused the new content of {path}, and the previous one stays in force: {source}")]
    Check { format: String, path: String, source: RunError },
    #[error("could not reload {format} after {path} was written: {source}")]
    Reload { format: String, path: String, source: RunError },
    #[error("could not write {path}: the writing task has panicked")]
    Broken { path: String },
}

/// How a file was updated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Update {
    /// The balancer had applied it already.
    Unchanged,
    /// The balancer has applied it.
    Reloaded,
}

/// Reconciles one file until it ends.
pub(crate) struct FileReconciler {
    pub(crate) file: TargetFile,
    pub(crate) wanted: watch::Receiver<Desired>,
    pub(crate) state: watch::Sender<FileState>,
    pub(crate) notify: Notify,
}

impl FileReconciler {
    pub(crate) async fn run(mut self) {
        let begun = os::since_boot();
        let recovered = self.blocking(TargetFile::recover).await;
        let is_from_earlier_run = recovered.is_ok() && self.file.is_there();
        let mut pace = Pace::new(Duration::ZERO);
        let mut seen = None;
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            if wanted.ends == EndWhen::Attempted {
                return self.shut_down(&wanted).await;
            }
            let is_last = wanted.ends == EndWhen::Applied;
            let now = os::since_boot();
            if seen != Some(wanted.number) {
                seen = Some(wanted.number);
                pace.every = wanted.external.every.into();
                pace.changed(now);
            }
            let is_held = is_from_earlier_run && !wanted.is_settled && !is_last && self.is_untried();
            let due = pace.due().map(|due| if is_held { due.max(begun + PROBES_WAIT_MAX) } else { due });
            match due {
                Some(due) if now >= due || is_last && self.is_behind(&wanted) => {
                    let result = self.update(&wanted).await;
                    if result.is_ok() {
                        pace.done(os::since_boot());
                    } else {
                        pace.failed(os::since_boot());
                    }
                    self.record(&wanted, result);
                }
                due => {
                    let wait = due.map_or(Duration::MAX, |due| due - now);
                    // Both are cancel safe: a change stays marked until it is read.
                    tokio::select! {
                        changed = self.wanted.changed() => if changed.is_err() { return },
                        () = tokio::time::sleep(wait) => {}
                    }
                }
            }
        }
    }

    /// Applies the desired content at the shutdown, if the balancer can be reloaded.
    async fn shut_down(&self, wanted: &Desired) {
        for nth in 0..SHUTDOWN_ATTEMPTS {
            if nth > 0 {
                tokio::time::sleep(SHUTDOWN_PAUSE).await;
            }
            let result = self.update(wanted).await;
            let is_done = result.is_ok();
            self.record(wanted, result);
            if is_done {
                return;
            }
        }
    }

    /// Whether nothing was attempted in this run.
    fn is_untried(&self) -> bool {
        let state = self.state.borrow();
        state.reloads == 0 && state.failures == 0
    }

    /// Whether this content was not attempted yet.
    fn is_behind(&self, wanted: &Desired) -> bool {
        self.state.borrow().problem.is_none() && self.state.borrow().in_force < wanted.number
    }

    /// Updates the file and the balancer to the desired content.
    async fn update(&self, wanted: &Desired) -> Result<Update, UpdateError> {
        let text = Arc::clone(&wanted.text);
        let is_there = self.blocking(move |file| file.has(&text)).await?;
        let was_applied = self.state.borrow().problem.is_none() && self.state.borrow().reloads > 0;
        if is_there && was_applied {
            return Ok(Update::Unchanged);
        }
        if is_there {
            // Written by an earlier run, or not applied when it was written: the result of the check may have changed since.
            self.check(wanted, self.file.path().to_string_lossy().as_ref()).await?;
            self.blocking(TargetFile::keep).await?;
        } else {
            let text = Arc::clone(&wanted.text);
            self.blocking(move |file| file.propose(&text)).await?;
            if wanted.external.checks_aside() {
                self.check_candidate(wanted).await?;
            } else {
                self.check_in_place(wanted).await?;
            }
            self.state.send_modify(|state| state.written_at = Some(os::wall()));
        }
        let reloaded =
            command::run(&wanted.external.reload, self.file.folder(), wanted.external.timeout.into());
        reloaded.await.map_err(|source| UpdateError::Reload {
            format: wanted.external.format.to_string(),
            path: wanted.external.file.clone(),
            source,
        })?;
        Ok(Update::Reloaded)
    }

    /// Checks the candidate under its own name, then replaces the file with it.
    async fn check_candidate(&self, wanted: &Desired) -> Result<(), UpdateError> {
        let candidate = self.file.candidate();
        if let Err(refused) = self.check(wanted, candidate.to_string_lossy().as_ref()).await {
            self.blocking(|file| {
                file.reject();
                Ok(())
            })
            .await?;
            return Err(refused);
        }
        self.blocking(TargetFile::accept).await
    }

    /// Replaces the file with the candidate, checks it there, and restores the file when it is refused.
    async fn check_in_place(&self, wanted: &Desired) -> Result<(), UpdateError> {
        self.blocking(TargetFile::install_provisionally).await?;
        match self.check(wanted, self.file.path().to_string_lossy().as_ref()).await {
            Ok(()) => self.blocking(TargetFile::keep).await,
            Err(refused) => {
                self.blocking(TargetFile::restore).await?;
                Err(refused)
            }
        }
    }

    async fn check(&self, wanted: &Desired, candidate: &str) -> Result<(), UpdateError> {
        let external = &wanted.external;
        let arguments: Vec<String> =
            external.check.iter().map(|argument| argument.replace(CANDIDATE, candidate)).collect();
        let checked = command::run(&arguments, self.file.folder(), external.timeout.into()).await;
        checked.map_err(|source| UpdateError::Check {
            format: external.format.to_string(),
            path: external.file.clone(),
            source,
        })
    }

    /// Records the result, and sends a notice if it has changed.
    fn record(&self, wanted: &Desired, result: Result<Update, UpdateError>) {
        let (is_warning, message) = match result {
            Ok(update) => {
                self.state.send_modify(|state| {
                    (state.in_force, state.serving, state.problem) = (wanted.number, wanted.serving, None);
                    if update == Update::Reloaded {
                        state.reloads += 1;
                        (state.reloaded_at, state.in_force_since) = (Some(os::wall()), os::since_boot());
                    }
                });
                if update == Update::Unchanged {
                    return;
                }
                let (format, file) = (wanted.external.format, &wanted.external.file);
                (false, format!("{format} has applied {file} with {}", replicas(wanted.serving)))
            }
            Err(error) => {
                let sentence: Arc<str> = error.to_string().into();
                let old = self.state.borrow().problem.clone();
                let since = old.as_ref().map_or_else(os::wall, |problem| problem.since);
                let is_known = old.is_some_and(|problem| problem.sentence == sentence);
                let problem = Some(Problem { since, sentence: Arc::clone(&sentence) });
                self.state.send_modify(|state| {
                    state.failures += 1;
                    state.problem = problem;
                });
                if is_known {
                    return;
                }
                (true, sentence.to_string())
            }
        };
        (self.notify)(Notice { service: wanted.service.clone(), is_warning, message });
    }

    /// Runs `work` on the file in a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&TargetFile) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, UpdateError> {
        let file = self.file.clone();
        let done = tokio::task::spawn_blocking(move || work(&file)).await;
        let broken = |_| UpdateError::Broken { path: self.file.path().display().to_string() };
        Ok(done.map_err(broken)??)
    }
}

fn replicas(count: usize) -> String {
    match count {
        0 => "no replica".to_owned(),
        1 => "1 replica".to_owned(),
        count => format!("{count} replicas"),
    }
}
