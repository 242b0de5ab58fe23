//! How often replicas are throttled by their processor limit, learned minute by minute.
//!
//! The kernel enforces a limit in each window of 100 ms. A replica whose mean usage is far below its limit can therefore be throttled at
//! every request. The share of throttled windows is also the metric of the common alert for Kubernetes (`CPUThrottlingHigh` of
//! kubernetes-mixin).

use std::time::Duration;

use model::histogram::Width;
use model::input::Throttling;
use model::memory::ThrottlingMemory;
use model::quantity::MilliCpu;
use model::resource::Quantity;
use model::time::Time;

use crate::place::Place;
use crate::series::Series;

/// The time of each remembered share.
const MINUTE: Duration = Duration::from_mins(1);

/// After a longer gap between reports, the share would include a time that was not observed.
const MINUTE_MAX: Duration = Duration::from_mins(5);

/// The resolution of shares: a hundredth, in thousandths.
const WIDTH: Width = Width(10);

/// The percentile of the remembered minutes that is reported: one in twenty was worse.
const MINUTES_PERCENT: u32 = 95;

/// How often one life is throttled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Throttle {
    latest: (Time, Throttling),
    windows: Series,
    throttled: Series,
    /// The begin of the current minute: when, and the counters then.
    minute: Option<(Time, Throttling)>,
}

impl Throttle {
    fn new(at: Time, counted: Throttling) -> Self {
        let (windows, throttled) = (Series::default(), Series::default());
        Self { latest: (at, counted), windows, throttled, minute: None }
    }

    /// The counters since the start of the replica, and when they were read.
    pub fn latest(&self) -> (Time, Throttling) {
        self.latest
    }

    /// The share of the kernel's windows over the last `window` in which it was throttled, from 0 to 1; `None` when it ran in none.
    pub fn share(&self, window: Duration) -> Option<f64> {
        let ran = self.windows.growth(window)?.by;
        let throttled = self.throttled.growth(window)?.by;
        (ran > 0).then(|| throttled as f64 / ran as f64)
    }
}

/// Observes a report of the replica of `place`. `memory` learns from it only while the replica has the `declared` limit.
pub(crate) fn observe(
    memory: &mut ThrottlingMemory,
    place: &mut Place,
    (at, counted): (Time, Throttling),
    declared: Option<Quantity>,
) {
    let given = place.resources.map_or(declared, |given| given.cpu);
    let counts = place.is_ready() && given == declared;
    let measured = place.measured.get_or_insert_default();
    let throttle = measured.throttle.get_or_insert_with(|| Throttle::new(at, counted));
    throttle.latest = (at, counted);
    throttle.windows.push(at, counted.windows);
    throttle.throttled.push(at, counted.throttled);
    let Some(limit) = declared.map(limit).filter(|_| counts) else {
        throttle.minute = None;
        return;
    };
    let Some((begun, before)) = throttle.minute else {
        throttle.minute = Some((at, counted));
        return;
    };
    let over = at.since(begun);
    if over < MINUTE {
        return;
    }
    throttle.minute = Some((at, counted));
    if over <= MINUTE_MAX {
        if memory.limit != limit {
            *memory = ThrottlingMemory { limit, ..ThrottlingMemory::default() };
        }
        memory.shares.add(at, thousandths(before, counted), WIDTH);
        memory.minutes = memory.minutes.saturating_add(1);
    }
}

/// Throttled windows between two counts, in thousandths of all windows; 0 when it ran in none.
fn thousandths(before: Throttling, after: Throttling) -> u64 {
    let ran = after.windows.saturating_sub(before.windows);
    let throttled = after.throttled.saturating_sub(before.throttled);
    throttled.saturating_mul(1000).checked_div(ran).unwrap_or(0)
}

fn limit(declared: Quantity) -> MilliCpu {
    MilliCpu(u64::try_from(declared.milli()).unwrap_or(0))
}

/// The share of the kernel's windows, from 0 to 1, in which replicas were throttled in the worst minute of twenty; `None` before the first
/// minute, and for a limit other than the declared one.
pub fn throttled_share(memory: &ThrottlingMemory, declared: Quantity) -> Option<f64> {
    let worst =
        memory.shares.percentile(MINUTES_PERCENT, WIDTH).filter(|_| memory.limit == limit(declared))?;
    Some(worst.min(1000) as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use model::identity::{ActionId, Generation, Incarnation};
    use model::plan::Role;
    use model::resource::Resources;

    use super::*;
    use crate::place::{Health, Stage};

    const BEGIN: Time = Time::from_millis(1_000_000_000);

    fn quarter() -> Quantity {
        Quantity::from_milli(250)
    }

    fn running(ready: bool) -> Place {
        let mut place = Place::empty(Role::Active, BEGIN);
        let health =
            Health { since: BEGIN, started: true, ready, ready_changed: BEGIN, unhealthy_since: None };
        place.begin(BEGIN, Incarnation(1), Generation(1), (ActionId::default(), Stage::Running(health)));
        place
    }

    /// Two reports a second for some minutes, of five windows each, a percentage of which are throttled.
    fn run(memory: &mut ThrottlingMemory, place: &mut Place, minutes: u64, percent: u64) {
        for _ in 0..minutes * 120 {
            let (at, before) = place.throttle().map_or_else(
                || (BEGIN, Throttling { windows: 0, throttled: 0, waited: Duration::ZERO }),
                Throttle::latest,
            );
            let windows = before.windows + 100;
            let throttled = before.throttled + percent;
            let counted = Throttling { windows, throttled, waited: Duration::from_millis(windows) };
            observe(memory, place, (at + Duration::from_millis(500), counted), Some(quarter()));
        }
    }

    #[test]
    fn the_share_is_that_of_the_worst_minutes() {
        let (mut memory, mut place) = (ThrottlingMemory::default(), running(true));
        run(&mut memory, &mut place, 93, 0);
        assert!(throttled_share(&memory, quarter()).is_some_and(|share| share <= 0.01));
        run(&mut memory, &mut place, 7, 60);
        let share = throttled_share(&memory, quarter()).expect("it was counted");
        assert!((0.6..0.64).contains(&share), "the end of the bucket of 60 %: {share}");
        assert_eq!(memory.minutes, 99, "the first report begins the first minute");
        let now = place.throttle().and_then(|throttle| throttle.share(Duration::from_secs(2)));
        assert_eq!(now, Some(0.6));
    }

    #[test]
    fn starting_replicas_and_replicas_of_other_sizes_are_not_counted() {
        let (mut memory, mut place) = (ThrottlingMemory::default(), running(false));
        run(&mut memory, &mut place, 5, 100);
        assert_eq!(memory, ThrottlingMemory::default());
        assert!(place.throttle().is_some_and(|throttle| throttle.share(Duration::from_secs(2)) == Some(1.0)));

        let mut place = running(true);
        place.resources = Some(Resources { cpu: Some(Quantity::from_milli(500)), memory: None });
        run(&mut memory, &mut place, 5, 100);
        assert_eq!(memory, ThrottlingMemory::default());
    }

    #[test]
    fn another_limit_resets_the_shares() {
        let (mut memory, mut place) = (ThrottlingMemory::default(), running(true));
        memory.limit = MilliCpu(100);
        memory.minutes = 5000;
        memory.shares.add(BEGIN, 1000, WIDTH);
        assert_eq!(throttled_share(&memory, quarter()), None);
        run(&mut memory, &mut place, 3, 0);
        assert_eq!((memory.limit, memory.minutes), (MilliCpu(250), 2));
    }

    #[test]
    fn a_replica_that_runs_in_no_window_is_throttled_in_none() {
        let (mut memory, mut place) = (ThrottlingMemory::default(), running(true));
        let counted = Throttling { windows: 7, throttled: 7, waited: Duration::ZERO };
        for second in 0..130 {
            observe(&mut memory, &mut place, (BEGIN + Duration::from_secs(second), counted), Some(quarter()));
        }
        assert_eq!(memory.minutes, 2);
        assert!(throttled_share(&memory, quarter()).is_some_and(|share| share <= 0.01));
        assert_eq!(place.throttle().expect("it was counted").share(Duration::from_secs(2)), None);
    }
}
