//! Known events, and their lift of the load of each step.

use std::ops::Range;
use std::time::Duration;

use forecast::{Forecast, Quantile};
use model::resource::{EventEffect, KnownEvent, ObjectName, Window, Zone};
use model::time::{Now, Time, Wall};

use super::{begin_of, number_of};

/// The effect of known events on the usual load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lift {
    /// The greatest factor of the events in progress, which multiplies the load.
    factor: f64,
    /// The minimum load: the highest of the events in progress.
    min: f64,
}

impl Lift {
    /// No change.
    pub const NONE: Self = Self { factor: 1.0, min: 0.0 };

    /// The usual load, lifted.
    #[must_use]
    pub fn of(self, usual: f64) -> f64 {
        (usual * self.factor).max(self.min)
    }

    /// Whether it increases the usual load.
    #[must_use]
    pub fn is_increase(self) -> bool {
        self.factor > 1.0 || self.min > 0.0
    }

    /// The greater of both at any load.
    fn max(self, other: Self) -> Self {
        Self { factor: self.factor.max(other.factor), min: self.min.max(other.min) }
    }

    /// The lift of a step by an event that covers all of it or a part.
    fn by(effect: EventEffect, covers_step: bool) -> Self {
        match effect {
            // A step that is only partly within the event may still have the usual load.
            EventEffect::Factor(factor) if covers_step => Self { factor: factor.into(), ..Self::NONE },
            EventEffect::Factor(factor) => Self { factor: f64::from(factor).max(1.0), ..Self::NONE },
            EventEffect::Load(load) => Self { min: load.milli() as f64 / 1000.0, ..Self::NONE },
        }
    }

    /// The forecast with every quantile lifted.
    pub(super) fn apply(self, mut forecast: Forecast) -> Forecast {
        for Quantile { load, uncalibrated, .. } in &mut forecast.quantiles {
            (*load, *uncalibrated) = (self.of(*load), self.of(*uncalibrated));
        }
        forecast
    }
}

/// One occurrence of a known event that is in progress or ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpcomingEvent {
    /// Its name.
    pub name: ObjectName,
    /// Its time.
    pub window: Window,
    /// The time zone in which it was declared.
    pub timezone: Zone,
    /// Its effect on the load.
    pub effect: EventEffect,
    /// Whether it is within the horizon of the forecast that is acted on.
    pub is_near: bool,
}

/// The most listed occurrences of one event.
const OCCURRENCES_MAX: usize = 4;

/// Converts between steps of the loop's clock and the wall clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    pub(super) step: Duration,
    pub(super) now: Now,
}

impl Steps {
    /// The begin of a step by the current wall clock.
    fn begin(self, number: u64) -> Wall {
        let at = begin_of(number, self.step).as_millis();
        Wall::from_millis(at.saturating_add_signed(self.ahead_ms()))
    }

    /// The number of the step at `at`.
    fn number(self, at: Wall) -> u64 {
        let at = at.as_millis().saturating_add_signed(self.ahead_ms().saturating_neg());
        number_of(Time::from_millis(at), self.step)
    }

    /// The offset of the wall clock from the loop's clock.
    fn ahead_ms(self) -> i64 {
        let [wall, time] = [self.now.wall.as_millis(), self.now.time.as_millis()];
        wall.checked_signed_diff(time).unwrap_or(0)
    }

    /// The lift of each of these steps by `events`; `None` for a step without an event.
    ///
    /// Each event is looked up once for each of its occurrences, and at most once a step.
    pub(super) fn lifts(self, events: &[KnownEvent], numbers: Range<u64>) -> Vec<Option<Lift>> {
        let mut lifts = vec![None; usize::try_from(numbers.end.saturating_sub(numbers.start)).unwrap_or(0)];
        for event in events {
            let mut end = numbers.end;
            while end > numbers.start {
                let Some(window) = event.begun(just_before(self.begin(end))) else { break };
                let first = self.number(window.from).min(end - 1);
                for number in first.max(numbers.start)..end {
                    let (from, until) = (self.begin(number), self.begin(number + 1));
                    if from >= window.until {
                        break;
                    }
                    let lift = Lift::by(event.effect, window.from <= from && until <= window.until);
                    let at = &mut lifts[(number - numbers.start) as usize];
                    *at = Some(at.map_or(lift, |other: Lift| other.max(lift)));
                }
                end = first;
            }
        }
        lifts
    }

    /// The first occurrences of each event within the steps from the first number to before the last. Those that begin before the middle
    /// number are near.
    pub(super) fn upcoming(self, events: &[KnownEvent], [first, near, last]: [u64; 3]) -> Vec<UpcomingEvent> {
        let [from, near, until] = [first, near, last].map(|number| self.begin(number));
        let of = |event: &KnownEvent| {
            let in_progress = event.begun(from).filter(|window| window.until > from);
            let first = in_progress.or_else(|| event.next(from));
            let times = std::iter::successors(first, |window| event.next(window.from));
            let times: Vec<Window> =
                times.take_while(|window| window.from < until).take(OCCURRENCES_MAX).collect();
            let KnownEvent { name, timezone, effect, .. } = event.clone();
            times.into_iter().map(move |window| UpcomingEvent {
                name: name.clone(),
                window,
                timezone: timezone.clone(),
                effect,
                is_near: window.from < near,
            })
        };
        events.iter().flat_map(of).collect()
    }
}

/// The greatest lift of any of these steps; a step without one counts as [`Lift::NONE`].
pub(super) fn greatest(lifts: &[Option<Lift>]) -> Lift {
    let each = lifts.iter().map(|lift| lift.unwrap_or(Lift::NONE));
    each.reduce(Lift::max).unwrap_or(Lift::NONE)
}

fn just_before(at: Wall) -> Wall {
    Wall::from_millis(at.as_millis().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Midnight of a day; the clock of the loop is an hour and ten minutes ahead.
    const MIDNIGHT: u64 = 1_764_201_600_000;
    const AHEAD: u64 = 70 * 60_000;

    fn steps() -> Steps {
        let now = Now { time: Time::from_millis(MIDNIGHT + AHEAD), wall: Wall::from_millis(MIDNIGHT) };
        Steps { step: Duration::from_secs(600), now }
    }

    fn events(events: &Value) -> Vec<KnownEvent> {
        serde_json::from_value(events.clone()).expect("they are events")
    }

    /// A load of 100 with its lift, in each of six steps of ten minutes from midnight on; `None` for a step without an event.
    fn lifted_hundred(known: &Value) -> Vec<Option<f64>> {
        let first = number_of(Time::from_millis(MIDNIGHT + AHEAD), Duration::from_secs(600));
        let lifts = steps().lifts(&events(known), first..first + 6);
        lifts.into_iter().map(|lift| Some(lift?.of(100.0))).collect()
    }

    #[test]
    fn a_step_with_an_event_is_lifted() {
        let sale = json!([{"name": "sale", "at": "2025-11-27T00:15", "duration": "20m", "factor": 3}]);
        assert_eq!(lifted_hundred(&sale), [None, Some(300.0), Some(300.0), Some(300.0), None, None]);
        let load = json!([{"name": "sale", "at": "2025-11-27T00:10", "duration": "10m", "load": 250}]);
        assert_eq!(lifted_hundred(&load), [None, Some(250.0), None, None, None, None]);
        let low = json!([{"name": "sale", "at": "2025-11-27T00:10", "duration": "10m", "load": 50}]);
        assert_eq!(lifted_hundred(&low)[1], Some(100.0), "at least");
    }

    #[test]
    fn a_factor_below_1_applies_only_to_steps_entirely_within_the_event() {
        let rest = json!([{"name": "rest", "at": "2025-11-27T00:05", "duration": "30m", "factor": 0.1}]);
        assert_eq!(lifted_hundred(&rest), [Some(100.0), Some(10.0), Some(10.0), Some(100.0), None, None]);
    }

    #[test]
    fn the_greatest_lift_counts_and_events_recur() {
        let both = json!([
            {"name": "day", "cron": "0 0 * * *", "duration": "25m", "factor": 2},
            {"name": "advert", "cron": "*/20 * * * *", "duration": "1m", "factor": 4},
            {"name": "least", "at": "2025-11-27T00:50", "duration": "1h", "load": 70},
        ]);
        let found = lifted_hundred(&both);
        assert_eq!(found, [Some(400.0), Some(200.0), Some(400.0), None, Some(400.0), Some(100.0)]);
    }

    #[test]
    fn an_event_that_began_long_ago_lasts_until_its_end() {
        let long = json!([{"name": "long", "cron": "0 0 26 11 *", "duration": "1450m", "factor": 2}]);
        assert_eq!(lifted_hundred(&long), [Some(200.0), None, None, None, None, None]);
    }

    #[test]
    fn events_within_the_horizon_are_near() {
        let sale =
            events(&json!([{"name": "sale", "at": "2025-11-27T00:15", "duration": "20m", "factor": 3}]));
        let first = steps().number(Wall::from_millis(MIDNIGHT));
        let upcoming = |events: &[KnownEvent], from, near, until| {
            let upcoming = steps().upcoming(events, [from, near, until].map(|number| first + number));
            let minute = |at: Wall| (at.as_millis() - MIDNIGHT) / 60_000;
            upcoming
                .iter()
                .map(|it| (minute(it.window.from), it.effect.to_string(), it.is_near))
                .collect::<Vec<_>>()
        };
        assert_eq!(upcoming(&sale, 0, 1, 1), []);
        assert_eq!(upcoming(&sale, 0, 1, 2), [(15, "×3".to_owned(), false)]);
        assert_eq!(upcoming(&sale, 3, 4, 5), [(15, "×3".to_owned(), true)], "in progress");
        assert_eq!(upcoming(&sale, 4, 5, 6), [], "over");
        let advert = json!([{"name": "advert", "cron": "5,15 * * * *", "duration": "1m", "load": 40}]);
        let advert_at = |from, near| (from, "at least 40".to_owned(), near);
        assert_eq!(upcoming(&events(&advert), 0, 1, 3), [advert_at(5, true), advert_at(15, false)]);
        assert_eq!(upcoming(&events(&advert), 0, 1, 3000).len(), OCCURRENCES_MAX);
    }
}
