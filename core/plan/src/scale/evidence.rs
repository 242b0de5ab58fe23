//! The evidence of a verdict: the earlier recommendation or changes that limited it; and its fingerprint, which tells verdicts apart.

use std::hash::{Hash, Hasher};
use std::mem::discriminant;
use std::time::Duration;

use model::decision::{EVIDENCE_MAX, Evidence, EvidenceKind};
use model::memory::{ScaleEvent, ScalingMemory};
use model::time::{Now, Time, Wall};

use super::hpa::{Outcome, Verdict};
use super::limit::LimitedBy;

impl Verdict {
    /// The recommendation that held the number, and the changes that the rate policy counted, latest first.
    ///
    /// `before` is the memory before the verdict.
    pub fn evidence(&self, now: Now, before: &ScalingMemory) -> Vec<Evidence> {
        let Outcome::Scaled { stabilized, limited, .. } = &self.outcome else { return Vec::new() };
        let mut found: Vec<(Time, EvidenceKind)> = Vec::new();
        if let Some(slot) = stabilized.held.and_then(|held| held.by) {
            found.push((slot.at, EvidenceKind::Recommended(slot.replicas)));
        }
        if let Some(LimitedBy::Rate(rate)) = limited.by
            && let Some(applied) = rate.policy
        {
            let period = applied.policy.period;
            found.extend(
                changes(&before.scale_out, now.time, period).map(|(at, n)| (at, EvidenceKind::Added(n))),
            );
            found.extend(
                changes(&before.scale_in, now.time, period).map(|(at, n)| (at, EvidenceKind::Removed(n))),
            );
        }
        found.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        found.truncate(EVIDENCE_MAX);
        found.into_iter().map(|(at, kind)| Evidence { at: wall_of(now, at), kind }).collect()
    }

    /// Hashes the outcome and how it came about, without measured values.
    pub(crate) fn hash_fingerprint(&self, hasher: &mut impl Hasher) {
        (self.previous, self.desired, discriminant(&self.outcome)).hash(hasher);
        for metric in &self.metrics {
            metric.is_ok().hash(hasher);
        }
        for fallback in &self.fallbacks {
            fallback.metric.hash(hasher);
        }
        if let Outcome::Scaled { decided_by, raised_from, stabilized, limited } = &self.outcome {
            let held = stabilized.held.map(|held| held.direction);
            (discriminant(decided_by), decided_by.metric(), held, limited.by.map(LimitedBy::reason))
                .hash(hasher);
            raised_from.is_some().hash(hasher);
        }
    }
}

fn changes(events: &[ScaleEvent], now: Time, period: Duration) -> impl Iterator<Item = (Time, u32)> {
    let counts = move |event: &&ScaleEvent| now.since(event.at) < period;
    events.iter().filter(counts).map(|event| (event.at, event.change))
}

/// The calendar time of something earlier on the loop's clock.
fn wall_of(now: Now, earlier: Time) -> Wall {
    let age = u64::try_from(now.time.since(earlier).as_millis()).unwrap_or(u64::MAX);
    Wall::from_millis(now.wall.as_millis().saturating_sub(age))
}
