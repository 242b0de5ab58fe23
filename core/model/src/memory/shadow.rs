//! What is remembered of shadow autoscalers, which are tried beside the acting one without effect.

use std::cmp::Ordering;
use std::time::Duration;

use super::ScalingMemory;
use crate::resource::ObjectName;
use crate::time::{Time, millis};

/// What is remembered of a shadow autoscaler: its own memory, and how it compares with the acting one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShadowMemory {
    /// Its name.
    pub name: ObjectName,
    /// Replicas that it would run.
    pub desired: u32,
    /// What it remembers, as if its decisions had been carried out.
    pub scaling: ScalingMemory,
    /// Since when the two are compared.
    pub since: Time,
    /// Until when they have been compared.
    pub until: Time,
    /// How much of that time counts, in milliseconds: gaps between looks do not.
    pub counted_ms: u64,
    /// Its own figures over that time.
    pub own: Tally,
    /// The figures of the acting one over the same time.
    pub acting: Tally,
    /// When it would have run fewer than the acting one.
    pub below: Difference,
    /// When it would have run more.
    pub above: Difference,
    /// Its latest changes, oldest first; at most [`SHADOW_CHANGES_MAX`].
    pub changes: Vec<SizeChange>,
}

/// The figures of an autoscaler over some time. Sums saturate, which takes a million replicas six centuries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tally {
    /// Replicas that it wanted, times milliseconds.
    pub replica_ms: u64,
    /// How often it wanted more than before.
    pub grown: u32,
    /// How often it wanted fewer.
    pub shrunk: u32,
    /// How often a change went the other way than the last one.
    pub turns: u32,
    /// Which way the last change went.
    pub heading: Heading,
    /// How long a metric was above its target by more than its tolerance, in milliseconds.
    pub over_ms: u64,
    /// How long its metrics gave no number, in milliseconds.
    pub held_ms: u64,
}

/// Which way a number has gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Heading {
    /// None yet.
    #[default]
    None,
    /// To more.
    Out,
    /// To fewer.
    In,
}

/// How long a number differed, and by how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Difference {
    /// How long, in milliseconds.
    pub ms: u64,
    /// By how many replicas, times milliseconds.
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

/// Most changes kept of a shadow: a screen.
pub const SHADOW_CHANGES_MAX: usize = 20;

impl ShadowMemory {
    /// Begins the comparison at `now` with the size and the memory of the acting one.
    pub fn new(name: ObjectName, now: Time, desired: u32, scaling: ScalingMemory) -> Self {
        Self {
            name,
            desired,
            scaling,
            since: now,
            until: now,
            counted_ms: 0,
            own: Tally::default(),
            acting: Tally::default(),
            below: Difference::default(),
            above: Difference::default(),
            changes: Vec::new(),
        }
    }

    /// Counts a span in which it wanted [`Self::desired`] replicas and the acting one wanted `acting`.
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

    /// From `now` on it wants so many replicas.
    pub fn resize(&mut self, now: Time, to: u32) {
        let from = std::mem::replace(&mut self.desired, to);
        self.own.turn(from, to);
        if from != to {
            if self.changes.len() == SHADOW_CHANGES_MAX {
                self.changes.remove(0);
            }
            self.changes.push(SizeChange { at: now, from, to });
        }
    }

    /// Whether `then` differs only in its counts, and is at most `slack` behind.
    pub fn is_kept_by(&self, then: &Self, slack: Duration) -> bool {
        let is_same = self.name == then.name
            && self.desired == then.desired
            && self.since == then.since
            && self.changes == then.changes;
        is_same && (self.until == then.until || self.until.since(then.until) < slack)
    }
}

impl Tally {
    /// Counts a change of size; none when both are the same.
    pub fn turn(&mut self, from: u32, to: u32) {
        let (heading, count) = match to.cmp(&from) {
            Ordering::Greater => (Heading::Out, &mut self.grown),
            Ordering::Less => (Heading::In, &mut self.shrunk),
            Ordering::Equal => return,
        };
        *count = count.saturating_add(1);
        if self.heading != Heading::None && self.heading != heading {
            self.turns = self.turns.saturating_add(1);
        }
        self.heading = heading;
    }

    /// Counts a span in which a metric was above its target, or the metrics gave no number.
    pub fn note(&mut self, passed: Duration, is_over: bool, is_held: bool) {
        for (sum, holds) in [(&mut self.over_ms, is_over), (&mut self.held_ms, is_held)] {
            *sum = sum.saturating_add(if holds { millis(passed) } else { 0 });
        }
    }
}
