//! The stored form, version 1: copies of the core's types, which stay free to change.
//!
//! Declarations are stored as JSON within the record: they are versioned by their `apiVersion`, and a JSON object is not positional.

mod capacity;
mod latency;
mod load;
mod measured;
mod policy;
mod scaling;
mod shadow;
mod usage;
mod version;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::action::{Failure, FailureKind, Outcome, Refusal};
use model::identity::{ActionId, Epoch, Generation, Incarnation, Ordinal, ReplicaId};
use model::input::{
    self, Allotted, Declared, Ejected, ExitStatus, Intent, Observed, ReplicaState, Report, Start,
};
use model::memory::{
    HealingMemory, LOSSES_MAX, LossMemory, Memory, RestartMemory, STARTS_MAX, StartMemory, WARMUPS_MAX,
};
use model::name::{NodeName, ServiceName};
use model::resource::{AutoscalerSpec, Quantity, Resources, ServiceSpec};
use model::time::{Now, Time, Wall};
use serde::{Deserialize, Serialize};

pub use self::load::StoredLoad;
pub use self::version::StoredVersion;
use crate::v1::capacity::StoredCapacity;
use crate::v1::latency::StoredLatencies;
use crate::v1::measured::StoredMeasured;
use crate::v1::policy::StoredPolicy;
use crate::v1::scaling::{StoredFlaps, StoredScaling};
use crate::v1::shadow::StoredShadow;
use crate::v1::usage::{StoredThrottled, StoredThrottling, StoredUsage, StoredUsageSample};

/// One record of the journal.
#[derive(Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) time: u64,
    pub(crate) wall: u64,
    pub(crate) digest: u64,
    pub(crate) input: Input,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum Input {
    Started {
        epoch: u64,
        node: NodeName,
        seed: u64,
        settings: Json,
    },
    Woke,
    Declare {
        name: ServiceName,
        revision: u64,
        generation: u64,
        spec: Json,
        autoscaler: Option<Json>,
    },
    Withdraw(ServiceName),
    Hold {
        service: ServiceName,
        replicas: u32,
        until: Option<u64>,
    },
    Release(ServiceName),
    /// The first format of a memory, without `healing`; no longer written.
    Remembered(FirstMemory),
    Inventory {
        node: NodeName,
        up_to: (u64, u64),
        replicas: Vec<StoredObserved>,
    },
    Replica(StoredObserved),
    Usage(Vec<StoredUsageSample>),
    Traffic(Vec<StoredTraffic>),
    Ended {
        action: (u64, u64),
        outcome: StoredOutcome,
    },
    /// The second format of a memory, still positional; no longer written.
    Recalled(SecondMemory),
    Demand(Vec<StoredDemand>),
    Measured(Vec<StoredMeasured>),
    /// A [`StoredMemory`] as JSON text with named fields: later fields need no new kind of record.
    Memory(Json),
    Pause {
        service: ServiceName,
        until: Option<u64>,
    },
    Resume(ServiceName),
    Protect {
        replica: (ServiceName, u32),
        incarnation: u32,
        until: u64,
    },
    Unprotect((ServiceName, u32)),
    Allotted(Vec<StoredAllotted>),
    Latencies(Vec<StoredLatencies>),
    /// The replicas and their incarnations.
    Ejected(Vec<((ServiceName, u32), u32)>),
    /// As [`Input::Usage`], when a CPU limit throttles one of the replicas.
    Throttled(Vec<StoredThrottled>),
}

/// A declaration as JSON text.
#[derive(Serialize, Deserialize)]
pub(crate) struct Json(String);

#[derive(Serialize, Deserialize)]
pub(crate) struct StoredObserved {
    replica: (ServiceName, u32),
    incarnation: u32,
    generation: u64,
    state: StoredState,
}

#[derive(Serialize, Deserialize)]
enum StoredState {
    Starting,
    Running { ready: bool, live: bool },
    Stopping,
    Exited { status: StoredExitStatus, out_of_memory: bool, ran_for: Duration },
}

#[derive(Serialize, Deserialize)]
enum StoredExitStatus {
    Code(i32),
    Signal(i32),
    Unknown,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct StoredTraffic {
    replica: (ServiceName, u32),
    incarnation: u32,
    requests: u64,
    errors: u64,
    in_flight: u32,
    latency_p99: Duration,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct StoredDemand {
    service: ServiceName,
    requests: u64,
    waiting: u32,
    in_flight: u32,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum StoredOutcome {
    Applied,
    Failed { kind: StoredFailureKind, message: String },
    StaleEpoch,
    OtherIncarnation,
    Unknown,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum StoredFailureKind {
    Declaration,
    AddressInUse,
    DiskFull,
    Other,
    Unsupported,
}

/// What must survive a restart, in the journal and in the store.
///
/// Fields are named, so a memory that was written before a field existed has its default. The journal's first formats of a memory are
/// positional: [`FirstMemory`], [`SecondMemory`].
#[derive(Debug, Serialize, Deserialize)]
pub struct StoredMemory {
    service: ServiceName,
    desired: Option<u32>,
    #[serde(flatten)]
    scaling: StoredScaling,
    restarts: Vec<StoredRestarts>,
    #[serde(default)]
    healing: StoredHealing,
    #[serde(default)]
    shadows: Vec<StoredShadow>,
    /// When the latest incarnation of each replica was started.
    #[serde(default)]
    began: Vec<(u32, u64)>,
    #[serde(default)]
    usage: StoredUsage,
    #[serde(default)]
    throttling: StoredThrottling,
    /// In milliseconds.
    #[serde(default)]
    starts: Vec<u64>,
    /// In milliseconds.
    #[serde(default)]
    warmups: Vec<u64>,
    /// Since when, and when; in milliseconds.
    #[serde(default)]
    losses: (Option<u64>, Vec<u64>),
    #[serde(default)]
    capacity: Option<StoredCapacity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    load: Option<StoredLoad>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proven: Option<StoredVersion>,
}

impl StoredMemory {
    /// Everything but the load and the proven version, which are larger than the rest and are written less often.
    pub fn without_load_and_version(memory: &Memory) -> Self {
        Self::from(&Memory { load: None, proven: None, ..memory.clone() })
    }
}

/// The second format of [`StoredMemory`].
#[derive(Serialize, Deserialize)]
pub(crate) struct SecondMemory {
    earlier: FirstMemory,
    healing: StoredHealing,
}

/// The first format of [`StoredMemory`].
#[derive(Serialize, Deserialize)]
pub(crate) struct FirstMemory {
    service: ServiceName,
    desired: Option<u32>,
    recommendations: Vec<(u64, u32)>,
    scale_out: Vec<(u64, u32, bool)>,
    scale_in: Vec<(u64, u32, bool)>,
    scaled_to_zero: bool,
    restarts: Vec<StoredRestarts>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct StoredHealing {
    suspended: Option<u64>,
    liveness_restart: Option<u64>,
    restarted: Vec<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredRestarts {
    ordinal: u32,
    incarnation: u32,
    restarts: u32,
    recent: Vec<u64>,
    backoff_ms: u64,
    not_before: u64,
}

/// The most bytes of a record before its input: three numbers of at most ten bytes each.
pub(crate) const HEAD_BYTES_MAX: usize = 30;

/// The bytes of an input within its [`Record`].
pub(crate) fn encode(input: &input::Input) -> Vec<u8> {
    postcard::to_allocvec(&Input::from(input)).expect("the stored form has nothing that postcard cannot hold")
}

impl Record {
    /// The bytes of the record of an encoded input: its fields in their order.
    pub(crate) fn encode(now: Now, digest: u64, input: &[u8]) -> Vec<u8> {
        let head = (now.time.as_millis(), now.wall.as_millis(), digest);
        let mut record = Vec::with_capacity(HEAD_BYTES_MAX + input.len());
        record = postcard::to_extend(&head, record).expect("numbers have a form");
        record.extend_from_slice(input);
        record
    }

    pub(crate) fn now(&self) -> Now {
        Now { time: Time::from_millis(self.time), wall: Wall::from_millis(self.wall) }
    }
}

impl From<&input::Input> for Input {
    fn from(input: &input::Input) -> Self {
        match input {
            input::Input::Started(start) => Self::Started {
                epoch: start.epoch.0,
                node: start.node.clone(),
                seed: start.seed,
                settings: Json::of(start.settings.as_ref()),
            },
            input::Input::Woke => Self::Woke,
            input::Input::Intent(intent) => Self::from(intent),
            input::Input::Remembered(memory) => Self::Memory(Json::of(&StoredMemory::from(memory.as_ref()))),
            input::Input::Report(report) => Self::from(report),
            input::Input::Ended { action, outcome } => {
                Self::Ended { action: id_pair(*action), outcome: StoredOutcome::from(outcome) }
            }
        }
    }
}

impl From<&Intent> for Input {
    fn from(intent: &Intent) -> Self {
        match intent {
            Intent::Declare(declared) => Self::Declare {
                name: declared.name.clone(),
                revision: declared.revision.0,
                generation: declared.generation.0,
                spec: Json::of(&declared.spec),
                autoscaler: declared.autoscaler.as_ref().map(Json::of),
            },
            Intent::Withdraw(service) => Self::Withdraw(service.clone()),
            Intent::Hold { service, replicas, until } => Self::Hold {
                service: service.clone(),
                replicas: *replicas,
                until: until.map(Time::as_millis),
            },
            Intent::Release(service) => Self::Release(service.clone()),
            Intent::Pause { service, until } => {
                Self::Pause { service: service.clone(), until: until.map(Time::as_millis) }
            }
            Intent::Resume(service) => Self::Resume(service.clone()),
            Intent::Protect { replica, incarnation, until } => Self::Protect {
                replica: replica_pair(replica),
                incarnation: incarnation.0,
                until: until.as_millis(),
            },
            Intent::Unprotect(replica) => Self::Unprotect(replica_pair(replica)),
        }
    }
}

impl From<&Report> for Input {
    fn from(report: &Report) -> Self {
        match report {
            Report::Inventory { node, up_to, replicas } => Self::Inventory {
                node: node.clone(),
                up_to: id_pair(*up_to),
                replicas: replicas.iter().map(StoredObserved::from).collect(),
            },
            Report::Replica(observed) => Self::Replica(StoredObserved::from(observed)),
            Report::Usage(samples) if samples.iter().any(|sample| sample.throttling.is_some()) => {
                Self::Throttled(samples.iter().map(StoredThrottled::from).collect())
            }
            Report::Usage(samples) => Self::Usage(samples.iter().map(StoredUsageSample::from).collect()),
            Report::Latencies(samples) => Self::Latencies(samples.iter().map(Into::into).collect()),
            Report::Traffic(samples) => Self::Traffic(samples.iter().map(StoredTraffic::from).collect()),
            Report::Demand(samples) => Self::Demand(samples.iter().map(StoredDemand::from).collect()),
            Report::Allotted(all) => Self::Allotted(all.iter().map(stored_allotted).collect()),
            Report::Ejected(all) => {
                Self::Ejected(all.iter().map(|it| (replica_pair(&it.replica), it.incarnation.0)).collect())
            }
            Report::Measured(measured) => Self::Measured(measured.iter().map(StoredMeasured::from).collect()),
        }
    }
}

/// Why a stored input could not be decoded.
#[derive(Debug, thiserror::Error)]
#[error("a declaration in it cannot be read")]
pub struct Unreadable(#[source] serde_json::Error);

impl TryFrom<Input> for input::Input {
    type Error = Unreadable;

    fn try_from(stored: Input) -> Result<Self, Unreadable> {
        let report = |report| Self::Report(report);
        Ok(match stored {
            Input::Started { epoch, node, seed, settings } => {
                Self::Started(Start { epoch: Epoch(epoch), node, seed, settings: Arc::new(settings.read()?) })
            }
            Input::Woke => Self::Woke,
            Input::Declare { name, revision, generation, spec, autoscaler } => {
                let spec: ServiceSpec = spec.read()?;
                let autoscaler: Option<AutoscalerSpec> = autoscaler.map(|json| json.read()).transpose()?;
                let (revision, generation) = (Generation(revision), Generation(generation));
                Self::Intent(Intent::Declare(Arc::new(Declared {
                    name,
                    revision,
                    generation,
                    spec,
                    autoscaler,
                })))
            }
            Input::Withdraw(service) => Self::Intent(Intent::Withdraw(service)),
            Input::Hold { service, replicas, until } => {
                Self::Intent(Intent::Hold { service, replicas, until: until.map(Time::from_millis) })
            }
            Input::Release(service) => Self::Intent(Intent::Release(service)),
            Input::Pause { service, until } => {
                Self::Intent(Intent::Pause { service, until: until.map(Time::from_millis) })
            }
            Input::Resume(service) => Self::Intent(Intent::Resume(service)),
            Input::Protect { replica, incarnation, until } => Self::Intent(Intent::Protect {
                replica: replica_of(replica),
                incarnation: Incarnation(incarnation),
                until: Time::from_millis(until),
            }),
            Input::Unprotect(replica) => Self::Intent(Intent::Unprotect(replica_of(replica))),
            Input::Remembered(memory) => Self::Remembered(Arc::new(StoredMemory::from(memory).into())),
            Input::Recalled(memory) => Self::Remembered(Arc::new(StoredMemory::from(memory).into())),
            Input::Memory(memory) => Self::Remembered(Arc::new(memory.read::<StoredMemory>()?.into())),
            Input::Inventory { node, up_to, replicas } => report(Report::Inventory {
                node,
                up_to: id_of(up_to),
                replicas: replicas.into_iter().map(Observed::from).collect(),
            }),
            Input::Replica(observed) => report(Report::Replica(observed.into())),
            Input::Usage(samples) => report(Report::Usage(samples.into_iter().map(Into::into).collect())),
            Input::Throttled(samples) => report(Report::Usage(samples.into_iter().map(Into::into).collect())),
            Input::Latencies(samples) => {
                report(Report::Latencies(samples.into_iter().map(Into::into).collect()))
            }
            Input::Traffic(samples) => report(Report::Traffic(samples.into_iter().map(Into::into).collect())),
            Input::Demand(samples) => report(Report::Demand(samples.into_iter().map(Into::into).collect())),
            Input::Measured(measured) => {
                report(Report::Measured(measured.into_iter().map(Into::into).collect()))
            }
            Input::Allotted(all) => report(Report::Allotted(all.into_iter().map(allotted).collect())),
            Input::Ejected(all) => report(Report::Ejected(all.into_iter().map(ejected).collect())),
            Input::Ended { action, outcome } => {
                Self::Ended { action: id_of(action), outcome: outcome.into() }
            }
        })
    }
}

impl Json {
    fn of(value: &impl Serialize) -> Self {
        Self(serde_json::to_string(value).expect("a declaration has text keys only, so JSON can hold it"))
    }

    fn read<T: for<'de> Deserialize<'de>>(&self) -> Result<T, Unreadable> {
        serde_json::from_str(&self.0).map_err(Unreadable)
    }
}

fn id_pair(id: ActionId) -> (u64, u64) {
    (id.epoch.0, id.sequence)
}

fn id_of((epoch, sequence): (u64, u64)) -> ActionId {
    ActionId { epoch: Epoch(epoch), sequence }
}

fn replica_of((service, ordinal): (ServiceName, u32)) -> ReplicaId {
    ReplicaId { service, ordinal: Ordinal(ordinal) }
}

fn replica_pair(replica: &ReplicaId) -> (ServiceName, u32) {
    (replica.service.clone(), replica.ordinal.0)
}

/// The replica, its incarnation, and its processor and memory limits in thousandths.
type StoredAllotted = ((ServiceName, u32), u32, Option<i64>, Option<i64>);

fn stored_allotted(of: &Allotted) -> StoredAllotted {
    let Resources { cpu, memory } = of.resources;
    (replica_pair(&of.replica), of.incarnation.0, cpu.map(Quantity::milli), memory.map(Quantity::milli))
}

fn allotted((replica, incarnation, cpu, memory): StoredAllotted) -> Allotted {
    let amount = |milli: Option<i64>| milli.map(Quantity::from_milli);
    Allotted {
        replica: replica_of(replica),
        incarnation: Incarnation(incarnation),
        resources: Resources { cpu: amount(cpu), memory: amount(memory) },
    }
}

fn span_millis(span: &Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn ejected((replica, incarnation): ((ServiceName, u32), u32)) -> Ejected {
    Ejected { replica: replica_of(replica), incarnation: Incarnation(incarnation) }
}

impl From<&Observed> for StoredObserved {
    fn from(observed: &Observed) -> Self {
        let state = match observed.state {
            ReplicaState::Starting => StoredState::Starting,
            ReplicaState::Running { ready, live } => StoredState::Running { ready, live },
            ReplicaState::Stopping => StoredState::Stopping,
            ReplicaState::Exited(exit) => StoredState::Exited {
                status: match exit.status {
                    ExitStatus::Code(code) => StoredExitStatus::Code(code),
                    ExitStatus::Signal(signal) => StoredExitStatus::Signal(signal),
                    ExitStatus::Unknown => StoredExitStatus::Unknown,
                },
                out_of_memory: exit.out_of_memory,
                ran_for: exit.ran_for,
            },
        };
        Self {
            replica: replica_pair(&observed.replica),
            incarnation: observed.incarnation.0,
            generation: observed.generation.0,
            state,
        }
    }
}

impl From<StoredObserved> for Observed {
    fn from(observed: StoredObserved) -> Self {
        let state = match observed.state {
            StoredState::Starting => ReplicaState::Starting,
            StoredState::Running { ready, live } => ReplicaState::Running { ready, live },
            StoredState::Stopping => ReplicaState::Stopping,
            StoredState::Exited { status, out_of_memory, ran_for } => ReplicaState::Exited(input::Exit {
                status: match status {
                    StoredExitStatus::Code(code) => ExitStatus::Code(code),
                    StoredExitStatus::Signal(signal) => ExitStatus::Signal(signal),
                    StoredExitStatus::Unknown => ExitStatus::Unknown,
                },
                out_of_memory,
                ran_for,
            }),
        };
        Self {
            replica: replica_of(observed.replica),
            incarnation: Incarnation(observed.incarnation),
            generation: Generation(observed.generation),
            state,
        }
    }
}

impl From<&input::Demand> for StoredDemand {
    fn from(demand: &input::Demand) -> Self {
        let input::Demand { service, requests, waiting, in_flight } = demand.clone();
        Self { service, requests, waiting, in_flight }
    }
}

impl From<StoredDemand> for input::Demand {
    fn from(stored: StoredDemand) -> Self {
        let StoredDemand { service, requests, waiting, in_flight } = stored;
        Self { service, requests, waiting, in_flight }
    }
}

impl From<&input::Traffic> for StoredTraffic {
    fn from(traffic: &input::Traffic) -> Self {
        Self {
            replica: (traffic.service.clone(), traffic.ordinal.0),
            incarnation: traffic.incarnation.0,
            requests: traffic.requests,
            errors: traffic.errors,
            in_flight: traffic.in_flight,
            latency_p99: traffic.latency_p99,
        }
    }
}

impl From<StoredTraffic> for input::Traffic {
    fn from(traffic: StoredTraffic) -> Self {
        Self {
            service: traffic.replica.0,
            ordinal: Ordinal(traffic.replica.1),
            incarnation: Incarnation(traffic.incarnation),
            requests: traffic.requests,
            errors: traffic.errors,
            in_flight: traffic.in_flight,
            latency_p99: traffic.latency_p99,
        }
    }
}

impl From<&Outcome> for StoredOutcome {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Applied => Self::Applied,
            Outcome::Failed(failure) => Self::Failed {
                kind: match failure.kind {
                    FailureKind::Declaration => StoredFailureKind::Declaration,
                    FailureKind::AddressInUse => StoredFailureKind::AddressInUse,
                    FailureKind::DiskFull => StoredFailureKind::DiskFull,
                    FailureKind::Other => StoredFailureKind::Other,
                    FailureKind::Unsupported => StoredFailureKind::Unsupported,
                },
                message: failure.message.to_string(),
            },
            Outcome::Refused(Refusal::StaleEpoch) => Self::StaleEpoch,
            Outcome::Refused(Refusal::OtherIncarnation) => Self::OtherIncarnation,
            Outcome::Unknown => Self::Unknown,
        }
    }
}

impl From<StoredOutcome> for Outcome {
    fn from(outcome: StoredOutcome) -> Self {
        match outcome {
            StoredOutcome::Applied => Self::Applied,
            StoredOutcome::Failed { kind, message } => Self::Failed(Failure {
                kind: match kind {
                    StoredFailureKind::Declaration => FailureKind::Declaration,
                    StoredFailureKind::AddressInUse => FailureKind::AddressInUse,
                    StoredFailureKind::DiskFull => FailureKind::DiskFull,
                    StoredFailureKind::Other => FailureKind::Other,
                    StoredFailureKind::Unsupported => FailureKind::Unsupported,
                },
                message: message.into(),
            }),
            StoredOutcome::StaleEpoch => Self::Refused(Refusal::StaleEpoch),
            StoredOutcome::OtherIncarnation => Self::Refused(Refusal::OtherIncarnation),
            StoredOutcome::Unknown => Self::Unknown,
        }
    }
}

impl From<&Memory> for StoredMemory {
    fn from(memory: &Memory) -> Self {
        let restarts = |(ordinal, restart): &(Ordinal, RestartMemory)| StoredRestarts {
            ordinal: ordinal.0,
            incarnation: restart.incarnation.0,
            restarts: restart.restarts,
            recent: restart.recent.iter().map(|at| at.as_millis()).collect(),
            backoff_ms: restart.backoff_ms,
            not_before: restart.not_before.as_millis(),
        };
        Self {
            service: memory.service.clone(),
            desired: memory.desired,
            scaling: StoredScaling::from(&memory.scaling),
            restarts: memory.restarts.iter().map(restarts).collect(),
            healing: StoredHealing {
                suspended: memory.healing.suspended.map(Time::as_millis),
                liveness_restart: memory.healing.liveness_restart.map(Time::as_millis),
                restarted: memory.healing.restarted.iter().map(|at| at.as_millis()).collect(),
            },
            shadows: memory.shadows.iter().map(StoredShadow::from).collect(),
            began: memory
                .restarts
                .iter()
                .map(|(ordinal, restart)| (ordinal.0, restart.began.as_millis()))
                .collect(),
            usage: StoredUsage::from(&memory.usage),
            throttling: StoredThrottling::from(&memory.throttling),
            starts: memory.starts.took.iter().map(span_millis).collect(),
            warmups: memory.starts.warmups.iter().map(span_millis).collect(),
            losses: (
                memory.losses.since.map(Time::as_millis),
                memory.losses.at.iter().map(|at| at.as_millis()).collect(),
            ),
            capacity: memory.capacity.as_deref().map(StoredCapacity::from),
            load: memory.load.as_deref().map(StoredLoad::from),
            proven: memory.proven.as_deref().map(StoredVersion::from),
        }
    }
}

impl From<StoredMemory> for Memory {
    fn from(stored: StoredMemory) -> Self {
        let began: BTreeMap<u32, u64> = stored.began.into_iter().collect();
        let restart = |stored: StoredRestarts| {
            let restart = RestartMemory {
                began: Time::from_millis(began.get(&stored.ordinal).copied().unwrap_or(0)),
                incarnation: Incarnation(stored.incarnation),
                restarts: stored.restarts,
                recent: stored.recent.into_iter().map(Time::from_millis).collect(),
                backoff_ms: stored.backoff_ms,
                not_before: Time::from_millis(stored.not_before),
            };
            (Ordinal(stored.ordinal), restart)
        };
        Self {
            service: stored.service,
            desired: stored.desired,
            scaling: stored.scaling.into(),
            shadows: stored.shadows.into_iter().map(Into::into).collect(),
            restarts: stored.restarts.into_iter().map(restart).collect(),
            healing: HealingMemory {
                suspended: stored.healing.suspended.map(Time::from_millis),
                liveness_restart: stored.healing.liveness_restart.map(Time::from_millis),
                restarted: stored.healing.restarted.into_iter().map(Time::from_millis).collect(),
            },
            usage: stored.usage.into(),
            throttling: stored.throttling.into(),
            starts: StartMemory {
                took: stored.starts.into_iter().take(STARTS_MAX).map(Duration::from_millis).collect(),
                warmups: stored.warmups.into_iter().take(WARMUPS_MAX).map(Duration::from_millis).collect(),
            },
            losses: LossMemory {
                since: stored.losses.0.map(Time::from_millis),
                at: stored.losses.1.into_iter().take(LOSSES_MAX).map(Time::from_millis).collect(),
            },
            capacity: stored.capacity.map(|capacity| Box::new(capacity.into())),
            load: stored.load.map(|load| Arc::new(load.into())),
            proven: stored.proven.map(|proven| Arc::new(proven.into())),
        }
    }
}

impl From<FirstMemory> for StoredMemory {
    fn from(earlier: FirstMemory) -> Self {
        Self {
            service: earlier.service,
            desired: earlier.desired,
            scaling: StoredScaling {
                recommendations: earlier.recommendations,
                scale_out: earlier.scale_out,
                scale_in: earlier.scale_in,
                scaled_to_zero: earlier.scaled_to_zero,
                policy: StoredPolicy::default(),
                flaps: StoredFlaps::default(),
                failing: Vec::new(),
                conditions: Vec::new(),
            },
            restarts: earlier.restarts,
            healing: StoredHealing::default(),
            shadows: Vec::new(),
            began: Vec::new(),
            usage: StoredUsage::default(),
            throttling: StoredThrottling::default(),
            starts: Vec::new(),
            warmups: Vec::new(),
            losses: Default::default(),
            capacity: None,
            load: None,
            proven: None,
        }
    }
}

impl From<SecondMemory> for StoredMemory {
    fn from(recalled: SecondMemory) -> Self {
        Self { healing: recalled.healing, ..Self::from(recalled.earlier) }
    }
}

#[cfg(test)]
mod tests {
    use model::memory::PolicyMemory;

    use super::*;

    #[test]
    fn a_memory_record_without_healing_state_is_read_with_none() {
        // Time, wall, digest; the kind of input; the name; desired; no recommendations, no changes; to zero; no restarts.
        let body = [1, 2, 3, 6, 4, b's', b'h', b'o', b'p', 1, 3, 0, 0, 0, 1, 0];
        let record: Record = postcard::from_bytes(&body).unwrap();
        let Ok(input::Input::Remembered(memory)) = record.input.try_into() else { panic!("it is a memory") };
        assert_eq!((memory.desired, memory.scaling.scaled_to_zero), (Some(3), true));
        assert_eq!(memory.healing, HealingMemory::default());
    }

    #[test]
    fn a_positional_memory_record_is_read() {
        // As above, as the kind of input that came after; then suspended, no last restart for a probe, and one restart.
        let body = [1, 2, 3, 12, 4, b's', b'h', b'o', b'p', 1, 3, 0, 0, 0, 1, 0, 1, 5, 0, 1, 9];
        let record: Record = postcard::from_bytes(&body).unwrap();
        let Ok(input::Input::Remembered(memory)) = record.input.try_into() else { panic!("it is a memory") };
        assert_eq!((memory.desired, memory.scaling.scaled_to_zero), (Some(3), true));
        let (suspended, restarted) = (Some(Time::from_millis(5)), vec![Time::from_millis(9)]);
        assert_eq!(memory.healing, HealingMemory { suspended, liveness_restart: None, restarted });
        assert_eq!(memory.scaling.policy, PolicyMemory::default());
    }
}
