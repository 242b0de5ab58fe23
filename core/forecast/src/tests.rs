use std::time::Duration;

use proptest::prelude::*;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

use super::*;

const STEP: Duration = Duration::from_secs(300);
const DAY: usize = 288;

/// Numbers from 0 to 1 that are the same in every run.
struct Noise(Xoshiro256PlusPlus);

impl Noise {
    fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    fn next(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn forecaster(horizons: &[Horizon]) -> Forecaster {
    Forecaster::new(Settings::new(STEP, horizons, &[0.95]).expect("the settings are sound"))
}

/// Feeds `loads` from the step with the number `from`, and closes the last.
fn feed(forecaster: &mut Forecaster, from: usize, loads: impl IntoIterator<Item = f64>) -> usize {
    let mut number = from;
    for load in loads {
        assert_eq!(forecaster.observe(STEP * number as u32, load), SampleOutcome::Counted);
        number += 1;
    }
    forecaster.close(STEP * number as u32);
    number
}

fn wave(number: usize) -> f64 {
    let phase = number as f64 / DAY as f64 * std::f64::consts::TAU;
    1000.0 * (1.2 - phase.cos())
}

/// Mean losses of the forecasts, and of the last value with a band of the past errors, over the steps of `loads` from `from`.
struct Trial {
    ours: f64,
    naive: f64,
    coverage: f64,
    highest: f64,
}

fn trial(loads: &[f64], horizon: Horizon, from: usize) -> Trial {
    let steps = horizon.steps();
    let mut forecaster = forecaster(&[horizon]);
    let mut forecasts = Vec::new();
    for (number, &load) in loads.iter().enumerate() {
        feed(&mut forecaster, number, [load]);
        forecasts.push(forecaster.forecasts()[0].quantiles[0].load);
    }
    let mut trial = Trial { ours: 0.0, naive: 0.0, coverage: 0.0, highest: 0.0 };
    let count = (loads.len() - steps - from) as f64;
    for now in from..loads.len() - steps {
        let actual = loads[now + steps];
        let mut errors: Vec<f64> = (now.saturating_sub(7 * DAY)..now - steps)
            .map(|then| loads[then + steps] - loads[then])
            .collect();
        let place = errors.len() * 95 / 100;
        let naive = loads[now] + *errors.select_nth_unstable_by(place, f64::total_cmp).1;
        trial.ours += pinball(actual, forecasts[now], 0.95) / count;
        trial.naive += pinball(actual, naive.max(0.0), 0.95) / count;
        trial.coverage += f64::from(u8::from(actual <= forecasts[now])) / count;
        trial.highest = trial.highest.max(forecasts[now]);
    }
    trial
}

#[test]
fn a_daily_wave_is_found_and_beats_the_last_value() {
    let mut noise = Noise::new(1);
    let loads: Vec<f64> = (0..10 * DAY).map(|number| wave(number) * (0.9 + 0.2 * noise.next())).collect();
    let trial = trial(&loads, Horizon::At(12), 6 * DAY);
    assert!(trial.ours < 0.35 * trial.naive, "{} of {}", trial.ours, trial.naive);
    assert!((0.93..=0.97).contains(&trial.coverage), "{}", trial.coverage);

    let mut forecaster = forecaster(&[Horizon::At(12)]);
    feed(&mut forecaster, 0, loads);
    assert!(forecaster.seasons().iter().any(|season| season.steps == DAY && season.strength > 0.9));
    let report = &forecaster.reports()[0];
    assert!(report.beats_persistence);
    assert!(report.scores[0].loss < report.scores.last().expect("there are several").loss);
}

#[test]
fn no_model_beats_the_last_value_of_a_random_walk() {
    let mut noise = Noise::new(2);
    let mut load = 1000.0;
    let walk = (0..8 * DAY).map(|_| {
        load = (load + 40.0 * (noise.next() - 0.5)).max(0.0);
        load
    });
    let mut forecaster = forecaster(&[Horizon::At(1), Horizon::At(12)]);
    feed(&mut forecaster, 0, walk);
    for report in forecaster.reports() {
        assert!(!report.beats_persistence, "{report:?}");
        assert!((0.93..=0.97).contains(&report.coverage), "{report:?}");
    }
    assert!(forecaster.forecasts().iter().all(|forecast| forecast.quantiles[0].by == Model::Persistence));
}

#[test]
fn the_first_forecasts_have_the_last_value_within_their_band() {
    // No load yet, then a start with a rise, then a stop.
    let loads = [0.0, 0.0, 0.0, 2.0, 15.0, 104.0, 98.0, 101.0, 99.0, 30.0, 0.0, 0.0, 1.0];
    for horizon in [Horizon::At(1), Horizon::At(3), Horizon::PeakWithin(3)] {
        let settings = Settings::new(STEP, &[horizon], &[0.05, 0.5, 0.95]).expect("the settings are sound");
        let mut forecaster = Forecaster::new(settings);
        for (number, last) in loads.into_iter().enumerate() {
            feed(&mut forecaster, number, [last]);
            let quantiles = &forecaster.forecasts()[0].quantiles;
            let [low, middle, high] = [quantiles[0].load, quantiles[1].load, quantiles[2].load];
            let what = format!("{horizon:?}, step {number} at {last}: {low}, {middle}, {high}");
            assert!(low <= middle && middle <= last + 1e-3 && last <= high + 1e-3, "{what}");
        }
    }
}

#[test]
fn a_period_other_than_a_day_is_found() {
    let mut forecaster = forecaster(&[Horizon::At(3)]);
    feed(&mut forecaster, 0, (0..3 * DAY).map(|number| if number % 37 < 5 { 500.0 } else { 20.0 }));
    assert!(forecaster.seasons().iter().any(|season| season.steps == 37), "{:?}", forecaster.seasons());
    let seen = (0..37).map(|ahead| {
        feed(&mut forecaster, 3 * DAY + ahead, [if (3 * DAY + ahead) % 37 < 5 { 500.0 } else { 20.0 }]);
        forecaster.forecasts()[0].quantiles[0].load
    });
    let high = seen.filter(|&load| load > 400.0).count();
    assert!((4..=7).contains(&high), "five steps of each period are high, {high} were foreseen");
}

#[test]
fn the_band_is_wider_at_times_of_day_when_the_load_varies_more() {
    let mut noise = Noise::new(3);
    let loads = |number: usize, noise: &mut Noise| {
        let spread = if number % DAY < DAY / 2 { 10.0 } else { 400.0 };
        1000.0 + spread * (noise.next() - 0.5)
    };
    let mut forecaster = forecaster(&[Horizon::At(1)]);
    let quiet = feed(&mut forecaster, 0, (0..8 * DAY + DAY / 4).map(|number| loads(number, &mut noise)));
    let band = |forecaster: &Forecaster| forecaster.forecasts()[0].quantiles[0].load - 1000.0;
    let quiet_band = band(&forecaster);
    feed(&mut forecaster, quiet, (quiet..quiet + DAY / 2).map(|number| loads(number, &mut noise)));
    let restless_band = band(&forecaster);
    assert!(quiet_band < 40.0 && restless_band > 100.0, "{quiet_band} by day, {restless_band} by night");
}

#[test]
fn a_sample_that_is_not_a_load_changes_nothing() {
    let mut forecaster = forecaster(&[Horizon::At(1)]);
    let next = feed(&mut forecaster, 0, (0..DAY).map(wave));
    let before = format!("{forecaster:?}");
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, -f64::MIN_POSITIVE, f64::MAX] {
        assert_eq!(forecaster.observe(STEP * next as u32, bad), SampleOutcome::NotALoad, "{bad}");
    }
    assert_eq!(forecaster.observe(STEP * (next as u32 - 1), 1.0), SampleOutcome::TooLate);
    assert_eq!(format!("{forecaster:?}"), before);
}

#[test]
fn samples_of_one_step_count_with_their_mean_and_late_ones_not_at_all() {
    let mut forecaster = forecaster(&[Horizon::At(1)]);
    let sample = |second: u64, load: f64, forecaster: &mut Forecaster| {
        forecaster.observe(Duration::from_secs(second), load)
    };
    assert_eq!(sample(0, 10.0, &mut forecaster), SampleOutcome::Counted);
    assert_eq!(sample(299, 20.0, &mut forecaster), SampleOutcome::Counted);
    assert!(forecaster.forecasts().is_empty(), "no step is over yet");
    assert_eq!(sample(300, 99.0, &mut forecaster), SampleOutcome::Counted);
    assert_eq!(forecaster.forecasts()[0].quantiles[0].load, 15.0);
    assert_eq!(sample(100, 1.0, &mut forecaster), SampleOutcome::TooLate);
    assert_eq!(forecaster.steps(), 1);
}

#[test]
fn a_gap_keeps_the_time_of_day_and_one_longer_than_the_history_resets_the_forecaster() {
    let mut forecaster = forecaster(&[Horizon::At(12)]);
    feed(&mut forecaster, 0, (0..6 * DAY).map(wave));
    let after = 7 * DAY + DAY / 4;
    let next = feed(&mut forecaster, after, (after..after + 12).map(wave));
    let load = forecaster.forecasts()[0].quantiles[0].load;
    assert!((0.9..1.5).contains(&(load / wave(next + 11))), "{load} instead of {}", wave(next + 11));

    feed(&mut forecaster, next + 2 * HISTORY_STEPS, [5.0]);
    assert_eq!(forecaster.steps(), 1);
    assert_eq!(forecaster.forecasts()[0].quantiles[0].load, 5.0);
}

#[test]
fn nothing_is_learnt_from_an_exceptional_sale_and_the_usual_day_bridges_it() {
    let horizons = [Horizon::PeakWithin(3), Horizon::At(12)];
    let mut usual = forecaster(&horizons);
    let mut sold = forecaster(&horizons);
    let mut noise = Noise::new(5);
    let sale = 7 * DAY + 90..7 * DAY + 200;
    let difference = |one: &Forecaster, other: &Forecaster| {
        let loads =
            |it: &Forecaster| it.forecasts().iter().map(|it| it.quantiles[0].load).collect::<Vec<_>>();
        let pairs: Vec<_> = loads(one).into_iter().zip(loads(other)).collect();
        pairs.iter().map(|(one, other)| (one / other - 1.0).abs()).fold(0.0, f64::max)
    };
    for number in 0..9 * DAY {
        let load = wave(number) * (0.95 + 0.1 * noise.next());
        feed(&mut usual, number, [load]);
        if sale.contains(&number) {
            sold.mark_exceptional(STEP * number as u32);
            feed(&mut sold, number, [5.0 * load]);
            assert!(
                difference(&sold, &usual) < 0.15,
                "at {number}: {:?}, {:?}",
                sold.forecasts(),
                usual.forecasts()
            );
        } else {
            feed(&mut sold, number, [load]);
        }
        // The only trace of the sale is that a part of a day was not learnt from.
        assert!(
            difference(&sold, &usual) < 0.15,
            "at {number}: {:?}, {:?}",
            sold.forecasts(),
            usual.forecasts()
        );
    }
    let scored = |it: &Forecaster| it.reports()[1].scored;
    assert_eq!(scored(&usual) - scored(&sold), sale.len() as u64, "forecasts of the sale are not scored");
}

#[test]
fn exceptional_steps_before_any_other_are_forecast_as_no_load() {
    let mut forecaster = forecaster(&[Horizon::At(1)]);
    for number in 0..10u32 {
        forecaster.mark_exceptional(STEP * number);
        forecaster.observe(STEP * number, 500.0);
    }
    forecaster.close(STEP * 10);
    assert_eq!(forecaster.forecasts()[0].quantiles[0].load, 0.0);
    feed(&mut forecaster, 10, [70.0]);
    assert!(forecaster.forecasts()[0].quantiles[0].load >= 70.0);
}

#[test]
fn a_season_that_turns_around_costs_at_most_twice_what_the_last_value_would() {
    let loads: Vec<f64> =
        (0..14 * DAY).map(|number| wave(if number < 7 * DAY { number } else { number + DAY / 2 })).collect();
    let trial = trial(&loads, Horizon::At(12), 7 * DAY);
    assert!(trial.ours < 2.0 * trial.naive, "{} of {}", trial.ours, trial.naive);
    assert!(trial.highest < 2.0 * 2200.0 + 1.0, "{}", trial.highest);
}

#[test]
fn a_load_that_stops_is_forecast_as_nearly_zero_within_a_day() {
    let mut forecaster = forecaster(&[Horizon::At(12)]);
    let dead = feed(&mut forecaster, 0, (0..7 * DAY).map(wave));
    feed(&mut forecaster, dead, std::iter::repeat_n(0.0, DAY));
    let load = forecaster.forecasts()[0].quantiles[0].load;
    assert!(load < 100.0, "{load} requests a second were expected of a dead service");
}

#[test]
fn a_hundredfold_step_is_followed_within_two_hours_and_never_forecast_at_twice_its_size() {
    let mut noise = Noise::new(4);
    let mut forecaster = forecaster(&[Horizon::At(1), Horizon::At(12)]);
    let from = feed(&mut forecaster, 0, (0..4 * DAY).map(|_| 10.0 + noise.next()));
    for number in from..from + 2 * DAY {
        feed(&mut forecaster, number, [1000.0 + 100.0 * noise.next()]);
        for forecast in forecaster.forecasts() {
            let load = forecast.quantiles[0].load;
            assert!(load <= 2.0 * 1100.0, "{load}");
            assert!(load >= 900.0 || number < from + 24, "{load} two hours after the step");
        }
    }
}

#[test]
fn a_sawtooth_at_the_period_of_the_search_for_seasons_does_no_harm() {
    let loads: Vec<f64> = (0..12 * DAY).map(|number| (number % DAY) as f64 * 10.0 + 1.0).collect();
    let trial = trial(&loads, Horizon::At(12), 4 * DAY);
    assert!(trial.ours < trial.naive, "{} of {}", trial.ours, trial.naive);
}

#[test]
fn rare_bursts_hardly_worsen_the_forecast_of_the_usual_day() {
    let mut noise = Noise::new(5);
    let loads: Vec<f64> =
        (0..10 * DAY).map(|number| if noise.next() < 0.01 { 100_000.0 } else { wave(number) }).collect();
    let trial = trial(&loads, Horizon::At(12), 5 * DAY);
    assert!(trial.ours < 1.05 * trial.naive, "{} of {}", trial.ours, trial.naive);
}

#[test]
fn a_far_horizon_is_bounded_by_its_own_errors_once_some_are_known() {
    let mut noise = Noise::new(6);
    let mut forecaster = forecaster(&[Horizon::At(60)]);
    let next = feed(&mut forecaster, 0, (0..120).map(|_| 1000.0 + 100.0 * noise.next()));
    for number in next..next + 60 {
        feed(&mut forecaster, number, [1000.0 + 100.0 * noise.next()]);
        let load = forecaster.forecasts()[0].quantiles[0].load;
        assert!((1000.0..1300.0).contains(&load), "{load}");
    }
}

#[test]
fn the_forecast_on_an_assumed_step_is_that_of_the_real_one_and_teaches_nothing() {
    let mut noise = Noise::new(7);
    let mut forecaster = forecaster(&[Horizon::At(1), Horizon::PeakWithin(3)]);
    assert_eq!((forecaster.forecast_assuming(0, 1.0), forecaster.last()), (None, None));
    // Past the end of the history, where the assumed step overwrites the oldest.
    let next = feed(
        &mut forecaster,
        0,
        (0..HISTORY_STEPS + 3).map(|number| wave(number) * (0.9 + 0.2 * noise.next())),
    );
    let before = format!("{forecaster:?}");
    let assumed = forecaster.forecast_assuming(1, 1234.0).expect("the horizon is there");
    for load in [f64::NAN, f64::INFINITY, -1.0, 1e16] {
        assert_eq!(forecaster.forecast_assuming(1, load), None);
    }
    assert!(format!("{forecaster:?}") == before, "something was learnt from an assumed step");
    assert_eq!(forecaster.forecast_assuming(2, 1234.0), None);
    forecaster.observe(STEP * next as u32, 1234.0);
    forecaster.close(STEP * (next as u32 + 1));
    assert_eq!(forecaster.last(), Some(1234.0));
    let real = &forecaster.forecasts()[1];
    let ratio = assumed.quantiles[0].load / real.quantiles[0].load;
    assert!((0.9..1.1).contains(&ratio), "{assumed:?}, then {real:?}");
}

#[test]
fn settings_beyond_their_limits_are_refused() {
    let hour = Duration::from_secs(3600);
    assert_eq!(Settings::new(hour * 2, &[Horizon::At(1)], &[0.5]), Err(SettingsError::Step(hour * 2)));
    assert_eq!(Settings::new(hour, &[], &[0.5]), Err(SettingsError::Horizons));
    assert_eq!(Settings::new(hour, &[Horizon::PeakWithin(0)], &[0.5]), Err(SettingsError::Horizons));
    assert_eq!(Settings::new(hour, &[Horizon::At(AHEAD_MAX + 1)], &[0.5]), Err(SettingsError::Horizons));
    assert_eq!(Settings::new(hour, &[Horizon::At(1)], &[1.0]), Err(SettingsError::Levels));
    assert_eq!(Settings::new(hour, &[Horizon::At(1)], &[f64::NAN]), Err(SettingsError::Levels));
    assert_eq!(Settings::new(hour, &[Horizon::At(1)], &[0.9, 0.5]), Err(SettingsError::Levels));
}

/// Ordinary, tiny and huge loads, zeros, and values that are not a load.
fn any_sample() -> impl Strategy<Value = (u32, f64)> {
    let load = prop_oneof![
        8 => 0.0..1000.0f64,
        2 => Just(0.0),
        1 => 0.0..1e-300f64,
        1 => 1e12..1e16f64,
        1 => any::<f64>(),
    ];
    (prop_oneof![20 => 1u32..2, 1 => 0u32..60], load)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_forecast_is_finite_ascending_and_below_twice_the_peak(samples in prop::collection::vec(any_sample(), 1..400)) {
        let settings = Settings::new(STEP, &[Horizon::At(1), Horizon::PeakWithin(3)], &[0.05, 0.5, 0.8, 0.95, 0.999]).unwrap();
        let (mut one, mut other) = (Forecaster::new(settings.clone()), Forecaster::new(settings));
        let (mut number, mut peak) = (0u32, 0.0f64);
        for (later, load) in samples {
            number += later;
            let outcome = one.observe(STEP * number, load);
            prop_assert_eq!(outcome, other.observe(STEP * number, load));
            if outcome == SampleOutcome::Counted {
                peak = peak.max(load);
            }
            for forecast in one.forecasts() {
                prop_assert!(forecast.quantiles.is_sorted_by_key(|quantile| quantile.load), "{:?}", forecast.quantiles);
                for quantile in forecast.quantiles {
                    prop_assert!((0.0..=2.0001 * peak).contains(&quantile.load), "{:?} of {}", quantile, peak);
                }
            }
        }
        prop_assert_eq!(one.forecasts(), other.forecasts());
        let reports = one.reports();
        prop_assert!(reports.iter().flat_map(|report| &report.scores).all(|score| score.loss.is_finite()));
    }
}
