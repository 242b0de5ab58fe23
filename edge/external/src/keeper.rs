//! The task that keeps one file, and its balancer, as wanted.

use std::sync::Arc;
use std::time::Duration;

use model::name::ServiceName;
use model::resource::{CANDIDATE, External};
use model::time::Wall;
use tokio::sync::watch;

use crate::command::{self, RunError};
use crate::file::{Place, PlaceError};
use crate::keepers::{Notice, Tell};
use crate::pace::Pace;

/// How long a file of an earlier run is left as it is while not all replicas have been probed yet: the balancer has gone on by
/// itself, and must not lose its replicas because Homeostat has started.
///
/// 30 s: a replica that takes longer to answer a probe is not well.
const BEGIN_MAX: Duration = Duration::from_secs(30);

/// How often a balancer is reloaded at the shutdown, at most: twice, because a reload may fail while another is under way.
const LAST_TRIES: u32 = 2;

/// The pause between these.
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// What a file should have.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) service: ServiceName,
    pub(crate) external: Arc<External>,
    pub(crate) text: Arc<str>,
    /// Replicas that may get requests.
    pub(crate) serving: usize,
    /// Grows with each change.
    pub(crate) number: u64,
    /// Whether it is known of all replicas if they can serve.
    pub(crate) is_settled: bool,
    pub(crate) ends: Ends,
}

/// When a keeper ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ends {
    /// Not yet: more may be wanted.
    Not,
    /// Once the balancer has taken this.
    Taken,
    /// Once it was asked to take this: at the shutdown, which must not wait for a balancer that has ended before.
    Asked,
}

/// A file and its state.
#[derive(Clone, Debug)]
pub struct Kept {
    /// How it was declared.
    pub external: Arc<External>,
    /// Its state.
    pub state: FileState,
    /// Whether the balancer has what is wanted now.
    pub is_current: bool,
}

/// The state of a balancer's file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileState {
    /// When it was last written; `None` while this run has not.
    pub written_at: Option<Wall>,
    /// When the balancer last took it; `None` while it has not in this run.
    pub reloaded_at: Option<Wall>,
    /// Replicas that may get requests in what the balancer took last.
    pub serving: usize,
    /// Why the balancer does not have what it should.
    pub trouble: Option<Trouble>,
    /// How often the balancer took it.
    pub reloads: u64,
    /// How often it could not be written, was refused, or was not taken.
    pub failures: u64,
    /// The number of what the balancer has.
    pub(crate) in_force: u64,
    /// Since when the balancer has it, since the boot of the machine.
    pub(crate) in_force_since: Duration,
}

/// Why a balancer does not have what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Since when it does not.
    pub since: Wall,
    /// What was attempted last, and why it failed.
    pub sentence: Arc<str>,
}

/// Why a balancer does not have what it should.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error("{format} would not take {path} as it is to be, and what it was stays in force: {source}")]
    Check { format: String, path: String, source: RunError },
    #[error("could not reload {format} after {path} was written: {source}")]
    Reload { format: String, path: String, source: RunError },
    #[error("could not write {path}: the task that was to do so has failed")]
    Broken { path: String },
}

/// How a file was brought up to date.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Brought {
    /// The balancer had it already.
    AsItWas,
    /// The balancer has taken it.
    Taken,
}

/// Keeps one file until what is wanted is the last, and the balancer has it.
pub(crate) struct Keeper {
    pub(crate) place: Place,
    pub(crate) wanted: watch::Receiver<Wanted>,
    pub(crate) state: watch::Sender<FileState>,
    pub(crate) tell: Tell,
}

impl Keeper {
    pub(crate) async fn run(mut self) {
        let begun = os::since_boot();
        let recovered = self.blocking(Place::recover).await;
        let is_of_before = recovered.is_ok() && self.place.is_there();
        let mut pace = Pace::new(Duration::ZERO);
        let mut seen = None;
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            if wanted.ends == Ends::Asked {
                return self.part(&wanted).await;
            }
            let is_last = wanted.ends == Ends::Taken;
            let now = os::since_boot();
            if seen != Some(wanted.number) {
                seen = Some(wanted.number);
                pace.every = wanted.external.every.into();
                pace.changed(now);
            }
            let is_held = is_of_before && !wanted.is_settled && !is_last && self.is_untried();
            let due = pace.due().map(|due| if is_held { due.max(begun + BEGIN_MAX) } else { due });
            match due {
                Some(due) if now >= due || is_last && self.is_behind(&wanted) => {
                    let result = self.bring(&wanted).await;
                    let is_done = result.is_ok();
                    if is_done {
                        pace.done(os::since_boot());
                    } else {
                        pace.failed(os::since_boot());
                    }
                    self.account(&wanted, result);
                    if is_done && is_last {
                        return;
                    }
                }
                due => {
                    let wait = due.map_or(Duration::MAX, |due| due - now);
                    // Both are cancel safe: a change is there until it is looked at.
                    tokio::select! {
                        changed = self.wanted.changed() => if changed.is_err() { return },
                        () = tokio::time::sleep(wait) => {}
                    }
                }
            }
        }
    }

    /// Brings the balancer to what is wanted at the shutdown, if it can be reloaded.
    async fn part(&self, wanted: &Wanted) {
        for nth in 0..LAST_TRIES {
            if nth > 0 {
                tokio::time::sleep(LAST_PAUSE).await;
            }
            let result = self.bring(wanted).await;
            let is_done = result.is_ok();
            self.account(wanted, result);
            if is_done {
                return;
            }
        }
    }

    /// Whether nothing was attempted yet in this run.
    fn is_untried(&self) -> bool {
        let state = self.state.borrow();
        state.reloads == 0 && state.failures == 0
    }

    /// Whether this was not attempted yet.
    fn is_behind(&self, wanted: &Wanted) -> bool {
        self.state.borrow().trouble.is_none() && self.state.borrow().in_force < wanted.number
    }

    /// Brings the file and the balancer to what is wanted.
    async fn bring(&self, wanted: &Wanted) -> Result<Brought, KeepError> {
        let text = Arc::clone(&wanted.text);
        let is_there = self.blocking(move |place| place.has(&text)).await?;
        let is_taken = self.state.borrow().trouble.is_none() && self.state.borrow().reloads > 0;
        if is_there && is_taken {
            return Ok(Brought::AsItWas);
        }
        if is_there {
            // It is of an earlier run, or was not taken when it was written: what the check says may have changed since.
            self.check(wanted, self.place.path().to_string_lossy().as_ref()).await?;
        } else {
            let text = Arc::clone(&wanted.text);
            self.blocking(move |place| place.propose(&text)).await?;
            if wanted.external.checks_aside() {
                self.check_aside(wanted).await?;
            } else {
                self.check_on(wanted).await?;
            }
            self.state.send_modify(|state| state.written_at = Some(os::wall()));
        }
        let reloaded =
            command::run(&wanted.external.reload, self.place.folder(), wanted.external.timeout.into());
        reloaded.await.map_err(|source| KeepError::Reload {
            format: wanted.external.format.to_string(),
            path: wanted.external.file.clone(),
            source,
        })?;
        Ok(Brought::Taken)
    }

    /// Checks the candidate where it lies, and replaces the file with it only then.
    async fn check_aside(&self, wanted: &Wanted) -> Result<(), KeepError> {
        let candidate = self.place.candidate();
        if let Err(refused) = self.check(wanted, candidate.to_string_lossy().as_ref()).await {
            self.blocking(|place| {
                place.reject();
                Ok(())
            })
            .await?;
            return Err(refused);
        }
        self.blocking(Place::accept).await
    }

    /// Replaces the file with the candidate, checks it there, and puts the file back when it is refused.
    async fn check_on(&self, wanted: &Wanted) -> Result<(), KeepError> {
        self.blocking(Place::try_on).await?;
        match self.check(wanted, self.place.path().to_string_lossy().as_ref()).await {
            Ok(()) => self.blocking(Place::keep).await,
            Err(refused) => {
                self.blocking(Place::put_back).await?;
                Err(refused)
            }
        }
    }

    async fn check(&self, wanted: &Wanted, candidate: &str) -> Result<(), KeepError> {
        let external = &wanted.external;
        let words: Vec<String> =
            external.check.iter().map(|word| word.replace(CANDIDATE, candidate)).collect();
        let checked = command::run(&words, self.place.folder(), external.timeout.into()).await;
        checked.map_err(|source| KeepError::Check {
            format: external.format.to_string(),
            path: external.file.clone(),
            source,
        })
    }

    /// Notes how it went, and tells people if that is news.
    fn account(&self, wanted: &Wanted, result: Result<Brought, KeepError>) {
        let (is_warning, message) = match result {
            Ok(brought) => {
                self.state.send_modify(|state| {
                    (state.in_force, state.serving, state.trouble) = (wanted.number, wanted.serving, None);
                    if brought == Brought::Taken {
                        state.reloads += 1;
                        (state.reloaded_at, state.in_force_since) = (Some(os::wall()), os::since_boot());
                    }
                });
                if brought == Brought::AsItWas {
                    return;
                }
                let (format, file) = (wanted.external.format, &wanted.external.file);
                (false, format!("{format} has taken {file} with {}", replicas(wanted.serving)))
            }
            Err(error) => {
                let sentence: Arc<str> = error.to_string().into();
                let old = self.state.borrow().trouble.clone();
                let since = old.as_ref().map_or_else(os::wall, |trouble| trouble.since);
                let is_known = old.is_some_and(|trouble| trouble.sentence == sentence);
                let trouble = Some(Trouble { since, sentence: Arc::clone(&sentence) });
                self.state.send_modify(|state| {
                    state.failures += 1;
                    state.trouble = trouble;
                });
                if is_known {
                    return;
                }
                (true, sentence.to_string())
            }
        };
        (self.tell)(Notice { service: wanted.service.clone(), is_warning, message });
    }

    /// Works on the file in a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Place) -> Result<T, PlaceError> + Send + 'static,
    ) -> Result<T, KeepError> {
        let place = self.place.clone();
        let done = tokio::task::spawn_blocking(move || work(&place)).await;
        let broken = |_| KeepError::Broken { path: self.place.path().display().to_string() };
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
