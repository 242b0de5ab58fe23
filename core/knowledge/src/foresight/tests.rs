use model::memory::LOAD_STEPS_MAX;
use model::resource::{ForecastMode, Quantile, Span};

use super::load_meter::KEPT_AFTER_STEPS;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn rule(step_secs: u64) -> Forecasting {
    Forecasting { step: Span::from_secs(step_secs), ..Forecasting::of_mode(ForecastMode::On) }
}

/// Both clocks, with the wall clock an hour behind.
fn clocks(time: Time) -> Now {
    Now { time, wall: model::time::Wall::from_millis(time.as_millis() - 3_600_000) }
}

/// A service whose requests per second depend on the time, and whose replicas carry 50 each.
struct Asked {
    foresight: Foresight,
    now: Time,
    requests: f64,
    start: Option<Duration>,
}

impl Asked {
    fn new(rule: Forecasting) -> Self {
        let now = Time::from_millis(1_700_000_000_000);
        let foresight = Foresight::new(rule, LoadSource::Requests, None, (None, now));
        Self { foresight, now, requests: 0.0, start: None }
    }

    /// Goes on for this many seconds, with four reports of the proxy in each.
    fn go(&mut self, seconds: u64, rate: impl Fn(Time) -> f64) {
        for _ in 0..seconds {
            let need = (rate(self.now) / 50.0 * 1000.0) as u64;
            for _ in 0..4 {
                self.now = self.now + SECOND / 4;
                self.requests += rate(self.now) / 4.0;
                self.foresight.asked(self.now, self.requests as u64);
            }
            self.foresight.look(clocks(self.now), Some(need), self.start, SECOND);
        }
    }

    /// Lets time pass without any report; only the loop looks.
    fn silence(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now + SECOND;
            self.foresight.look(clocks(self.now), None, self.start, SECOND);
        }
    }

    /// The highest load that is expected, with a probability at the end of what is forecast.
    fn highest(&self) -> f64 {
        self.foresight.distribution().expect("enough is known").last()
    }

    fn past(&self) -> Vec<Option<f64>> {
        self.foresight.past(LOAD_STEPS_MAX).map(|(_, load)| load).collect()
    }
}

/// 100 a second, and 500 for two minutes of each twenty.
fn rises(at: Time) -> f64 {
    if at.as_millis() / 1000 % 1200 < 120 { 500.0 } else { 100.0 }
}

#[test]
fn the_load_of_a_step_is_what_came_in_it() {
    let mut asked = Asked::new(rule(10));
    asked.go(120, |at| if at.as_millis() / 10_000 % 2 == 0 { 300.0 } else { 20.0 });
    let past = asked.past();
    assert!(past.len() >= 11, "{past:?}");
    for pair in past[1..].chunks_exact(2) {
        let [Some(one), Some(other)] = *pair else { panic!("{past:?}") };
        let (high, low) = (one.max(other), one.min(other));
        assert!((high - 300.0).abs() < 10.0 && (low - 20.0).abs() < 10.0, "{past:?}");
    }
    let needed = asked.foresight.replicas_for(300.0).expect("it was seen");
    assert!((needed - 6.0).abs() < 0.3, "50 each: {needed}");
}

#[test]
fn silence_is_a_gap_and_not_zero() {
    let mut asked = Asked::new(rule(10));
    asked.go(60, |_| 100.0);
    asked.silence(120);
    asked.go(60, |_| 100.0);
    let past = asked.past();
    assert!(past.iter().flatten().all(|load| (load - 100.0).abs() < 5.0), "{past:?}");
    assert!((11..=13).contains(&past.iter().filter(|load| load.is_none()).count()), "{past:?}");
}

#[test]
fn a_proxy_that_begins_anew_makes_no_load() {
    let mut asked = Asked::new(rule(10));
    asked.go(60, |_| 100.0);
    asked.requests = 0.0;
    asked.go(60, |_| 100.0);
    assert!(asked.past().iter().flatten().all(|load| (load - 100.0).abs() < 15.0), "{:?}", asked.past());
}

#[test]
fn what_comes_again_is_expected_before_it_comes() {
    let mut asked = Asked::new(rule(10));
    asked.start = Some(Duration::from_secs(25));
    asked.go(8 * 3600, rises);
    // To half a minute before the next rise.
    let until_rise = 1200 - asked.now.as_millis() / 1000 % 1200;
    asked.go(until_rise - 20, rises);
    let expected = asked.foresight.expected().expect("hours are known");
    assert_eq!(expected.by, Model::Blend, "{expected:?}");
    assert!(expected.load > 400.0, "{expected:?}");
    assert!(expected.loss_ratio.is_some_and(|ratio| ratio < 0.9), "{expected:?}");
    asked.go(600, rises);
    let expected = asked.foresight.expected().expect("hours are known");
    assert!(expected.load < 200.0, "in the middle between two rises: {expected:?}");
}

/// The highest load that is expected by the middle of a minute that begins like the one before, and has this much more or less from its tenth second on.
fn expected_after_half_a_minute(usual: f64, then: f64) -> (f64, f64) {
    let mut asked = Asked::new(rule(60));
    asked.go(2 * 3600 - asked.now.as_millis() / 1000 % 60, |_| usual);
    asked.go(10, |_| usual);
    let before = asked.highest();
    asked.go(20, |_| then);
    (before, asked.highest())
}

#[test]
fn a_rise_is_expected_to_stay_before_its_minute_is_over() {
    let (before, after) = expected_after_half_a_minute(100.0, 400.0);
    assert!(before < 150.0 && after > 200.0, "{before}, then {after}");
    let (before, after) = expected_after_half_a_minute(100.0, 10.0);
    assert_eq!(before, after, "a minute that falls may rise again");
    let (before, after) = expected_after_half_a_minute(1.0, 1.1);
    assert_eq!(before, after, "three requests more are chance");
}

#[test]
fn a_forecast_is_learned_again_from_what_was_written_down_a_little_at_a_time() {
    let mut asked = Asked::new(rule(10));
    asked.go(6 * 3600, rises);
    let before = asked.foresight.expected().expect("hours are known");
    let kept = Arc::clone(asked.foresight.remembered());
    let lost = asked.foresight.steps() - kept.loads.len() as u64;
    assert!(lost <= 17, "what is not written down is at most {KEPT_AFTER_STEPS} steps: {lost}");

    let mut again =
        Foresight::new(asked.foresight.rule().clone(), LoadSource::Requests, Some(&kept), (None, asked.now));
    let mut looks = 0;
    while let Err(unforeseen) = again.expected() {
        let NoForecast::Relearning { done, of } = unforeseen else { panic!("{unforeseen:?}") };
        assert_eq!(done, (looks * LEARNED_AT_ONCE).min(of));
        again.look(clocks(asked.now + SECOND * looks as u32), None, None, SECOND);
        looks += 1;
    }
    assert_eq!(looks, kept.loads.len() as u64 / LEARNED_AT_ONCE + 1);
    let after = again.expected().expect("it was learned again");
    assert!((before.load - after.load).abs() < 0.2 * before.load, "{before:?} {after:?}");
    assert_eq!(before.by, after.by);
    assert_eq!(again.replicas_for(300.0), asked.foresight.replicas_for(300.0));
}

#[test]
fn what_is_forgotten_before_it_was_learned_again_is_no_step_that_is_missing() {
    let mut asked = Asked::new(rule(1));
    asked.go(600, rises);
    let mut kept = LoadRecord::clone(asked.foresight.remembered());
    kept.loads = kept.loads.iter().copied().cycle().take(LOAD_STEPS_MAX).collect();
    // Down for four hours of steps, of which half a minute of looks learns a quarter before the oldest are forgotten.
    let up = begin_of(kept.first + LOAD_STEPS_MAX as u64, SECOND) + SECOND * 14_400;
    let mut again = Foresight::new(rule(1), LoadSource::Requests, Some(&Arc::new(kept)), (None, up));
    for second in 0..40 {
        again.look(clocks(up + SECOND * second), None, None, SECOND);
        let Err(NoForecast::Relearning { done, of }) = again.expected() else {
            panic!("{:?}", again.expected())
        };
        assert!(done < of && of <= LOAD_STEPS_MAX as u64 + 14_500, "{done} of {of}");
    }
    assert!(again.steps() < LOAD_STEPS_MAX as u64 + 40, "the oldest are forgotten: {}", again.steps());
}

#[test]
fn learning_is_a_function_of_what_was_remembered() {
    let mut asked = Asked::new(rule(10));
    asked.go(2 * 3600, rises);
    let kept = Arc::clone(asked.foresight.remembered());
    let learned = |looks_apart: u32| {
        let mut again = Foresight::new(
            asked.foresight.rule().clone(),
            LoadSource::Requests,
            Some(&kept),
            (None, asked.now),
        );
        (0..20)
            .for_each(|nth| again.look(clocks(asked.now + SECOND / looks_apart * nth), None, None, SECOND));
        again.forecasts()
    };
    assert!(!learned(1000).is_empty());
    assert_eq!(learned(1000), learned(2000));
}

#[test]
fn another_probability_is_learned_anew_and_other_steps_are_not_known() {
    let mut asked = Asked::new(rule(10));
    asked.go(3600, rises);
    let steps = asked.foresight.steps();
    let quantile = Quantile::try_from(0.8).expect("it is one");
    asked.foresight.set_rule(Forecasting { quantile, ..rule(10) }, LoadSource::Requests, asked.now);
    assert_eq!(asked.foresight.steps(), steps);
    assert!(matches!(asked.foresight.expected(), Err(NoForecast::Relearning { done: 0, .. })));
    asked.go(10, rises);
    assert!(asked.foresight.expected().is_ok());
    asked.foresight.set_rule(rule(20), LoadSource::Requests, asked.now);
    assert_eq!((asked.foresight.steps(), asked.foresight.expected()), (0, Err(NoForecast::New)));
}

#[test]
fn it_looks_as_far_ahead_as_a_start_takes_and_does_not_waver() {
    let mut asked = Asked::new(rule(10));
    asked.go(60, rises);
    assert_eq!(asked.foresight.reach(), SECOND * 60, "a start is taken for 30 s at first");
    let mut start = |ms| {
        asked.start = Some(Duration::from_millis(ms));
        asked.go(1, rises);
        asked.foresight.reach().as_secs()
    };
    assert_eq!(start(95_000), 120);
    assert_eq!(start(105_000), 120, "a little slower changes nothing");
    assert_eq!(start(80_000), 120, "nor does a little faster");
    assert_eq!(start(3_000), 30, "what comes each day does not come to the step");
    assert_eq!(start(86_400_000), forecast::AHEAD_MAX as u64 * 10, "not further than a forecaster can");
}

#[test]
fn a_pause_longer_than_the_memory_begins_anew() {
    let mut asked = Asked::new(rule(1));
    asked.go(120, |_| 100.0);
    asked.now = asked.now + SECOND * (LOAD_STEPS_MAX as u32 + 200);
    asked.go(5, |_| 100.0);
    assert!(asked.foresight.steps() < 10, "{}", asked.foresight.steps());
    asked.go(20, |_| 100.0);
    assert!(asked.foresight.expected().is_ok());
}

/// A sale from the hour `after` on, for two of them, that brings three times what is usual.
fn sale(after: u64) -> Forecasting {
    // The story begins at 22:13:20 by the loop's clock, and at 21:13:20 by the wall clock.
    let hour = 21 + after;
    let at = format!("2023-11-{:02}T{:02}:13:20", 14 + hour / 24, hour % 24);
    let event = serde_json::json!({"name": "sale", "at": at, "duration": "2h", "factor": 3});
    let events = vec![serde_json::from_value(event).expect("it is an event")];
    Forecasting { events, ..rule(10) }
}

#[test]
fn nothing_is_assumed_of_a_step_that_is_known_to_be_unlike_others() {
    for (rule, is_assumed) in [(sale(1), false), (rule(10), true)] {
        let mut asked = Asked::new(rule);
        asked.go(3600 + 61, |_| 100.0);
        let before = asked.highest();
        asked.go(5, |_| 900.0);
        assert_eq!(asked.highest() > before, is_assumed);
    }
}

#[test]
fn people_are_shown_the_forecast_that_is_acted_on_within_a_step_as_well() {
    let mut asked = Asked::new(rule(10));
    asked.go(3600 + 61, |_| 100.0);
    assert_eq!(asked.foresight.under_way(), None);
    let shown = |asked: &Asked| {
        let (forecast, lift) = asked.foresight.forecasts().remove(0);
        let level = level_of(asked.foresight.rule());
        let quantile = forecast.quantiles.iter().find(|it| it.level == level);
        lift.of(quantile.expect("it is forecast").load)
    };
    let acted_on = |asked: &Asked| asked.foresight.expected().expect("enough is known").load;
    let before = shown(&asked);
    assert_eq!(before, acted_on(&asked));
    let looks = asked.foresight.forecasts().len();
    asked.go(5, |_| 900.0);
    assert!(asked.foresight.under_way().is_some_and(|load| load > 100.0));
    assert!(shown(&asked) > before);
    assert_eq!(shown(&asked), acted_on(&asked));
    assert_eq!(asked.foresight.forecasts().len(), looks, "the others begin behind the same step");
    asked.go(10, |_| 100.0);
    assert_eq!(asked.foresight.under_way(), None);
}

#[test]
fn a_known_sale_is_expected_from_before_its_begin_to_its_end_and_is_not_learned() {
    let [mut informed, mut uninformed] = [sale(10), rule(10)].map(|rule| {
        let mut asked = Asked::new(rule);
        asked.start = Some(Duration::from_secs(25));
        asked.go(10 * 3600 - 27, |_| 100.0);
        asked
    });
    let expected = |asked: &Asked| asked.foresight.expected().expect("hours are known");
    assert!((300.0..330.0).contains(&expected(&informed).load), "a start before: {:?}", expected(&informed));
    assert!(expected(&informed).is_lifted && !expected(&uninformed).is_lifted);
    assert_eq!(informed.foresight.upcoming().len(), 1);
    [&mut informed, &mut uninformed].into_iter().for_each(|asked| asked.go(27, |_| 100.0));
    informed.go(3600, |_| 450.0);
    assert!((300.0..330.0).contains(&expected(&informed).load), "whatever comes: {:?}", expected(&informed));
    informed.go(3600, |_| 450.0);
    uninformed.go(7200, |_| 450.0);
    [&mut informed, &mut uninformed].into_iter().for_each(|asked| asked.go(600, |_| 100.0));
    assert!((100.0..110.0).contains(&expected(&informed).load), "it is over: {:?}", expected(&informed));
    assert_eq!(informed.foresight.upcoming(), []);
    let width = |asked: &Asked| {
        let hour = asked.foresight.forecasts().into_iter().last().expect("hours are known").0;
        let load = |level| hour.quantiles.iter().find(|it| it.level == level).map_or(0.0, |it| it.load);
        load(0.993) - load(0.05)
    };
    assert!(
        width(&informed) < 20.0 && width(&uninformed) > 100.0,
        "{} of {}",
        width(&informed),
        width(&uninformed)
    );
}

#[test]
fn a_sale_that_is_declared_afterwards_is_unlearned() {
    let mut asked = Asked::new(rule(10));
    asked.go(3600, |_| 100.0);
    asked.go(7200, |_| 450.0);
    asked.go(3600, |_| 100.0);
    let scored = |asked: &Asked| asked.foresight.reports()[0].scored;
    let before = scored(&asked);
    asked.foresight.set_rule(sale(1), LoadSource::Requests, asked.now);
    asked.go(60, |_| 100.0);
    let less = before - scored(&asked);
    assert!((710..730).contains(&less), "two hours in steps of 10 s: {less}");
}
