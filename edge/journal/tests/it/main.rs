//! The journal through its public interface: what is appended is read back, and damage is distinguished from a torn tail.

mod events;
mod history;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use journal::{ReadError, Record, SEGMENTS_MAX, Segment, StoredMemory, Writer, segments};
use model::action::{Failure, FailureKind, Outcome, Refusal};
use model::decision::ConditionKind;
use model::histogram::{DecayingHistogram, Width};
use model::identity::{ActionId, Epoch, Generation, Incarnation, Ordinal, ReplicaId};
use model::input::{
    Declared, Demand, Ejected, Exit, ExitStatus, Input, Intent, Observed, ReplicaState, Report, Start,
    Throttling, Traffic, Usage,
};
use model::latency::{LATENCY_CLASSES, Latencies};
use model::measure::{Measured, MeasurementResult, MetricKey, MetricSubject, ReplicaMeasurement, Series};
use model::memory::{
    CapacityMemory, ConditionState, ConditionsMemory, DemandCurve, ErrorBudgetMemory, Evaluations,
    FailingMemory, FlapMemory, HealingMemory, LoadMemory, LoadPart, LoadPeak, LoadRecord, LoadSource,
    LossMemory, Memory, Panic, PendingChange, PolicyHistory, PolicyMemory, RateEvidence, Recommendation,
    RestartMemory, RiseMemory, ScaleDirection, ScaleEvent, ScalingMemory, ShadowMemory, StartMemory,
    StepLoad, ThrottlingMemory, UsageProfile, VersionCapacity,
};
use model::name::{NodeName, ServiceName};
use model::quantity::{Bytes, Milli, MilliCpu, MilliRps};
use model::resource::{Fraction, ObjectName, ServiceSpec};
use model::settings::Settings;
use model::time::{Now, Time, Wall};
use proptest::prelude::*;

fn shop() -> ServiceName {
    ServiceName::parse("shop").unwrap()
}

fn replica() -> ReplicaId {
    ReplicaId { service: shop(), ordinal: Ordinal(3) }
}

fn now(ms: u64) -> Now {
    Now { time: Time::from_millis(ms), wall: Wall::from_millis(ms + 17) }
}

fn action() -> ActionId {
    ActionId { epoch: Epoch(4), sequence: 9 }
}

fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

fn every_kind_of_input() -> Vec<Input> {
    let mut all = vec![
        Input::Started(Start {
            epoch: Epoch(4),
            node: NodeName::parse("here").unwrap(),
            seed: 11,
            settings: Settings::default().into(),
        }),
        Input::Woke,
        Input::Remembered(Arc::new(memory())),
    ];
    all.extend(intents().map(Input::Intent));
    all.extend(reports().map(Input::Report));
    all.extend(outcomes().map(|outcome| Input::Ended { action: action(), outcome }));
    all
}

fn declared() -> Declared {
    let spec: ServiceSpec = serde_json::from_str(r#"{"run":{"command":["true"]}}"#).unwrap();
    Declared { name: shop(), revision: Generation(2), generation: Generation(1), spec, autoscaler: None }
}

fn intents() -> impl Iterator<Item = Intent> {
    [
        Intent::Declare(Arc::new(declared())),
        Intent::Hold { service: shop(), replicas: 4, until: Some(at(99)) },
        Intent::Release(shop()),
        Intent::Pause { service: shop(), until: Some(at(99)) },
        Intent::Resume(shop()),
        Intent::Protect { replica: replica(), incarnation: Incarnation(2), until: at(99) },
        Intent::Unprotect(replica()),
        Intent::Withdraw(shop()),
    ]
    .into_iter()
}

fn reports() -> impl Iterator<Item = Report> {
    let seen = |state| Observed {
        replica: replica(),
        incarnation: Incarnation(2),
        generation: Generation(1),
        state,
    };
    let exit = Exit { status: ExitStatus::Signal(9), out_of_memory: true, ran_for: Duration::from_millis(7) };
    let usage = Usage {
        replica: replica(),
        incarnation: Incarnation(2),
        cpu_time: Duration::from_micros(12),
        memory: Bytes(4096),
        throttling: None,
    };
    let waited = Duration::from_micros(5_678);
    let throttled =
        Usage { throttling: Some(Throttling { windows: 99, throttled: 90, waited }), ..usage.clone() };
    let traffic = Traffic {
        service: shop(),
        ordinal: Ordinal(3),
        incarnation: Incarnation(2),
        requests: 10,
        errors: 1,
        in_flight: 2,
        latency_p99: Duration::from_micros(99),
    };
    [
        Report::Inventory {
            node: NodeName::parse("here").unwrap(),
            up_to: action(),
            replicas: vec![seen(ReplicaState::Starting), seen(ReplicaState::Stopping)],
        },
        Report::Replica(seen(ReplicaState::Running { ready: true, live: false })),
        Report::Replica(seen(ReplicaState::Exited(exit))),
        Report::Usage(vec![usage.clone()]),
        Report::Usage(vec![usage, throttled]),
        Report::Traffic(vec![traffic]),
        Report::Latencies(vec![latencies()]),
        Report::Demand(vec![Demand { service: shop(), requests: 10, waiting: 2, in_flight: 1 }]),
        Report::Measured(measured()),
        Report::Ejected(vec![Ejected { replica: replica(), incarnation: Incarnation(2) }]),
    ]
    .into_iter()
}

fn latencies() -> Latencies {
    let mut answered = [0; LATENCY_CLASSES];
    (answered[0], answered[LATENCY_CLASSES - 1]) = (7, 1);
    Latencies {
        service: shop(),
        ordinal: Ordinal(3),
        incarnation: Incarnation(2),
        threshold: Duration::from_millis(200),
        failed: 1,
        answered,
    }
}

fn measured() -> Vec<Measured> {
    let series = Series { labels: [("queue".into(), "mail".into())].into(), value: Milli(-1500) };
    let replica = |result| ReplicaMeasurement { ordinal: Ordinal(3), incarnation: Incarnation(2), result };
    let object = MetricSubject::Object { kind: "Ingress".into(), name: "web".into() };
    let all = [
        (MetricSubject::External, MeasurementResult::Series(vec![series.clone()])),
        (object, MeasurementResult::Failed("it is down".into())),
        (
            MetricSubject::Replicas(shop()),
            MeasurementResult::Replicas(vec![replica(Ok(vec![series])), replica(Err("it is down".into()))]),
        ),
        (MetricSubject::External, MeasurementResult::Pending),
        (MetricSubject::External, MeasurementResult::Withdrawn),
    ];
    let one = |(subject, result)| Measured {
        source: shop(),
        key: MetricKey { metric: "queue_length".into(), subject },
        stale_after: Duration::from_secs(20),
        result,
    };
    all.into_iter().map(one).collect()
}

fn outcomes() -> impl Iterator<Item = Outcome> {
    let failure = Failure { kind: FailureKind::AddressInUse, message: "port 80 is in use".into() };
    [Outcome::Applied, Outcome::Failed(failure), Outcome::Refused(Refusal::StaleEpoch), Outcome::Unknown]
        .into_iter()
}

fn memory() -> Memory {
    remembering(PolicyHistory::None)
}

/// A memory of each kind of policy that looks back.
fn memories_of_policies() -> Vec<Memory> {
    let evaluations = Evaluations {
        noted: at(1),
        since: at(2),
        sum: Milli(3),
        count: 4,
        means: vec![Some(Milli(5)), None],
    };
    let load = LoadMemory {
        noted: at(1),
        since: at(2),
        parts: vec![LoadPart { at: at(3), sum: Milli(4), count: 5 }],
        panic: Some(Panic { since: at(6), over: at(7), peak: 8 }),
    };
    let pasts = [
        PolicyHistory::Pending(PendingChange::None),
        PolicyHistory::Pending(PendingChange::More { since: at(1) }),
        PolicyHistory::Pending(PendingChange::Fewer { since: at(2) }),
        PolicyHistory::Evaluations(evaluations),
        PolicyHistory::Load(load),
        PolicyHistory::Rises(rises()),
    ];
    pasts.map(remembering).into()
}

fn conditions() -> ConditionsMemory {
    let mut conditions = ConditionsMemory::default();
    for (kind, holds, since) in
        [(ConditionKind::AbleToScale, true, 2), (ConditionKind::ScalingLimited, false, 9)]
    {
        conditions.set(kind, ConditionState { holds, since: Wall::from_millis(since) });
    }
    conditions
}

fn remembering(history: PolicyHistory) -> Memory {
    let restart = RestartMemory {
        began: at(5),
        incarnation: Incarnation(5),
        restarts: 4,
        recent: vec![at(1), at(2)],
        backoff_ms: 1500,
        not_before: at(3),
    };
    Memory {
        service: shop(),
        desired: Some(3),
        scaling: ScalingMemory {
            recommendations: vec![Recommendation { at: at(5), replicas: 7 }],
            scale_out: vec![ScaleEvent { at: at(6), change: 2, outdated: false }],
            scale_in: vec![ScaleEvent { at: at(7), change: 1, outdated: true }],
            scaled_to_zero: true,
            policy: PolicyMemory { last_scale_out: Some(at(12)), last_scale_in: None, history },
            flaps: FlapMemory { direction: Some(ScaleDirection::In), reversals: vec![at(3), at(8)] },
            failing: vec![FailingMemory { metric: 1, since: at(4) }],
            conditions: conditions(),
            levels: Vec::new(),
        },
        shadows: vec![shadow()],
        restarts: vec![(Ordinal(0), restart)],
        healing: HealingMemory {
            suspended: Some(at(8)),
            liveness_restart: Some(at(9)),
            restarted: vec![at(10), at(11)],
        },
        usage: usage(),
        throttling: throttling(),
        losses: LossMemory { since: Some(at(3)), at: vec![at(5), at(8)] },
        starts: StartMemory {
            took: vec![Duration::from_millis(800), Duration::from_millis(1200)],
            warmups: vec![Duration::from_secs(12), Duration::ZERO],
        },
        capacity: Some(Box::new(capacity())),
        load: Some(Arc::new(load())),
        proven: Some(Arc::new(declared())),
    }
}

fn load() -> LoadRecord {
    let mut demand = DemandCurve::default();
    demand.note(12_000, 3_000);
    demand.note(300, 100);
    LoadRecord {
        source: LoadSource::Replicas,
        step: Duration::from_secs(60),
        first: 28_000_000,
        loads: vec![StepLoad::of(0), StepLoad::GAP, StepLoad::of(123_456_789)],
        demand,
    }
}

fn capacity() -> CapacityMemory {
    let mut classes = [0; LATENCY_CLASSES];
    (classes[2], classes[15]) = (3, 1);
    let rate = RateEvidence { bucket: 90, in_time: 12, late: 4, rates: 40_000, classes };
    let version = VersionCapacity {
        generation: Generation(4),
        windows: 4,
        best: MilliRps(10_000),
        best_at: at(3),
        rates: vec![rate],
    };
    CapacityMemory {
        below: Duration::from_millis(200),
        quantile: Fraction::from_millionths(990_000),
        versions: vec![version],
    }
}

fn rises() -> RiseMemory {
    let (mut rises, mut bursts) = (DecayingHistogram::default(), DecayingHistogram::default());
    rises.add(at(13), 120, Width(10));
    bursts.add(at(11), 310, Width(10));
    let peaks = vec![LoadPeak { step: 3, load: Milli(5000) }];
    let error_budget = ErrorBudgetMemory { at: at(14), requests: 9000, late: 40 };
    RiseMemory {
        start: Duration::from_secs(8),
        start_at: at(2),
        peaks,
        rises,
        bursts,
        observed: 7,
        error_budget,
    }
}

fn shadow() -> ShadowMemory {
    let scaling = ScalingMemory { scaled_to_zero: true, ..ScalingMemory::default() };
    let mut shadow = ShadowMemory::new(ObjectName::parse("by-queue").unwrap(), at(20), 4, scaling);
    shadow.count(Duration::from_secs(3), 6);
    shadow.own.record_time(Duration::from_secs(2), true, false);
    shadow.acting.record_change(6, 5);
    shadow.resize(at(23), 7);
    shadow.count(Duration::from_secs(1), 5);
    shadow
}

fn usage() -> UsageProfile {
    let mut usage = UsageProfile { since: Some(at(12)), samples: 3, ..UsageProfile::default() };
    for sample in [0, 250, 250, 4000] {
        usage.cpu.add(at(13), sample, Width(10));
        usage.memory.add(at(14), sample << 20, Width(10_000_000));
    }
    usage
}

fn throttling() -> ThrottlingMemory {
    let mut throttling = ThrottlingMemory { limit: MilliCpu(250), minutes: 2, ..ThrottlingMemory::default() };
    [0, 1000].into_iter().for_each(|share| throttling.shares.add(at(13), share, Width(10)));
    throttling
}

fn written(folder: &std::path::Path) -> (PathBuf, Vec<Record>) {
    let mut writer = Writer::begin(folder).unwrap();
    let mut records = Vec::new();
    for (i, input) in every_kind_of_input().into_iter().enumerate() {
        let (now, digest) = (now(i as u64), i as u64 * 3);
        let encoded = writer.encode(&input).unwrap();
        writer.append(now, &encoded, digest).unwrap();
        records.push(Record { now, input, digest });
    }
    writer.sync().unwrap();
    (segments(folder).unwrap().pop().unwrap().1, records)
}

#[test]
fn every_kind_of_input_survives_a_round_trip() {
    let folder = tempfile::tempdir().unwrap();
    let (path, records) = written(folder.path());
    let read: Vec<Record> = Segment::open(&path).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(read, records);
}

#[test]
fn a_memory_without_healing_state_is_read_with_an_empty_one() {
    let row = r#"{"service":"shop","desired":3,"recommendations":[[5000,7]],"scale_out":[],"scale_in":[],
        "scaled_to_zero":false,"restarts":[{"ordinal":0,"incarnation":5,"restarts":4,"recent":[],"backoff_ms":1500,"not_before":3000}]}"#;
    let memory = Memory::from(serde_json::from_str::<StoredMemory>(row).unwrap());
    assert_eq!((memory.desired, memory.restarts.len()), (Some(3), 1));
    assert_eq!(memory.healing, HealingMemory::default());
    assert_eq!(memory.scaling.policy, PolicyMemory::default());
    assert_eq!(memory.load, None);
}
#[test]
fn the_state_of_policies_survives_a_round_trip() {
    for memory in memories_of_policies() {
        let row = serde_json::to_string(&StoredMemory::from(&memory)).unwrap();
        assert_eq!(Memory::from(serde_json::from_str::<StoredMemory>(&row).unwrap()), memory);
        let input = Input::Remembered(Arc::new(memory));
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::begin(folder.path()).unwrap();
        let encoded = writer.encode(&input).unwrap();
        writer.append(now(0), &encoded, 0).unwrap();
        writer.sync().unwrap();
        let (_, path) = segments(folder.path()).unwrap().pop().unwrap();
        let read: Vec<Record> = Segment::open(&path).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(read[0].input, input);
    }
}

#[test]
fn a_segment_torn_at_any_byte_ends_at_its_last_complete_record() {
    let folder = tempfile::tempdir().unwrap();
    let (path, records) = written(folder.path());
    let whole = fs::read(&path).unwrap();
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let read: Vec<Record> = Segment::open(&path).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(read, records[..read.len()], "torn at byte {len}");
        assert!(read.len() < records.len());
    }
}

#[test]
fn damage_before_the_end_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = written(folder.path());
    let mut bytes = fs::read(&path).unwrap();
    bytes[30] ^= 0x55;
    fs::write(&path, &bytes).unwrap();
    let read: Result<Vec<Record>, _> = Segment::open(&path).unwrap().collect();
    assert!(matches!(read, Err(ReadError::Damaged { at: 8, .. })), "{read:?}");
}

#[test]
fn a_file_of_another_version_is_refused_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("0000000001.journal");
    fs::write(&path, b"HSJRNL99 and more").unwrap();
    assert!(matches!(Segment::open(&path), Err(ReadError::Version { .. })));
}

#[test]
fn only_the_newest_segments_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..SEGMENTS_MAX + 3 {
        Writer::begin(folder.path()).unwrap().retire_oldest().unwrap();
    }
    assert_eq!(numbers(folder.path()), (4..=SEGMENTS_MAX as u64 + 3).collect::<Vec<_>>());
}

#[test]
fn failed_starts_remove_no_segment() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..SEGMENTS_MAX {
        Writer::begin(folder.path()).unwrap().retire_oldest().unwrap();
    }
    let before = numbers(folder.path());
    for _ in 0..SEGMENTS_MAX {
        let mut writer = Writer::begin(folder.path()).unwrap();
        let woke = writer.encode(&Input::Woke).unwrap();
        writer.append(now(1), &woke, 1).unwrap();
        writer.abandon();
    }
    assert_eq!(numbers(folder.path()), before);
}

fn numbers(folder: &std::path::Path) -> Vec<u64> {
    segments(folder).unwrap().into_iter().map(|(number, _)| number).collect()
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0000000001.journal");
        fs::write(&path, [b"HSJRNL01".as_slice(), &bytes].concat()).unwrap();
        for record in Segment::open(&path).unwrap() {
            if record.is_err() {
                break;
            }
        }
    }
}
