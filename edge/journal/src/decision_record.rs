//! The record of a decision, as text, so that a later version shows what was shown at the time.

use model::decision::{self, Decision, EVIDENCE_MAX, Evidence, Prospect};
use model::identity::Epoch;
use model::reason::Reason;
use model::time::{Now, Time, Wall};
use serde::{Deserialize, Serialize};

/// The longest record of a decision, in bytes; a longer one loses its least needed parts.
///
/// 2 KiB: a decision on four metrics takes about half of it.
pub const DECISION_BYTES_MAX: usize = 2 << 10;

/// The longest sentence in a shortened record, in characters.
const SENTENCE_MAX: usize = 120;

/// Metrics in a shortened record.
const METRICS_MAX: usize = 6;

/// A run of decisions with the same outcome and reason: the first one in full, their number, and the time of the last.
#[derive(Clone, Debug, PartialEq)]
pub struct DecisionRun {
    /// The epoch in which they were made.
    pub epoch: Epoch,
    /// When the first was made.
    pub from: Now,
    /// When the last was made.
    pub to: Now,
    /// How many there were.
    pub count: u64,
    /// The smallest and the largest ratio of each metric, in the order of the record; `None` for a metric without measurements.
    pub ratios: Vec<Option<(f64, f64)>>,
    /// The first of them.
    pub record: DecisionRecord,
}

/// One decision in full. The fields are those of [`Decision`], as text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// Replicas wanted from then on.
    pub desired: u32,
    /// Replicas wanted before.
    pub previous: u32,
    /// Which policy decided.
    pub policy: String,
    /// What each metric proposed.
    pub metrics: Vec<Metric>,
    /// The tolerance above and below 1; `None` when no ratio was taken.
    pub tolerance: Option<(f64, f64)>,
    /// What changed the number after the metrics.
    pub limits: Vec<Limit>,
    /// What the limits are based on: recommendations, additions and removals, with their times and numbers of replicas.
    pub evidence: Vec<(u64, Earlier, u32)>,
    /// What the guard refused.
    pub guard: Option<String>,
    /// What would have to change for another outcome.
    pub prospects: Vec<ProspectRecord>,
    /// The decision in one sentence.
    pub summary: String,
}

/// What one metric proposed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// What was measured, with its unit.
    pub current: String,
    /// The target, with its unit.
    pub target: String,
    /// Measured ÷ target.
    pub ratio: Option<f64>,
    /// Replicas that it asks for.
    pub proposal: Option<u32>,
    /// Replicas with a sample that was used, not ready yet, without a sample, and terminating.
    pub samples: Option<[u32; 4]>,
    /// The arithmetic, or why there is none.
    pub note: String,
}

/// A step that changed the number after the metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Which limit.
    pub name: String,
    /// Replicas before it.
    pub from: u32,
    /// Replicas after it.
    pub to: u32,
    /// Its numbers in a sentence.
    pub note: String,
}

/// What happened earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Earlier {
    /// Replicas were recommended.
    Recommended,
    /// Replicas were added.
    Added,
    /// Replicas were removed.
    Removed,
}

/// Another outcome, and what would have had to change for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProspectRecord {
    /// Replicas wanted then.
    pub desired: u32,
    /// What would have had to change.
    pub need: String,
    /// The levels at which metrics would have had to be.
    pub levels: Vec<(String, String)>,
    /// The time from which on it holds, in milliseconds since 1970.
    pub at: Option<u64>,
    /// All of it in one sentence.
    pub note: String,
}

impl DecisionRecord {
    /// Formats a decision; `guard` is what the guard refused of it.
    ///
    /// Never longer than [`DECISION_BYTES_MAX`]: if necessary, sentences are shortened, then prospects and metrics are left out.
    pub fn new(decision: &Decision, prospects: &[Prospect], guard: Option<&Reason>) -> Self {
        let guard = guard.or(decision.guard.as_ref()).map(ToString::to_string);
        let mut record = Self {
            desired: decision.desired,
            previous: decision.previous,
            policy: decision.policy.name().to_owned(),
            metrics: decision.metrics.iter().map(Metric::from).collect(),
            tolerance: decision.tolerance.map(|band| (band.up, band.down)),
            limits: decision.limits.iter().map(Limit::from).collect(),
            evidence: decision.evidence.iter().map(earlier).collect(),
            guard,
            prospects: prospects.iter().map(ProspectRecord::from).collect(),
            summary: decision.summary.to_string(),
        };
        record.shorten();
        record
    }

    fn shorten(&mut self) {
        let reductions: [fn(&mut Self); 7] = [
            |it| it.sentences().for_each(|sentence| truncate(sentence, SENTENCE_MAX)),
            |it| it.prospects.clear(),
            |it| it.metrics.truncate(METRICS_MAX),
            |it| it.evidence.clear(),
            |it| it.sentences().for_each(|sentence| truncate(sentence, SENTENCE_MAX / 4)),
            // A manifest does not bound the names of metrics.
            |it| it.names().for_each(|name| truncate(name, SENTENCE_MAX / 4)),
            |it| it.metrics.truncate(1),
        ];
        for reduce in reductions {
            if self.encoded().len() <= DECISION_BYTES_MAX {
                return;
            }
            reduce(self);
        }
    }

    /// The encoded record.
    pub fn encoded(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("postcard can hold numbers and texts")
    }

    /// The names of metrics, and their values as text.
    fn names(&mut self) -> impl Iterator<Item = &mut String> {
        self.metrics.iter_mut().flat_map(|metric| [&mut metric.name, &mut metric.current, &mut metric.target])
    }

    fn sentences(&mut self) -> impl Iterator<Item = &mut String> {
        let metrics = self.metrics.iter_mut().map(|metric| &mut metric.note);
        let limits = self.limits.iter_mut().map(|limit| &mut limit.note);
        let prospects = self.prospects.iter_mut().map(|it| &mut it.note);
        metrics.chain(limits).chain(prospects).chain(&mut self.guard).chain([&mut self.summary])
    }
}

fn truncate(sentence: &mut String, chars: usize) {
    if let Some((end, _)) = sentence.char_indices().nth(chars) {
        sentence.truncate(end);
        sentence.push('…');
    }
}

fn earlier(it: &Evidence) -> (u64, Earlier, u32) {
    let (what, replicas) = match it.kind {
        decision::EvidenceKind::Recommended(replicas) => (Earlier::Recommended, replicas),
        decision::EvidenceKind::Added(replicas) => (Earlier::Added, replicas),
        decision::EvidenceKind::Removed(replicas) => (Earlier::Removed, replicas),
    };
    (it.at.as_millis(), what, replicas)
}

impl From<&decision::MetricVerdict> for Metric {
    fn from(verdict: &decision::MetricVerdict) -> Self {
        Self {
            name: verdict.name.to_string(),
            current: verdict.current.to_string(),
            target: verdict.target.to_string(),
            ratio: verdict.ratio,
            proposal: verdict.proposal,
            samples: verdict.samples.map(|it| [it.used, it.unready, it.missing, it.ignored]),
            note: verdict.note.to_string(),
        }
    }
}

impl From<&decision::Limit> for Limit {
    fn from(limit: &decision::Limit) -> Self {
        Self { name: limit.name.to_owned(), from: limit.from, to: limit.to, note: limit.note.to_string() }
    }
}

impl From<&Prospect> for ProspectRecord {
    fn from(it: &Prospect) -> Self {
        Self {
            desired: it.desired,
            need: it.requires.name().to_owned(),
            levels: it.levels.iter().map(|level| (level.name.to_string(), level.level.to_string())).collect(),
            at: it.at.map(Wall::as_millis),
            note: it.note.to_string(),
        }
    }
}

/// The two clocks as they are stored.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Clocks {
    time: u64,
    wall: u64,
}

impl From<Now> for Clocks {
    fn from(now: Now) -> Self {
        Self { time: now.time.as_millis(), wall: now.wall.as_millis() }
    }
}

impl From<Clocks> for Now {
    fn from(clocks: Clocks) -> Self {
        Self { time: Time::from_millis(clocks.time), wall: Wall::from_millis(clocks.wall) }
    }
}

const _: () = assert!(EVIDENCE_MAX <= 16, "the evidence must leave space for the rest of a record");
