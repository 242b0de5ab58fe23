//! Replicas that were removed and soon added again.

use std::time::Duration;

use model::resource::{Flaps, Span};
use model::time::Wall;

use super::{Advice, Benefit, DecisionRun, History, Kind, Remedy, between};

/// A flap: replicas are added so soon after others were removed that these need not have been removed.
const FLAP: Duration = Duration::from_mins(10);

/// More flaps in a day are too many: docs/decisions/0036.
const FLAPS_A_DAY: f64 = 4.0;

/// The advised limit on changes of direction in an hour: out and in, twice.
const FLAPS_ADVISED: u32 = 4;

impl History<'_> {
    /// Advises a limit on changes of direction where there were too many flaps.
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
        let days = self.span().as_secs_f64() / 86_400.0;
        let note = format!(
            "{flaps} times in {days:.1} days replicas were added less than {} minutes after others had been removed",
            FLAP.as_secs() / 60
        );
        (f64::from(flaps) > FLAPS_A_DAY * days).then_some(Advice {
            kind: Kind::Flapping,
            note,
            benefit: Benefit::SparedStarts(starts),
            remedy: Remedy::Flaps(Flaps { most: FLAPS_ADVISED, per: Span::from_secs(3600) }),
        })
    }
}
