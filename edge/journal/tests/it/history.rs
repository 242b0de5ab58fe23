//! Decisions of a real loop are read back: in order, within their size limit, and up to a torn end of a file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use control::{ControlLoop, Outbox};
use journal::decision_record::{DECISION_BYTES_MAX, DecisionRecord};
use journal::{DecisionRun, HISTORY_BYTES_MAX, History, read, recorded_services};
use model::decision::{Decision, Limit, MetricVerdict, Policy};
use model::identity::{ActionId, Epoch, Generation};
use model::input::{Declared, Input, Intent, Report, Start};
use model::measure::{Measured, MeasurementResult, MetricKey, MetricSubject, Series};
use model::name::{NodeName, ServiceName};
use model::quantity::Milli;
use model::resource::ServiceSpec;
use model::settings::Settings;
use model::time::{Now, Time, Wall};

const MONTH: Duration = Duration::from_hours(30 * 24);
const SECOND: Duration = Duration::from_secs(1);
const EVER: (Wall, Wall) = (Wall::from_millis(0), Wall::from_millis(u64::MAX));

/// A loop that sizes one shop by a queue and by a rate, and the history of what it decides.
struct Story {
    control: ControlLoop,
    history: History,
    now: Now,
    /// Every decision that was made, for comparison.
    decided: Vec<(Now, u32)>,
    folder: tempfile::TempDir,
}

fn shop() -> ServiceName {
    ServiceName::parse("shop").unwrap()
}

fn declared() -> Declared {
    let external = |name: &str| {
        serde_json::json!({
            "type": "External",
            "external": {"metric": {"name": name}, "target": {"type": "AverageValue", "averageValue": 10}},
        })
    };
    let written = serde_json::json!({
        "run": {"command": ["./shop"]}, "ports": [{"name": "http"}],
        "scale": {"min": 1, "max": 40, "metrics": [external("queue"), external("rate")]},
    });
    let spec: ServiceSpec = serde_json::from_value(written).unwrap();
    let service = serde_json::json!({
        "apiVersion": "homeostat/v1", "kind": "Service", "metadata": {"name": "shop"}, "spec": spec,
    });
    let model::resource::Resource::Service(service) = serde_json::from_value(service).unwrap() else {
        panic!("a service was written")
    };
    let autoscaler = service.autoscaler().unwrap();
    let (revision, generation) = (Generation(1), Generation(1));
    Declared { name: shop(), revision, generation, spec: service.spec, autoscaler }
}

impl Story {
    fn begun() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut story = Self {
            control: ControlLoop::new(Settings::default()),
            history: History::new(folder.path().to_path_buf(), MONTH),
            now: Now { time: Time::from_millis(1_000_000), wall: Wall::from_millis(1_700_000_000_000) },
            decided: Vec::new(),
            folder,
        };
        story.history.begin_run(Epoch(1)).unwrap();
        let node = NodeName::parse("here").unwrap();
        let settings = Arc::new(Settings::default());
        story.put(&Input::Started(Start { epoch: Epoch(1), node: node.clone(), seed: 7, settings }));
        story.put(&Input::Intent(Intent::Declare(Arc::new(declared()))));
        let (up_to, replicas) = (ActionId::default(), Vec::new());
        story.put(&Input::Report(Report::Inventory { node, up_to, replicas }));
        story
    }

    fn put(&mut self, input: &Input) {
        let mut out = Outbox::default();
        self.control.step(self.now, input, &mut out);
        for decided in &out.decisions {
            self.decided.push((decided.at, decided.explanation.desired()));
            self.history.append(decided).unwrap();
        }
    }

    /// A second with this length of the queue and this rate of requests, in thousandths.
    fn second(&mut self, queue: i64, rate: i64) {
        let measured = |name: &str, value| Measured {
            source: ServiceName::parse(name).unwrap(),
            key: MetricKey { metric: name.into(), subject: MetricSubject::External },
            stale_after: Duration::from_mins(1),
            result: MeasurementResult::Series(vec![Series { labels: [].into(), value: Milli(value) }]),
        };
        self.put(&Input::Report(Report::Measured(vec![measured("queue", queue), measured("rate", rate)])));
        self.later(SECOND);
        self.put(&Input::Woke);
    }

    fn later(&mut self, span: Duration) {
        let ms = u64::try_from(span.as_millis()).unwrap();
        let wall = Wall::from_millis(self.now.wall.as_millis() + ms);
        self.now = Now { time: self.now.time + span, wall };
    }

    fn runs(&mut self) -> Vec<DecisionRun> {
        self.history.flush().unwrap();
        read(self.folder.path(), &shop(), EVER, 100_000).unwrap().runs
    }

    fn segments(&self) -> Vec<PathBuf> {
        segments(self.folder.path())
    }
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let Ok(files) = fs::read_dir(folder.join("shop")) else { return Vec::new() };
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_decision_is_in_one_run_of_its_outcome() {
    let mut story = Story::begun();
    for second in 0..400 {
        // A queue of 35 that becomes one of 55, and noise that changes nothing.
        story.second(if second < 200 { 35_000 } else { 55_000 } + second % 7, 1000);
    }
    let kept = story.runs();
    assert_eq!(kept.iter().map(|it| it.count).sum::<u64>(), story.decided.len() as u64, "none is lost");
    assert!(kept.len() < 12, "{} runs", kept.len());
    for (at, desired) in &story.decided {
        let of = |it: &&DecisionRun| {
            it.from.time <= at.time && at.time <= it.to.time && it.record.desired == *desired
        };
        assert!(kept.iter().any(|it| of(&it)), "the decision at {} for {desired}", at.time);
    }
    let calm = kept.iter().max_by_key(|it| it.count).unwrap();
    let (low, high) = calm.ratios[0].expect("it was measured");
    assert!(low < high && high < 1.1, "{low} to {high}");
    assert!(!calm.record.prospects.is_empty() && !calm.record.summary.is_empty());
}

#[test]
fn the_latest_runs_within_the_limit_are_returned() {
    let mut story = Story::begun();
    for second in 0..600 {
        story.second(20_000 + (second / 60) * 10_000, 1000);
    }
    let all = story.runs();
    let two = read(story.folder.path(), &shop(), EVER, 2).unwrap();
    assert!(two.is_truncated);
    assert_eq!(two.runs, all[all.len() - 2..]);
    let (from, to) = (all[3].from.wall, all[5].from.wall);
    let within = read(story.folder.path(), &shop(), (from, to), 100).unwrap();
    let is_within = |it: &&DecisionRun| it.to.wall >= from && it.from.wall <= to;
    assert_eq!(within.runs, all.iter().filter(is_within).cloned().collect::<Vec<_>>());
    assert_eq!(recorded_services(story.folder.path()).unwrap(), [shop()]);
    let other = ServiceName::parse("other").unwrap();
    assert_eq!(read(story.folder.path(), &other, EVER, 9).unwrap(), journal::DecisionHistory::default());
}

#[test]
fn a_torn_end_loses_only_its_record_and_the_next_run_continues() {
    let mut story = Story::begun();
    for second in 0..90 {
        story.second(10_000 + (second / 30) * 20_000, 1000);
    }
    let whole = story.runs();
    let path = story.segments().pop().unwrap();
    let bytes = fs::read(&path).unwrap();
    for end in (0..bytes.len()).step_by(37) {
        fs::write(&path, &bytes[..end]).unwrap();
        let kept = read(story.folder.path(), &shop(), EVER, 100).unwrap().runs;
        assert!(kept.len() <= whole.len());
        assert!(kept.iter().zip(&whole).all(|(kept, whole)| kept.record == whole.record), "cut at {end}");
    }
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 1;
    fs::write(&path, &damaged).unwrap();
    let before = read(story.folder.path(), &shop(), EVER, 100).unwrap().runs.len();
    assert!(before < whole.len());

    story.history = History::new(story.folder.path().to_path_buf(), MONTH);
    story.history.begin_run(Epoch(2)).unwrap();
    story.second(50_000, 1000);
    let kept = story.runs();
    assert_eq!((kept.len(), kept[before].epoch), (before + 1, Epoch(2)));
}

#[test]
fn only_expired_segments_are_removed() {
    let mut story = Story::begun();
    story.second(30_000, 1000);
    story.later(Duration::from_hours(29 * 24));
    // Another run writes to another segment.
    story.history = History::new(story.folder.path().to_path_buf(), MONTH);
    story.history.begin_run(Epoch(2)).unwrap();
    story.second(30_000, 1000);
    assert_eq!(story.segments().len(), 2);
    story.later(Duration::from_hours(2 * 24));
    story.second(30_000, 1000);
    assert_eq!(story.segments().len(), 1);
    assert!(story.runs().iter().all(|it| it.epoch == Epoch(2)));
}

/// How large thirty days of a busy service are: two metrics with noise of ±20 % around a load that swings from two replicas to
/// twenty and back every four hours, decided upon each second. Six hours are run, and taken for 30 days.
#[test]
fn thirty_days_of_a_busy_service_are_within_fifty_megabytes() {
    const HOURS: i64 = 6;
    let mut story = Story::begun();
    let mut noise = 12_345_u64;
    for second in 0..HOURS * 3600 {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let wave = 110.0 - 90.0 * (second as f64 / (4.0 * 3600.0) * std::f64::consts::TAU).cos();
        let load = (wave * 1000.0 * (0.8 + 0.4 * (noise >> 33) as f64 / f64::from(1 << 31))) as i64;
        story.second(load, load / 2);
    }
    let kept = story.runs();
    let bytes: u64 = story.segments().iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    let changes = story.decided.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
    let month = bytes * (30 * 24) / HOURS as u64;
    println!(
        "{HOURS} h: {} decisions, {changes} changes of size, {} runs, {bytes} bytes; 30 days: {} MB",
        story.decided.len(),
        kept.len(),
        month / 1_000_000
    );
    assert!(month < 50_000_000, "{month} bytes in 30 days");
    let longest = kept.iter().map(|it| it.record.encoded().len()).max().unwrap();
    assert!(longest <= DECISION_BYTES_MAX, "{longest} bytes");
    assert!(changes >= 20, "it is no busy service: {changes}");
}

/// A decision with long sentences, on as many metrics with such names.
fn lengthy(metrics: usize, name: &str) -> Decision {
    let long = || "a sentence that is very long ".repeat(40).into();
    let metric = |n| MetricVerdict {
        name: format!("metric-{n}-{name}").into(),
        current: "1".into(),
        target: "2".into(),
        ratio: Some(0.5),
        proposal: Some(4),
        samples: None,
        note: long(),
    };
    Decision {
        service: shop(),
        at: Now::default(),
        desired: 4,
        previous: 3,
        policy: Policy::Hpa,
        metrics: (0..metrics).map(metric).collect(),
        tolerance: None,
        limits: vec![Limit { name: "ScaleUpLimit", from: 5, to: 4, note: long() }; 4],
        evidence: Vec::new(),
        conditions: Vec::new(),
        guard: None,
        shadows: Vec::new(),
        summary: long(),
    }
}

#[test]
fn no_record_is_longer_than_two_kibibytes() {
    let names = ["x".repeat(60), "x".repeat(4000), "\u{1f986}".repeat(1000)];
    for (metrics, name) in [(30, &names[0]), (1, &names[1]), (30, &names[1]), (30, &names[2])] {
        let record = DecisionRecord::new(&lengthy(metrics, name), &[], None);
        assert!(record.encoded().len() <= DECISION_BYTES_MAX, "{} bytes", record.encoded().len());
        assert!(record.summary.starts_with("a sentence") && record.metrics[0].name.starts_with("metric-0-"));
    }
}

#[test]
fn a_service_that_always_changes_stays_within_its_size() {
    let mut story = Story::begun();
    story.second(30_000, 1000);
    story.history.flush().unwrap();
    // As many full segments as there is room for, and two more.
    let old = fs::read(&story.segments()[0]).unwrap();
    let full = [old, vec![0; 1 << 20]].concat();
    for number in 2..=50 {
        fs::write(story.folder.path().join(format!("shop/{number:010}.decisions")), &full).unwrap();
    }
    story.history = History::new(story.folder.path().to_path_buf(), MONTH);
    story.history.begin_run(Epoch(2)).unwrap();
    story.second(30_000, 1000);
    let bytes: u64 = story.segments().iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(bytes <= HISTORY_BYTES_MAX, "{bytes} bytes");
    assert_eq!(story.runs().last().map(|it| it.epoch), Some(Epoch(2)));
}

#[test]
fn a_history_that_is_written_keeps_no_descriptor() {
    let mut story = Story::begun();
    story.second(30_000, 1000);
    story.second(60_000, 1000);
    assert!(!story.segments().is_empty());
    let open = || {
        let links = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
        links.filter_map(|link| fs::read_link(link).ok()).filter(|file| file.starts_with(story.folder.path()))
    };
    assert_eq!(open().collect::<Vec<_>>(), Vec::<PathBuf>::new());
}
