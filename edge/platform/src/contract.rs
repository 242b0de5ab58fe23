//! The contract of every driver.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use model::action::Outcome;
use model::identity::{ActionId, Incarnation, ReplicaId};
use model::input::{Declared, ExitStatus, Usage};
use model::resource::Resources;
use tokio::sync::broadcast;

use crate::life::Life;
use crate::logs::{LogError, LogLines};

/// Runs replicas somewhere.
///
/// **Operations** [`start`](Self::start), [`stop`](Self::stop), [`allot`](Self::allot), [`inventory`](Self::inventory),
/// [`usage`](Self::usage), [`events`](Self::events), [`run_beside`](Self::run_beside), [`logs`](Self::logs).
///
/// **Guarantees** An `Applied` outcome survives a restart of the driver, which finds all replicas again and stops none.
/// An action id is applied at most once. An action of an epoch older than one that was accepted is refused, even after a
/// restart. A place has at most one life at a time. The end of a life is sent as an event at once, and stays in the inventory
/// for at least a day, unless the place is filled again. No start is refused because of an ended life that is not in the inventory.
/// Dropping the driver stops no replica.
///
/// **Non-guarantees** No order between replicas. A receiver that lags loses events: it gets an error, and reads the inventory.
/// `Unknown` may mean done. How an adopted replica ended may be unknown.
///
/// **Failure and recovery** Any call may take long; callers time out and repeat the action with its id. A call whose future is
/// dropped continues by itself: the action may still be applied.
///
/// **Enforcement** `conformance::platform`.
pub trait Platform: fmt::Debug + Send + Sync {
    /// Runs a replica; `Applied` as soon as its program is executing.
    ///
    /// A repeated id, or a life that exists already, is `Applied` again with the same facts. An older life, or a newer
    /// one while the place is still occupied, is `Refused`.
    fn start(&self, request: StartRequest) -> BoxFuture<'_, Started>;

    /// Ends a replica and everything that it started; `Applied` once its process is gone, or if there never was one.
    ///
    /// By then [`events`](Self::events) has sent the end. A repeated stop waits for the same end; a shorter grace shortens the wait.
    /// `Unknown` when the kernel has not ended the process yet.
    fn stop(&self, request: StopRequest) -> BoxFuture<'_, Outcome>;

    /// Changes the resources of a running life, without a restart; `Applied` once they are in force.
    ///
    /// A resource that is not named keeps its limit. One that this machine does not limit ([`capabilities`](Self::capabilities)) is only
    /// recorded. An action that is older than the latest one for this life is `Applied` without effect. `Failed` has changed nothing: the kind
    /// is `Unsupported` when this life can never be changed, and another one when it uses more memory than the new limit, or the kernel
    /// refuses. `Refused` when the life does not exist, or has ended.
    fn allot(&self, request: AllotRequest) -> BoxFuture<'_, Outcome>;

    /// The last life of every place, running or ended, in the order of places.
    ///
    /// It lists every ended life that the driver compares with a start: a caller that knows no other history, because it has just begun,
    /// learns from it which numbers of lives are used.
    fn inventory(&self) -> BoxFuture<'_, Result<Vec<Life>, ObserveError>>;

    /// Processor time and memory of all running replicas; one that ends meanwhile is left out.
    fn usage(&self) -> BoxFuture<'_, Result<Vec<Usage>, ObserveError>>;

    /// The events from now on. A receiver that lags gets an error, and reads the inventory instead.
    fn events(&self) -> broadcast::Receiver<Event>;

    /// What this driver can and cannot do on this machine.
    fn capabilities(&self) -> Capabilities;

    /// Runs a program with the environment, user, folder and limits of a replica, and waits for its end.
    ///
    /// After the timeout, the program and everything that it started are killed. Its output is discarded.
    fn run_beside(&self, request: RunRequest) -> BoxFuture<'_, Result<RunEnd, RunError>>;

    /// The output of all lives of a place, from `last_lines` lines before its end; at most [`crate::TAIL_LINES_MAX`].
    fn logs(
        &self,
        replica: &ReplicaId,
        last_lines: usize,
    ) -> BoxFuture<'_, Result<Box<dyn LogLines>, LogError>>;
}

/// A request to start a life of a replica.
#[derive(Clone, Debug)]
pub struct StartRequest {
    /// The idempotency key, with the epoch.
    pub action: ActionId,
    /// The place to fill.
    pub replica: ReplicaId,
    /// The life that begins.
    pub incarnation: Incarnation,
    /// What to run.
    pub declared: Arc<Declared>,
}

/// How a start ended.
#[derive(Clone, Debug)]
pub struct Started {
    /// How it ended.
    pub outcome: Outcome,
    /// The current life, when the outcome is `Applied`.
    pub life: Option<Life>,
}

/// A request to stop a life.
#[derive(Clone, Debug)]
pub struct StopRequest {
    /// The idempotency key, with the epoch.
    pub action: ActionId,
    /// The place.
    pub replica: ReplicaId,
    /// The life; the request has no effect on another one.
    pub incarnation: Incarnation,
    /// From the stop signal to the kill; zero kills at once.
    pub grace: Duration,
}

/// A request to change what a life may use.
#[derive(Clone, Debug)]
pub struct AllotRequest {
    /// The idempotency key, with the epoch.
    pub action: ActionId,
    /// The place.
    pub replica: ReplicaId,
    /// The life; the request has no effect on another one.
    pub incarnation: Incarnation,
    /// The new limits; a resource that is not named keeps its limit.
    pub resources: Resources,
}

/// A request to run a program beside a replica.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// The place.
    pub replica: ReplicaId,
    /// The life.
    pub incarnation: Incarnation,
    /// The program and its arguments; `$(NAME)` is replaced as in the replica's own command.
    pub command: Vec<String>,
    /// How long it may run.
    pub timeout: Duration,
}

/// How a program that ran beside a replica ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// By itself.
    Exited(ExitStatus),
    /// It was killed when its time was over.
    TimedOut,
}

/// A program did not run beside a replica; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The life does not run.
    #[error("{replica} does not run")]
    NotRunning {
        /// The place.
        replica: ReplicaId,
    },
    /// The program could not be started.
    #[error("{message}")]
    NotStarted {
        /// One sentence: what was attempted, on what, why it failed, what to try.
        message: String,
    },
    /// The program could not be started or followed, because descriptors, processes or memory have run out.
    #[error("{message}")]
    NoResources {
        /// One sentence: what was attempted, on what, why it failed, what to try.
        message: String,
    },
}

/// The platform could not be observed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("could not list the replicas of this platform: {why}")]
pub struct ObserveError {
    /// The error of the platform.
    pub why: Arc<str>,
}

/// Something that happened to a replica.
#[derive(Clone, Debug)]
pub enum Event {
    /// A life has ended; its state says how.
    Ended(Life),
}

/// How well a driver can do something here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Support {
    /// As declared.
    Full,
    /// Less than declared. One sentence: what is missing, why, and what to try.
    Degraded(Arc<str>),
}

/// What a driver can and cannot do here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Limiting a replica to `resources.cpu`.
    pub cpu: Support,
    /// Limiting a replica to `resources.memory`.
    pub memory: Support,
    /// Ending everything that a replica started, even processes that have left its session.
    pub containment: Support,
    /// Running a replica as the user it names.
    pub users: Support,
}

impl Capabilities {
    /// What is missing, one sentence each, without duplicates.
    pub fn degraded(&self) -> Vec<&str> {
        let mut sentences: Vec<&str> = Vec::new();
        for support in [&self.cpu, &self.memory, &self.containment, &self.users] {
            match support {
                Support::Degraded(why) if !sentences.contains(&why.as_ref()) => sentences.push(why),
                Support::Degraded(_) | Support::Full => {}
            }
        }
        sentences
    }
}
