//! [`Platform`] over processes: each operation starts here, in a task of the driver.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use model::action::Outcome;
use model::identity::{Epoch, ReplicaId};
use model::input::Usage;
use os::{FileLock, LockError};
use platform::{
    AllotRequest, Capabilities, Event, Life, LogError, LogLines, ObserveError, Platform, RunEnd, RunError,
    RunRequest, StartRequest, Started, StopRequest, Support,
};
use tokio::sync::broadcast;

use crate::cgroup::{Cgroups, detect};
use crate::driver::{Driver, Parts};
use crate::epoch_fence::EpochFence;
use crate::folder_claim::{ClaimError, FolderClaim};
use crate::process_table::UnrecordedReplica;
use crate::record::{ReadError, Records};
use crate::settings::{CgroupUse, Settings};
use crate::{adopt, exec, log, process_table, resize, starting, stopping, usage};

/// How often a closing driver tries to remove the control groups when all replicas have ended: for half a second. The next driver removes
/// what is left.
const CELL_REMOVALS_MAX: u32 = 50;

/// The pause between two such attempts.
const CELL_REMOVAL_PAUSE: Duration = Duration::from_millis(10);

/// Runs replicas as processes of this machine.
///
/// When it is dropped or killed, all replicas continue; the next one that is opened on the same data folder adopts them.
#[derive(Debug)]
pub struct ProcessPlatform {
    driver: Arc<Driver>,
    unrecorded: Vec<UnrecordedReplica>,
}

/// The driver could not be opened; nothing was started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another driver uses this folder.
    #[error("the data folder {data} is in use by {holder}; stop that process, or use another data folder")]
    InUse {
        /// The data folder.
        data: PathBuf,
        /// The process that uses it.
        holder: String,
    },
    /// The folder is a copy: another process has the replicas that are recorded in it.
    #[error(
        "the replicas that {data} records are run by another homeostat{}: the folder is a copy of that one's; stop that process, or remove {data}/replicas to \
         use the copy beside it", holder.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    RunElsewhere {
        /// The data folder.
        data: PathBuf,
        /// The process that runs them; `None` if it is not known.
        holder: Option<u32>,
    },
    /// The data folder cannot be used.
    #[error("the data folder {data} cannot be used for replicas; check its permissions and its disk")]
    Folder {
        /// The data folder.
        data: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// A record cannot be read, so a replica might be started twice.
    #[error("the records of replicas in {data} cannot be read: {why}")]
    Records {
        /// The data folder.
        data: PathBuf,
        /// What failed, on which file.
        why: String,
    },
}

impl ProcessPlatform {
    /// Opens the driver on its data folder and adopts the replicas that run. Must be called within a tokio runtime.
    pub fn open(settings: Settings) -> Result<Self, OpenError> {
        let data = settings.data().to_owned();
        let folder_error = |source| OpenError::Folder { data: data.clone(), source };
        let records = Records::open(settings.records()).map_err(folder_error)?;
        // Replicas may print secrets. An existing folder keeps its mode, which may have been changed on purpose.
        DirBuilder::new().recursive(true).mode(0o700).create(settings.logs()).map_err(folder_error)?;
        let lock = FileLock::take(&records.lock_path()).map_err(|error| match error {
            LockError::Held { holder, .. } => OpenError::InUse { data: data.clone(), holder },
            LockError::Unusable { source, .. } => folder_error(source),
        })?;
        let canonical = data.canonicalize().map_err(folder_error)?;
        let cgroups = match settings.cgroups {
            CgroupUse::WherePermitted => detect(&scope(&canonical)),
            CgroupUse::Never => {
                Cgroups::none("replicas run without control groups, because the settings disable them")
            }
        };
        let fence = EpochFence::open(records.epoch_path()).map_err(folder_error)?;
        let boot = process_table::boot_id().map_err(folder_error)?;
        let records_error = |error: ReadError| OpenError::Records {
            data: data.clone(),
            why: match &error {
                ReadError::Unreadable { source, .. } | ReadError::Processes(source) => {
                    format!("{error} ({source})")
                }
                ReadError::Newer { .. } => error.to_string(),
            },
        };
        let has_running = adopt::has_running(&records, &boot).map_err(records_error)?;
        let claim = FolderClaim::take(&records.id_path(), has_running).map_err(|error| match error {
            ClaimError::Held { holder } => OpenError::RunElsewhere { data: data.clone(), holder },
            ClaimError::Unusable(source) => folder_error(source),
        })?;
        let driver = Arc::new(Driver::new(Parts { settings, boot, records, fence, cgroups, claim, lock }));
        let mut platform = Self { driver, unrecorded: Vec::new() };
        platform.unrecorded = adopt::adopt_all(&platform.driver).map_err(records_error)?;
        platform.driver.create_spares_later();
        platform.driver.sweep_later();
        log::keep_within_limits(&platform.driver);
        Ok(platform)
    }

    /// The latest epoch of which an action was accepted: those of earlier ones are refused. 0 before the first one.
    pub fn epoch(&self) -> Epoch {
        self.driver.fence.highest()
    }

    /// The replicas that ran when this driver was opened, were started from its data folder, and are in none of its records, as after an older
    /// backup of the folder was restored. They are neither adopted nor stopped.
    pub fn unrecorded(&self) -> &[UnrecordedReplica] {
        &self.unrecorded
    }

    /// Ends all tasks of the driver and waits for them; the replicas continue. Another driver may be opened afterwards.
    pub async fn close(self) {
        let driver = self.driver.clone();
        drop(self);
        driver.tasks.wait().await;
        // A process that was killed a moment ago may still be in its control group.
        for _ in 0..CELL_REMOVALS_MAX {
            let any_running = driver.tracked_lives().iter().any(|tracked| !tracked.has_ended());
            if any_running || driver.cgroups.remove_all_cells() {
                return;
            }
            tokio::time::sleep(CELL_REMOVAL_PAUSE).await;
        }
    }
}

impl Drop for ProcessPlatform {
    fn drop(&mut self) {
        self.driver.closed.cancel();
        self.driver.tasks.close();
    }
}

impl Platform for ProcessPlatform {
    fn start(&self, request: StartRequest) -> BoxFuture<'_, Started> {
        // In a task of its own: a caller that gives up must not leave a partial start.
        let driver = self.driver.clone();
        let task = self.driver.tasks.spawn(async move {
            let place = driver.place(&request.replica);
            let guard = place.action_lock.clone().lock_owned().await;
            let _permit = driver.starts.acquire().await;
            let starting = driver.clone();
            let started = driver.tasks.spawn_blocking(move || {
                let started = starting::start(&starting, &place, &request);
                drop(guard);
                started
            });
            started.await
        });
        async move {
            match task.await {
                Ok(Ok(started)) => started,
                // The runtime is shutting down, or the start has panicked.
                Ok(Err(_)) | Err(_) => Started { outcome: Outcome::Unknown, life: None },
            }
        }
        .boxed()
    }

    fn stop(&self, request: StopRequest) -> BoxFuture<'_, Outcome> {
        stopping::stop(&self.driver, request).boxed()
    }

    fn allot(&self, request: AllotRequest) -> BoxFuture<'_, Outcome> {
        let driver = self.driver.clone();
        let task = self.driver.tasks.spawn(async move {
            let place = driver.known_place(&request.replica);
            let guard = match &place {
                Some(place) => Some(place.action_lock.clone().lock_owned().await),
                None => None,
            };
            let last = place.and_then(|place| place.last());
            let tasks = driver.tasks.clone();
            let allotted = tasks.spawn_blocking(move || {
                let outcome = resize::allot(&driver, last.as_ref(), &request);
                drop(guard);
                outcome
            });
            allotted.await
        });
        // Unknown for the same reasons as a start.
        async move { task.await.map_or(Outcome::Unknown, |ended| ended.unwrap_or(Outcome::Unknown)) }.boxed()
    }

    fn inventory(&self) -> BoxFuture<'_, Result<Vec<Life>, ObserveError>> {
        async { Ok(self.driver.inventory()) }.boxed()
    }

    fn usage(&self) -> BoxFuture<'_, Result<Vec<Usage>, ObserveError>> {
        let driver = self.driver.clone();
        let reading = self.driver.tasks.spawn_blocking(move || usage::usage(&driver));
        async move {
            let read = reading.await.map_err(|error| ObserveError { why: error.to_string().into() })?;
            read.map_err(|error| ObserveError { why: format!("/proc could not be read ({error})").into() })
        }
        .boxed()
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.driver.events.subscribe()
    }

    fn capabilities(&self) -> Capabilities {
        let users = if rustix::process::geteuid().is_root() {
            Support::Full
        } else {
            Support::Degraded("run.user can only name the user that runs Homeostat: run it as root".into())
        };
        let cgroups = &self.driver.cgroups;
        Capabilities {
            cpu: cgroups.cpu.clone(),
            memory: cgroups.memory.clone(),
            containment: cgroups.containment.clone(),
            users,
        }
    }

    fn run_beside(&self, request: RunRequest) -> BoxFuture<'_, Result<RunEnd, RunError>> {
        exec::run(&self.driver, request).boxed()
    }

    fn logs(
        &self,
        replica: &ReplicaId,
        last_lines: usize,
    ) -> BoxFuture<'_, Result<Box<dyn LogLines>, LogError>> {
        let (folder, replica) = (self.driver.settings.logs(), replica.clone());
        let opening = self.driver.tasks.spawn_blocking(move || log::read(&folder, &replica, last_lines));
        async move {
            match opening.await {
                Ok(opened) => opened,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        .boxed()
    }
}

/// A name for the control groups of one data folder, so that two drivers never use the same ones.
fn scope(data: &std::path::Path) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(data.as_os_str().as_encoded_bytes()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::identity::{ActionId, Epoch, Generation, Incarnation, Ordinal};
    use model::input::Declared;
    use model::name::ServiceName;

    use super::*;

    /// A request to start a program that does not exist.
    fn missing_program(sequence: u64) -> StartRequest {
        let name = ServiceName::parse(&format!("shop-{sequence}")).unwrap();
        let spec = serde_json::json!({"run": {"command": ["/no/such/program"]}});
        let spec = serde_json::from_value(spec).unwrap();
        let (revision, generation, autoscaler) = (Generation(1), Generation(1), None);
        StartRequest {
            action: ActionId { epoch: Epoch(1), sequence },
            replica: ReplicaId { service: name.clone(), ordinal: Ordinal(0) },
            incarnation: Incarnation(1),
            declared: Arc::new(Declared { name, revision, generation, spec, autoscaler }),
        }
    }

    #[tokio::test]
    async fn a_place_whose_start_failed_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { cgroups: CgroupUse::Never, ..Settings::new(folder.path(), folder.path()) };
        let platform = ProcessPlatform::open(settings).unwrap();
        for sequence in 1..=3 {
            let started = platform.start(missing_program(sequence)).await;
            assert!(matches!(started.outcome, Outcome::Failed(_)), "{started:?}");
        }
        assert_eq!(platform.inventory().await.unwrap(), []);
        let known = (1..=3).filter(|n| platform.driver.known_place(&missing_program(*n).replica).is_some());
        assert_eq!(known.count(), 0);
        platform.close().await;
    }
}
