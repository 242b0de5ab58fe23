use model::memory::LOAD_STEPS_MAX;
use model::resource::{ForecastMode, Quantile, Span};

use super::load_meter::STORED_AFTER_STEPS;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn rule(step_secs: u64) -> Forecasting {
    Forecasting { step: Span::from_secs(step_secs), ..Forecasting::of_mode(ForecastMode::On) }
}

/// Both clocks; the wall clock is an hour behind.
fn clocks(time: Time) -> Now {
    Now { time, wall: model::time::Wall::from_millis(time.as_millis() - 3_600_000) }
}

/// A service whose rate of requests depends on the time, and whose replicas carry 50 a second each.
struct TestService {
    load_forecast: LoadForecast,
    now: Time,
    requests: f64,
    start_time: Option<Duration>,
}

impl TestService {
    fn new(rule: Forecasting) -> Self {
        let now = Time::from_millis(1_700_000_000_000);
        let load_forecast = LoadForecast::new(rule, LoadSource::Requests, None, (None, now));
        Self { load_forecast, now, requests: 0.0, start_time: None }
    }

    /// Runs for this many seconds, with four reports of the proxy in each.
    fn run(&mut self, seconds: u64, rate: impl Fn(Time) -> f64) {
        for _ in 0..seconds {
            let need = (rate(self.now) / 50.0 * 1000.0) as u64;
            for _ in 0..4 {
                self.now = self.now + SECOND / 4;
                self.requests += rate(self.now) / 4.0;
                self.load_forecast.observe_requests(self.now, self.requests as u64);
            }
            self.load_forecast.update(clocks(self.now), Some(need), self.start_time, SECOND);
        }
    }

    /// Lets time pass without reports; only the loop updates.
    fn run_without_reports(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now + SECOND;
            self.load_forecast.update(clocks(self.now), None, self.start_time, SECOND);
        }
    }

    /// The last load of the forecast distribution.
    fn highest(&self) -> f64 {
        self.load_forecast.distribution().expect("enough is known").last()
    }

    fn past(&self) -> Vec<Option<f64>> {
        self.load_forecast.past(LOAD_STEPS_MAX).map(|(_, load)| load).collect()
    }
}

/// 100 a second, and 500 for two minutes of each twenty.
fn spikes(at: Time) -> f64 {
    if at.as_millis() / 1000 % 1200 < 120 { 500.0 } else { 100.0 }
}

#[test]
fn the_load_of_a_step_is_its_mean_rate() {
    let mut service = TestService::new(rule(10));
    service.run(120, |at| if at.as_millis() / 10_000 % 2 == 0 { 300.0 } else { 20.0 });
    let past = service.past();
    assert!(past.len() >= 11, "{past:?}");
    for pair in past[1..].chunks_exact(2) {
        let [Some(one), Some(other)] = *pair else { panic!("{past:?}") };
        let (high, low) = (one.max(other), one.min(other));
        assert!((high - 300.0).abs() < 10.0 && (low - 20.0).abs() < 10.0, "{past:?}");
    }
    let needed = service.load_forecast.replicas_for(300.0).expect("it was seen");
    assert!((needed - 6.0).abs() < 0.3, "50 each: {needed}");
}

#[test]
fn a_time_without_reports_is_a_gap() {
    let mut service = TestService::new(rule(10));
    service.run(60, |_| 100.0);
    service.run_without_reports(120);
    service.run(60, |_| 100.0);
    let past = service.past();
    assert!(past.iter().flatten().all(|load| (load - 100.0).abs() < 5.0), "{past:?}");
    assert!((11..=13).contains(&past.iter().filter(|load| load.is_none()).count()), "{past:?}");
}

#[test]
fn a_restarted_proxy_does_not_add_load() {
    let mut service = TestService::new(rule(10));
    service.run(60, |_| 100.0);
    service.requests = 0.0;
    service.run(60, |_| 100.0);
    assert!(service.past().iter().flatten().all(|load| (load - 100.0).abs() < 15.0), "{:?}", service.past());
}

#[test]
fn a_recurring_increase_is_forecast() {
    let mut service = TestService::new(rule(10));
    service.start_time = Some(Duration::from_secs(25));
    service.run(8 * 3600, spikes);
    // To half a minute before the next rise.
    let until_rise = 1200 - service.now.as_millis() / 1000 % 1200;
    service.run(until_rise - 20, spikes);
    let expected = service.load_forecast.peak().expect("hours are known");
    assert_eq!(expected.by, Model::Blend, "{expected:?}");
    assert!(expected.load > 400.0, "{expected:?}");
    assert!(expected.loss_ratio.is_some_and(|ratio| ratio < 0.9), "{expected:?}");
    service.run(600, spikes);
    let expected = service.load_forecast.peak().expect("hours are known");
    assert!(expected.load < 200.0, "in the middle between two spikes: {expected:?}");
}

/// The highest forecast load before and in the middle of a minute whose load changes at its tenth second.
fn forecast_before_and_within_a_minute(usual: f64, then: f64) -> (f64, f64) {
    let mut service = TestService::new(rule(60));
    service.run(2 * 3600 - service.now.as_millis() / 1000 % 60, |_| usual);
    service.run(10, |_| usual);
    let before = service.highest();
    service.run(20, |_| then);
    (before, service.highest())
}

#[test]
fn an_increase_is_forecast_before_its_step_is_over() {
    let (before, after) = forecast_before_and_within_a_minute(100.0, 400.0);
    assert!(before < 150.0 && after > 200.0, "{before}, then {after}");
    let (before, after) = forecast_before_and_within_a_minute(100.0, 10.0);
    assert_eq!(before, after, "a minute that falls may rise again");
    let (before, after) = forecast_before_and_within_a_minute(1.0, 1.1);
    assert_eq!(before, after, "three requests more are chance");
}

#[test]
fn the_stored_record_is_learned_again_in_parts() {
    let mut service = TestService::new(rule(10));
    service.run(6 * 3600, spikes);
    let before = service.load_forecast.peak().expect("hours are known");
    let stored = Arc::clone(service.load_forecast.remembered());
    let lost = service.load_forecast.steps() - stored.loads.len() as u64;
    assert!(lost <= 17, "the steps that are not stored are at most {STORED_AFTER_STEPS} steps: {lost}");

    let mut restarted = LoadForecast::new(
        service.load_forecast.rule().clone(),
        LoadSource::Requests,
        Some(&stored),
        (None, service.now),
    );
    let mut updates = 0;
    while let Err(reason) = restarted.peak() {
        let NoForecast::Relearning { done, of } = reason else { panic!("{reason:?}") };
        assert_eq!(done, (updates * LEARNED_PER_UPDATE).min(of));
        restarted.update(clocks(service.now + SECOND * updates as u32), None, None, SECOND);
        updates += 1;
    }
    assert_eq!(updates, stored.loads.len() as u64 / LEARNED_PER_UPDATE + 1);
    let after = restarted.peak().expect("it was learned again");
    assert!((before.load - after.load).abs() < 0.2 * before.load, "{before:?} {after:?}");
    assert_eq!(before.by, after.by);
    assert_eq!(restarted.replicas_for(300.0), service.load_forecast.replicas_for(300.0));
}

#[test]
fn steps_dropped_before_they_were_learned_again_are_not_counted() {
    let mut service = TestService::new(rule(1));
    service.run(600, spikes);
    let mut stored = LoadRecord::clone(service.load_forecast.remembered());
    stored.loads = stored.loads.iter().copied().cycle().take(LOAD_STEPS_MAX).collect();
    // Down for four hours of steps, of which half a minute of updates learns a quarter before the oldest are forgotten.
    let up = begin_of(stored.first + LOAD_STEPS_MAX as u64, SECOND) + SECOND * 14_400;
    let mut restarted = LoadForecast::new(rule(1), LoadSource::Requests, Some(&Arc::new(stored)), (None, up));
    for second in 0..40 {
        restarted.update(clocks(up + SECOND * second), None, None, SECOND);
        let Err(NoForecast::Relearning { done, of }) = restarted.peak() else {
            panic!("{:?}", restarted.peak())
        };
        assert!(done < of && of <= LOAD_STEPS_MAX as u64 + 14_500, "{done} of {of}");
    }
    assert!(
        restarted.steps() < LOAD_STEPS_MAX as u64 + 40,
        "the oldest are forgotten: {}",
        restarted.steps()
    );
}

#[test]
fn learning_depends_only_on_the_record() {
    let mut service = TestService::new(rule(10));
    service.run(2 * 3600, spikes);
    let stored = Arc::clone(service.load_forecast.remembered());
    let learned = |updates_a_second: u32| {
        let mut restarted = LoadForecast::new(
            service.load_forecast.rule().clone(),
            LoadSource::Requests,
            Some(&stored),
            (None, service.now),
        );
        (0..20).for_each(|nth| {
            restarted.update(clocks(service.now + SECOND / updates_a_second * nth), None, None, SECOND);
        });
        restarted.forecasts()
    };
    assert!(!learned(1000).is_empty());
    assert_eq!(learned(1000), learned(2000));
}

#[test]
fn another_quantile_is_learned_again_and_other_steps_begin_anew() {
    let mut service = TestService::new(rule(10));
    service.run(3600, spikes);
    let steps = service.load_forecast.steps();
    let quantile = Quantile::try_from(0.8).expect("it is one");
    service.load_forecast.set_rule(Forecasting { quantile, ..rule(10) }, LoadSource::Requests, service.now);
    assert_eq!(service.load_forecast.steps(), steps);
    assert!(matches!(service.load_forecast.peak(), Err(NoForecast::Relearning { done: 0, .. })));
    service.run(10, spikes);
    assert!(service.load_forecast.peak().is_ok());
    service.load_forecast.set_rule(rule(20), LoadSource::Requests, service.now);
    assert_eq!((service.load_forecast.steps(), service.load_forecast.peak()), (0, Err(NoForecast::New)));
}

#[test]
fn the_horizon_follows_the_start_time_with_hysteresis() {
    let mut service = TestService::new(rule(10));
    service.run(60, spikes);
    assert_eq!(service.load_forecast.horizon(), SECOND * 60, "30 s are assumed before the first start");
    let mut start_time = |ms| {
        service.start_time = Some(Duration::from_millis(ms));
        service.run(1, spikes);
        service.load_forecast.horizon().as_secs()
    };
    assert_eq!(start_time(95_000), 120);
    assert_eq!(start_time(105_000), 120, "a little slower changes nothing");
    assert_eq!(start_time(80_000), 120, "nor does a little faster");
    assert_eq!(start_time(3_000), 30, "the minimum");
    assert_eq!(start_time(86_400_000), forecast::AHEAD_MAX as u64 * 10, "the maximum of a forecaster");
}

#[test]
fn a_gap_longer_than_the_record_resets_it() {
    let mut service = TestService::new(rule(1));
    service.run(120, |_| 100.0);
    service.now = service.now + SECOND * (LOAD_STEPS_MAX as u32 + 200);
    service.run(5, |_| 100.0);
    assert!(service.load_forecast.steps() < 10, "{}", service.load_forecast.steps());
    service.run(20, |_| 100.0);
    assert!(service.load_forecast.peak().is_ok());
}

/// A sale of two hours from the hour `after` on, with three times the usual load.
fn sale(after: u64) -> Forecasting {
    // The test begins at 22:13:20 by the loop's clock, and at 21:13:20 by the wall clock.
    let hour = 21 + after;
    let at = format!("2023-11-{:02}T{:02}:13:20", 14 + hour / 24, hour % 24);
    let event = serde_json::json!({"name": "sale", "at": at, "duration": "2h", "factor": 3});
    let events = vec![serde_json::from_value(event).expect("it is an event")];
    Forecasting { events, ..rule(10) }
}

#[test]
fn a_step_with_a_known_event_is_not_extrapolated() {
    for (rule, is_assumed) in [(sale(1), false), (rule(10), true)] {
        let mut service = TestService::new(rule);
        service.run(3600 + 61, |_| 100.0);
        let before = service.highest();
        service.run(5, |_| 900.0);
        assert_eq!(service.highest() > before, is_assumed);
    }
}

#[test]
fn the_displayed_forecast_is_the_one_acted_on_within_a_step_as_well() {
    let mut service = TestService::new(rule(10));
    service.run(3600 + 61, |_| 100.0);
    assert_eq!(service.load_forecast.current_step_load(), None);
    let shown = |service: &TestService| {
        let (forecast, lift) = service.load_forecast.forecasts().remove(0);
        let level = level_of(service.load_forecast.rule());
        let quantile = forecast.quantiles.iter().find(|it| it.level == level);
        lift.of(quantile.expect("it is forecast").load)
    };
    let acted_on = |service: &TestService| service.load_forecast.peak().expect("enough is known").load;
    let before = shown(&service);
    assert_eq!(before, acted_on(&service));
    let updates = service.load_forecast.forecasts().len();
    service.run(5, |_| 900.0);
    assert!(service.load_forecast.current_step_load().is_some_and(|load| load > 100.0));
    assert!(shown(&service) > before);
    assert_eq!(shown(&service), acted_on(&service));
    assert_eq!(service.load_forecast.forecasts().len(), updates, "the others begin behind the same step");
    service.run(10, |_| 100.0);
    assert_eq!(service.load_forecast.current_step_load(), None);
}

#[test]
fn a_known_event_is_forecast_and_not_learned() {
    let [mut informed, mut uninformed] = [sale(10), rule(10)].map(|rule| {
        let mut service = TestService::new(rule);
        service.start_time = Some(Duration::from_secs(25));
        service.run(10 * 3600 - 27, |_| 100.0);
        service
    });
    let expected = |service: &TestService| service.load_forecast.peak().expect("hours are known");
    assert!(
        (300.0..330.0).contains(&expected(&informed).load),
        "a start_time before: {:?}",
        expected(&informed)
    );
    assert!(expected(&informed).is_lifted && !expected(&uninformed).is_lifted);
    assert_eq!(informed.load_forecast.upcoming().len(), 1);
    [&mut informed, &mut uninformed].into_iter().for_each(|service| service.run(27, |_| 100.0));
    informed.run(3600, |_| 450.0);
    assert!((300.0..330.0).contains(&expected(&informed).load), "whatever comes: {:?}", expected(&informed));
    informed.run(3600, |_| 450.0);
    uninformed.run(7200, |_| 450.0);
    [&mut informed, &mut uninformed].into_iter().for_each(|service| service.run(600, |_| 100.0));
    assert!((100.0..110.0).contains(&expected(&informed).load), "it is over: {:?}", expected(&informed));
    assert_eq!(informed.load_forecast.upcoming(), []);
    let width = |service: &TestService| {
        let hour = service.load_forecast.forecasts().into_iter().last().expect("hours are known").0;
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
fn an_event_declared_afterwards_is_unlearned() {
    let mut service = TestService::new(rule(10));
    service.run(3600, |_| 100.0);
    service.run(7200, |_| 450.0);
    service.run(3600, |_| 100.0);
    let scored = |service: &TestService| service.load_forecast.reports()[0].scored;
    let before = scored(&service);
    service.load_forecast.set_rule(sale(1), LoadSource::Requests, service.now);
    service.run(60, |_| 100.0);
    let less = before - scored(&service);
    assert!((710..730).contains(&less), "two hours in steps of 10 s: {less}");
}
