//! State of shadow autoscalers, which run beside the acting one without effect, and how they compare with it.

use std::cmp::Ordering;
use std::time::Duration;

use super::{ScaleDirection, ScalingMemory};
use crate::resource::ObjectName;
use crate::time::{Time, millis};

/// State of one shadow autoscaler, and its comparison with the acting one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShadowMemory {
    /// Its name.
    pub name: ObjectName,
    /// Replicas that it wants.
    pub desired: u32,
    /// Its own scaling state, as if its decisions had been carried out.
    pub scaling: ScalingMemory,
    /// When the comparison began.
    pub since: Time,
    /// When the comparison was last updated.
    pub until: Time,
    /// The time that was compared, in milliseconds, without gaps in which nothing was evaluated.
    pub counted_ms: u64,
    /// Its own figures over that time.
    pub own: ScalingTally,
    /// The figures of the acting one over the same time.
    pub acting: ScalingTally,
    /// The time in which it wanted fewer replicas than the acting one.
    pub below: Difference,
    /// The time in which it wanted more.
    pub above: Difference,
    /// Its latest changes of size, oldest first; at most [`SHADOW_CHANGES_MAX`].
    pub changes: Vec<SizeChange>,
}

/// The figures of an autoscaler over some time. Sums saturate, which a million replicas reach after six centuries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ScalingTally {
    /// Replicas that it wanted, times milliseconds.
    pub replica_ms: u64,
    /// How often it scaled out.
    pub scale_outs: u32,
    /// How often it scaled in.
    pub scale_ins: u32,
    /// How often the direction changed from one change of size to the next.
    pub reversals: u32,
    /// The direction of the last change; `None` before the first.
    pub last_direction: Option<ScaleDirection>,
    /// How long a metric was above its target by more than its tolerance, in milliseconds.
    pub over_target_ms: u64,
    /// How long its metrics gave no number of replicas, in milliseconds.
    pub undecided_ms: u64,
}

/// How long two numbers of replicas differed, and by how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Difference {
    /// How long, in milliseconds.
    pub ms: u64,
    /// The difference in replicas, times milliseconds.
    pub replica_ms: u64,
}

/// A change of a number of replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SizeChange {
    /// When.
    pub at: Time,
    /// Before.
    pub from: u32,
    /// From then on.
    pub to: u32,
}

/// Most changes of size kept for a shadow: as many as fit on a screen.
pub const SHADOW_CHANGES_MAX: usize = 20;

impl ShadowMemory {
    /// Begins the comparison at `now`, with the size and the state of the acting autoscaler.
    pub fn new(name: ObjectName, now: Time, desired: u32, scaling: ScalingMemory) -> Self {
        Self {
            name,
            desired,
            scaling,
            since: now,
            until: now,
            counted_ms: 0,
            own: ScalingTally::default(),
            acting: ScalingTally::default(),
            below: Difference::default(),
            above: Difference::default(),
            changes: Vec::new(),
        }
    }

    /// Adds a span of time in which it wanted [`Self::desired`] replicas and the acting autoscaler wanted `acting`.
    pub fn count(&mut self, passed: Duration, acting: u32) {
        let ms = millis(passed);
        let times = |replicas: u32| ms.saturating_mul(u64::from(replicas));
        self.counted_ms = self.counted_ms.saturating_add(ms);
        for (tally, replicas) in [(&mut self.own, self.desired), (&mut self.acting, acting)] {
            tally.replica_ms = tally.replica_ms.saturating_add(times(replicas));
        }
        let difference = match self.desired.cmp(&acting) {
            Ordering::Less => &mut self.below,
            Ordering::Greater => &mut self.above,
            Ordering::Equal => return,
        };
        difference.ms = difference.ms.saturating_add(ms);
        difference.replica_ms = difference.replica_ms.saturating_add(times(self.desired.abs_diff(acting)));
    }

    /// Records that it wants `to` replicas from `now` on.
    pub fn resize(&mut self, now: Time, to: u32) {
        let from = std::mem::replace(&mut self.desired, to);
        self.own.record_change(from, to);
        if from != to {
            if self.changes.len() == SHADOW_CHANGES_MAX {
                self.changes.remove(0);
            }
            self.changes.push(SizeChange { at: now, from, to });
        }
    }

    /// Whether `saved`, an earlier state, differs at most in its counts and is less than `slack` behind.
    pub fn is_covered_by(&self, saved: &Self, slack: Duration) -> bool {
        let is_same = self.name == saved.name
            && self.desired == saved.desired
            && self.since == saved.since
            && self.changes == saved.changes;
        is_same && (self.until == saved.until || self.until.since(saved.until) < slack)
    }
}

impl ScalingTally {
    /// Counts a change of size; no change when both sizes are equal.
    pub fn record_change(&mut self, from: u32, to: u32) {
        let (direction, count) = match to.cmp(&from) {
            Ordering::Greater => (ScaleDirection::Out, &mut self.scale_outs),
            Ordering::Less => (ScaleDirection::In, &mut self.scale_ins),
            Ordering::Equal => return,
        };
        *count = count.saturating_add(1);
        if self.last_direction.replace(direction).is_some_and(|last| last != direction) {
            self.reversals = self.reversals.saturating_add(1);
        }
    }

    /// Adds a span of time in which a metric was above its target, or the metrics gave no number of replicas.
    pub fn record_time(&mut self, passed: Duration, is_over_target: bool, is_undecided: bool) {
        let sums = [(&mut self.over_target_ms, is_over_target), (&mut self.undecided_ms, is_undecided)];
        for (sum, _) in sums.into_iter().filter(|(_, counts)| *counts) {
            *sum = sum.saturating_add(millis(passed));
        }
    }
}
