//! Replicas that were removed and soon added again.

use std::time::Duration;

use model::resource::{Flaps, Span};
use model::time::Wall;

use super::{Advice, DecisionRun, Kind, Remedy, View, Worth, between};

/// Replicas that are added so soon after some were removed need not have been removed.
const FLAP: Duration = Duration::from_mins(10);

/// More than so many of these in a day are too many: docs/decisions/0036.
const FLAPS_A_DAY: f64 = 4.0;

/// The limit on changes of direction that is advised for an hour: out and in, twice.
const FLAPS_ADVISED: u32 = 4;

impl View<'_> {
    /// A limit on changes of direction, where replicas came back too often.
    pub(super) fn flapping(&self) -> Option<Advice> {
        if self.spec.scale.flaps.is_some() {
            return None;
        }
        let mut runs: Vec<&DecisionRun> = self.past.iter().collect();
        runs.sort_by_key(|run| run.from);
        let (mut flaps, mut starts) = (0_u32, 0_u32);
        let mut shrunk: Option<(Wall, u32)> = None;
        for pair in runs.windows(2) {
            let (before, after) = (pair[0].desired, pair[1].desired);
            let at = pair[1].from;
            if after < before {
                shrunk = Some((at, before - after));
            } else if after > before
                && let Some((then, by)) = shrunk.take()
                && between(then, at) <= FLAP
            {
                flaps += 1;
                starts += by.min(after - before);
            }
        }
        let days = self.looked_at().as_secs_f64() / 86_400.0;
        let note = format!(
            "{flaps} times in {days:.1} days replicas were added less than {} minutes after others had been removed",
            FLAP.as_secs() / 60
        );
        (f64::from(flaps) > FLAPS_A_DAY * days).then_some(Advice {
            kind: Kind::Flapping,
            note,
            worth: Worth::SparedStarts(starts),
            remedy: Remedy::Flaps(Flaps { most: FLAPS_ADVISED, per: Span::from_secs(3600) }),
        })
    }
}
