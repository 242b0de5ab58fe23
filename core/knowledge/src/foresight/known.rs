//! Known events, and how they lift the load of each step.

use std::ops::Range;
use std::time::Duration;

use forecast::{Forecast, Quantile};
use model::resource::{Brings, KnownEvent, ObjectName, Window, Zone};
use model::time::{Now, Time, Wall};

use super::{begin_of, number_of};

/// How known events change the usual load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lift {
    /// Multiplies the load: the greatest factor of the events that are on.
    factor: f64,
    /// The least load: the highest of the events that are on.
    least: f64,
}

impl Lift {
    /// No change.
    pub const NONE: Self = Self { factor: 1.0, least: 0.0 };

    /// The usual load, lifted.
    #[must_use]
    pub fn of(self, usual: f64) -> f64 {
        (usual * self.factor).max(self.least)
    }

    /// Whether it raises the usual load.
    #[must_use]
    pub fn is_more(self) -> bool {
        self.factor > 1.0 || self.least > 0.0
    }

    /// The greater of both, whatever the load.
    fn max(self, other: Self) -> Self {
        Self { factor: self.factor.max(other.factor), least: self.least.max(other.least) }
    }

    /// The lift of a step by an event that covers the `whole` step, or only a part of it.
    fn by(brings: Brings, whole: bool) -> Self {
        match brings {
            // A step that is only partly in the event may still have the usual load.
            Brings::Factor(factor) if whole => Self { factor: factor.into(), ..Self::NONE },
            Brings::Factor(factor) => Self { factor: f64::from(factor).max(1.0), ..Self::NONE },
            Brings::Load(load) => Self { least: load.milli() as f64 / 1000.0, ..Self::NONE },
        }
    }

    /// The forecast with every quantile lifted.
    pub(super) fn lifted(self, mut forecast: Forecast) -> Forecast {
        for Quantile { load, uncalibrated, .. } in &mut forecast.quantiles {
            (*load, *uncalibrated) = (self.of(*load), self.of(*uncalibrated));
        }
        forecast
    }
}

/// One time of a known event that is on or ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpcomingEvent {
    /// Its name.
    pub name: ObjectName,
    /// From when until when.
    pub window: Window,
    /// The time zone in which it was declared.
    pub timezone: Zone,
    /// What it brings.
    pub brings: Brings,
    /// Whether it is within the reach of the forecast that is acted on.
    pub is_near: bool,
}

/// Most times of one event that are listed; for more of them people know the rule.
const SHOWN_MAX: usize = 4;

/// Converts between steps of the loop's clock and the wall clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    pub(super) step: Duration,
    pub(super) now: Now,
}

impl Steps {
    /// The begin of a step by the wall clock, as that stands now.
    fn begin(self, number: u64) -> Wall {
        let at = begin_of(number, self.step).as_millis();
        Wall::from_millis(at.saturating_add_signed(self.ahead_ms()))
    }

    /// The number of the step that `at` lies in.
    fn number(self, at: Wall) -> u64 {
        let at = at.as_millis().saturating_add_signed(self.ahead_ms().saturating_neg());
        number_of(Time::from_millis(at), self.step)
    }

    /// How far the wall clock is ahead of the loop's clock.
    fn ahead_ms(self) -> i64 {
        let [wall, time] = [self.now.wall.as_millis(), self.now.time.as_millis()];
        wall.checked_signed_diff(time).unwrap_or(0)
    }

    /// The lift of each of these steps by `events`; `None` for a step that no event touches.
    ///
    /// Each event is looked up once for each of its begins among the steps, and at most once a step.
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
                    let lift = Lift::by(event.brings, window.from <= from && until <= window.until);
                    let at = &mut lifts[(number - numbers.start) as usize];
                    *at = Some(at.map_or(lift, |other: Lift| other.max(lift)));
                }
                end = first;
            }
        }
        lifts
    }

    /// The first times of each event that touch the steps from the first number to before the last. Those that begin before the middle
    /// number are near.
    pub(super) fn upcoming(self, events: &[KnownEvent], [first, near, last]: [u64; 3]) -> Vec<UpcomingEvent> {
        let [from, near, until] = [first, near, last].map(|number| self.begin(number));
        let of = |event: &KnownEvent| {
            let holding = event.begun(from).filter(|window| window.until > from);
            let first = holding.or_else(|| event.next(from));
            let times = std::iter::successors(first, |window| event.next(window.from));
            let times: Vec<Window> = times.take_while(|window| window.from < until).take(SHOWN_MAX).collect();
            let KnownEvent { name, timezone, brings, .. } = event.clone();
            times.into_iter().map(move |window| UpcomingEvent {
                name: name.clone(),
                window,
                timezone: timezone.clone(),
                brings,
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

    /// Midnight of a day, while the clock of the loop shows an hour and ten minutes more.
    const MIDNIGHT: u64 = 1_764_201_600_000;
    const AHEAD: u64 = 70 * 60_000;

    fn steps() -> Steps {
        let now = Now { time: Time::from_millis(MIDNIGHT + AHEAD), wall: Wall::from_millis(MIDNIGHT) };
        Steps { step: Duration::from_secs(600), now }
    }

    fn events(events: &Value) -> Vec<KnownEvent> {
        serde_json::from_value(events.clone()).expect("they are events")
    }

    /// What a load of 100 becomes in each of six steps of ten minutes from midnight on; `None` for a step that no event touches.
    fn hundred(known: &Value) -> Vec<Option<f64>> {
        let first = number_of(Time::from_millis(MIDNIGHT + AHEAD), Duration::from_secs(600));
        let lifts = steps().lifts(&events(known), first..first + 6);
        lifts.into_iter().map(|lift| Some(lift?.of(100.0))).collect()
    }

    #[test]
    fn a_step_that_an_event_touches_is_lifted() {
        let sale = json!([{"name": "sale", "at": "2025-11-27T00:15", "duration": "20m", "factor": 3}]);
        assert_eq!(hundred(&sale), [None, Some(300.0), Some(300.0), Some(300.0), None, None]);
        let load = json!([{"name": "sale", "at": "2025-11-27T00:10", "duration": "10m", "load": 250}]);
        assert_eq!(hundred(&load), [None, Some(250.0), None, None, None, None]);
        let low = json!([{"name": "sale", "at": "2025-11-27T00:10", "duration": "10m", "load": 50}]);
        assert_eq!(hundred(&low)[1], Some(100.0), "at least");
    }

    #[test]
    fn less_is_expected_only_of_steps_that_lie_in_the_event_whole() {
        let rest = json!([{"name": "rest", "at": "2025-11-27T00:05", "duration": "30m", "factor": 0.1}]);
        assert_eq!(hundred(&rest), [Some(100.0), Some(10.0), Some(10.0), Some(100.0), None, None]);
    }

    #[test]
    fn of_several_the_greatest_counts_and_those_that_come_again_come_again() {
        let both = json!([
            {"name": "day", "cron": "0 0 * * *", "duration": "25m", "factor": 2},
            {"name": "advert", "cron": "*/20 * * * *", "duration": "1m", "factor": 4},
            {"name": "least", "at": "2025-11-27T00:50", "duration": "1h", "load": 70},
        ]);
        let found = hundred(&both);
        assert_eq!(found, [Some(400.0), Some(200.0), Some(400.0), None, Some(400.0), Some(100.0)]);
    }

    #[test]
    fn what_began_long_ago_holds_until_its_end() {
        let long = json!([{"name": "long", "cron": "0 0 26 11 *", "duration": "1450m", "factor": 2}]);
        assert_eq!(hundred(&long), [Some(200.0), None, None, None, None, None]);
    }

    #[test]
    fn events_within_the_reach_are_marked_as_near() {
        let sale =
            events(&json!([{"name": "sale", "at": "2025-11-27T00:15", "duration": "20m", "factor": 3}]));
        let first = steps().number(Wall::from_millis(MIDNIGHT));
        let upcoming = |events: &[KnownEvent], from, near, until| {
            let upcoming = steps().upcoming(events, [from, near, until].map(|number| first + number));
            let minute = |at: Wall| (at.as_millis() - MIDNIGHT) / 60_000;
            upcoming
                .iter()
                .map(|it| (minute(it.window.from), it.brings.to_string(), it.is_near))
                .collect::<Vec<_>>()
        };
        assert_eq!(upcoming(&sale, 0, 1, 1), []);
        assert_eq!(upcoming(&sale, 0, 1, 2), [(15, "×3".to_owned(), false)]);
        assert_eq!(upcoming(&sale, 3, 4, 5), [(15, "×3".to_owned(), true)], "it holds");
        assert_eq!(upcoming(&sale, 4, 5, 6), [], "it is over");
        let advert = json!([{"name": "advert", "cron": "5,15 * * * *", "duration": "1m", "load": 40}]);
        let advert_at = |from, near| (from, "at least 40".to_owned(), near);
        assert_eq!(upcoming(&events(&advert), 0, 1, 3), [advert_at(5, true), advert_at(15, false)]);
        assert_eq!(upcoming(&events(&advert), 0, 1, 3000).len(), SHOWN_MAX);
    }
}
