//! Scaling ahead of the load: what a forecast adds to the number by the metrics, and what it never does.

use std::time::Duration;

use knowledge::LoadForecast;
use model::decision::{Decision, Limit};
use model::input::{Declared, Demand, Input, Report};
use model::memory::{LoadSource, Memory};
use model::resource::{Expose, ForecastMode, Forecasting, ListenAddress, PortName, Quantity, Span};
use model::time::Wall;

use crate::bench::{READY, autoscaled, name};
use crate::world::{World, observed, seconds};

const STEP: u64 = 10;
const MAX: u32 = 10;

/// A service in which 100 requests a second use half of a core, the target of each replica.
fn shop(mode: Option<ForecastMode>) -> Declared {
    let mut declared = autoscaled("shop", 1, MAX);
    declared.spec.resources.cpu = Some(Quantity::parse("1").unwrap());
    let listen = ListenAddress::parse("127.0.0.1:8080").unwrap();
    declared.spec.expose = Some(Expose::new(listen, PortName::parse("http").unwrap()));
    let (horizon, step) = (Some(Span::from_secs(30)), Span::from_secs(STEP));
    declared.spec.scale.forecast =
        mode.map(|mode| Forecasting { horizon, step, ..Forecasting::of_mode(mode) });
    declared
}

/// A service, its proxy and its requests.
#[derive(Clone)]
struct Shop {
    world: World,
    requests: u64,
    spent: [Duration; MAX as usize],
    replica_seconds: u64,
}

impl Shop {
    fn new(declared: Declared) -> Self {
        let world = World::with([declared]);
        Self { world, requests: 0, spent: [Duration::ZERO; MAX as usize], replica_seconds: 0 }
    }

    /// A second passes in which `rate` requests arrive. A replica uses at most one core in it.
    fn serve(&mut self, rate: u64) {
        self.requests += rate;
        self.world.wall = Wall::from_millis(self.world.now.as_millis());
        let demand = Demand { service: name("shop"), requests: self.requests, waiting: 0, in_flight: 0 };
        self.world.put(&Input::Report(Report::Demand(vec![demand])));
        let places = self.world.places("shop");
        let share = Duration::from_millis(rate * 5 / places.len().max(1) as u64).min(seconds(1));
        for place in &places {
            self.spent[*place as usize] += share;
        }
        let spent: Vec<(String, Duration)> =
            places.iter().map(|place| (format!("shop-{place}"), self.spent[*place as usize])).collect();
        self.world.report_usage(spent.iter().map(|(name, spent)| (name.as_str(), *spent)));
        self.world.run_for(seconds(1));
        self.replica_seconds += places.len() as u64;
    }

    /// Lets seconds pass, each with the load of its time; after each, calls `look` with the wanted number.
    fn serve_for(&mut self, secs: u64, rate: impl Fn(u64) -> u64, mut look: impl FnMut(u64, u32)) {
        for _ in 0..secs {
            let at = self.second();
            self.serve(rate(at));
            look(at, self.desired());
        }
    }

    fn second(&self) -> u64 {
        self.world.now.as_millis() / 1000
    }

    fn desired(&self) -> u32 {
        self.world.service("shop").desired.expect("it was sized")
    }

    fn load_forecast(&self) -> &LoadForecast {
        self.world.service("shop").load_forecast.as_ref().expect("its load is forecast")
    }

    fn decision(&self) -> Decision {
        self.world.service("shop").decision.as_ref().expect("it was sized").decision()
    }

    fn forecast(&self) -> Limit {
        let decision = self.decision();
        decision
            .limits
            .into_iter()
            .find(|limit| limit.name == "Forecast")
            .expect("the decision has the limit")
    }

    fn memory(&self) -> Memory {
        Memory::clone(&self.world.service("shop").remembered.as_ref().expect("it is remembered").memory)
    }
}

const ROUND: u64 = 1200;

/// A hundred requests a second, and seven times as many for two of each twenty minutes.
fn rounds(at: u64) -> u64 {
    if at % ROUND < 120 { 700 } else { 100 }
}

const LEARNED: u64 = 4 * 3600;

fn trained(mode: ForecastMode) -> Shop {
    let mut shop = Shop::new(shop(Some(mode)));
    shop.serve_for(LEARNED, rounds, |_, _| {});
    let until_round = ROUND - shop.second() % ROUND;
    shop.serve_for(until_round, rounds, |_, _| {});
    shop
}

#[test]
fn replicas_are_ready_before_a_rise_that_repeats_itself() {
    let mut ahead = trained(ForecastMode::On);
    let mut behind = Shop::new(shop(None));
    behind.world.now = ahead.world.now;
    behind.serve_for(10, |_| 100, |_, _| {});
    let at_the_rise = |shop: &mut Shop| {
        shop.serve_for(ROUND - 10 - shop.second() % ROUND, rounds, |_, _| {});
        shop.desired()
    };
    assert_eq!(at_the_rise(&mut behind), 1);
    let ready = at_the_rise(&mut ahead);
    assert!((6..=9).contains(&ready), "700 requests a second need 7: {ready}\n{:?}", ahead.forecast());
    let forecast = ahead.forecast();
    assert!(forecast.from < forecast.to && forecast.note.contains("(blend, loss 0."), "{forecast:?}");
    let summary = ahead.decision().summary;
    assert!(summary.contains("for the forecast load"), "{summary}");
}

/// A shop with a known event: five times the usual load for ten minutes, from an hour and a minute after midnight.
fn with_sale(mode: ForecastMode) -> Declared {
    let mut declared = shop(Some(mode));
    let event = serde_json::json!({"name": "sale", "cron": "1 1 * * *", "duration": "10m", "factor": 5});
    let events = vec![serde_json::from_value(event).unwrap()];
    declared.spec.scale.forecast =
        declared.spec.scale.forecast.map(|forecasting| Forecasting { events, ..forecasting });
    declared
}

/// Serves until `offset` seconds after the start of the sale.
fn serve_until_sale(shop: &mut Shop, offset: i64, rate: u64) {
    let at = |shop: &Shop| i64::try_from(shop.world.wall.as_millis() / 1000 % 86_400).unwrap();
    while at(shop) != 3660 + offset {
        shop.serve(rate);
    }
}

#[test]
fn replicas_are_ready_before_a_known_sale_without_an_earlier_one() {
    let mut informed = Shop::new(with_sale(ForecastMode::On));
    informed.serve_for(120, |_| 100, |_, _| {});
    serve_until_sale(&mut informed, -60, 100);
    assert_eq!(informed.desired(), 1, "{:?}", informed.forecast());
    serve_until_sale(&mut informed, -15, 100);
    assert!((5..=6).contains(&informed.desired()), "a start before: {:?}", informed.forecast());
    let note = informed.forecast().note;
    assert!(note.contains("event sale: ×5 from 1970-01-"), "{note}");
    serve_until_sale(&mut informed, 500, 100);
    assert!(
        (5..=6).contains(&informed.desired()),
        "the replicas are kept even if there is no extra load: {:?}",
        informed.forecast()
    );
    let prospects = informed.world.service("shop").decision.as_ref().unwrap().prospects();
    let until_it_is_over = "no load leads to fewer replicas while this is forecast: ";
    assert!(prospects.iter().any(|it| it.note.starts_with(until_it_is_over)), "{prospects:?}");
    serve_until_sale(&mut informed, 1000, 100);
    assert_eq!(informed.desired(), 1, "the sale is over: {:?}", informed.forecast());
    assert!(!informed.forecast().note.contains("event"), "{:?}", informed.forecast());
}

#[test]
fn a_known_sale_changes_no_size_in_mode_shadow() {
    let mut shadow = Shop::new(with_sale(ForecastMode::Shadow));
    shadow.serve_for(120, |_| 100, |_, _| {});
    serve_until_sale(&mut shadow, 60, 100);
    assert_eq!(shadow.desired(), 1);
    assert!(shadow.forecast().note.contains("event sale"), "{:?}", shadow.forecast());
    let tried = &shadow.world.service("shop").shadows[0];
    assert!((5..=6).contains(&tried.desired), "{tried:?}");
}

#[test]
fn in_mode_shadow_a_forecast_is_shown_and_has_no_effect() {
    let mut shadow = trained(ForecastMode::Shadow);
    let mut alone = Shop::new(shop(None));
    alone.serve_for(LEARNED, rounds, |_, _| {});
    alone.serve_for(ROUND - alone.second() % ROUND, rounds, |_, _| {});
    assert_eq!(shadow.replica_seconds, alone.replica_seconds);
    shadow.serve_for(ROUND - 10, rounds, |_, _| {});
    let tried = &shadow.world.service("shop").shadows[0];
    assert_eq!((tried.name.as_str(), shadow.desired()), ("forecast", 1));
    assert!(tried.desired >= 6 && tried.above.ms > 0, "{tried:?}");
    let decision = &shadow.decision().shadows[0].decision;
    assert!(decision.limits.iter().any(|limit| limit.name == "Forecast" && limit.to >= 6), "{decision:?}");
    assert!(shadow.forecast().note.contains("its mode is shadow"), "{:?}", shadow.forecast());
}

#[test]
fn a_forecast_that_does_not_beat_the_last_value_is_not_used() {
    // Another random load every ten minutes.
    let mut chance = model::chance::Stream::named(7, "a load without a pattern");
    let levels: Vec<u64> = (0..100).map(|_| 50 + chance.below(900)).collect();
    let rate = |at: u64| levels[(at / 600) as usize % levels.len()];
    let mut with = Shop::new(shop(Some(ForecastMode::On)));
    let mut without = Shop::new(shop(None));
    with.serve_for(20 * STEP, rate, |_, _| {});
    let note = with.forecast().note.clone();
    assert!(
        note.contains("no model may replace the last value before 30 forecasts have been scored"),
        "{note}"
    );
    with.serve_for(3 * 3600 - 20 * STEP, rate, |_, _| {});
    without.serve_for(3 * 3600, rate, |_, _| {});
    let more = with.replica_seconds as f64 / without.replica_seconds as f64;
    assert!((1.0..1.1).contains(&more), "{more}");
    let note = &with.forecast().note;
    assert!(
        note.contains("no model has beaten the last value by 2 % (loss ")
            && note.ends_with("so it is not used; it changes nothing"),
        "{note}"
    );
}

#[test]
fn the_learned_load_survives_a_restart() {
    let mut shop_before = trained(ForecastMode::On);
    let memory = shop_before.memory();
    let record = memory.load.clone().expect("its load is remembered");
    assert_eq!((record.source, record.step), (LoadSource::Requests, seconds(STEP)));
    assert!(record.loads.len() as u64 > (LEARNED / STEP) - 20, "{}", record.loads.len());

    let running = shop_before.world.places("shop");
    shop_before.world.start_run();
    shop_before.world.declare(shop(Some(ForecastMode::On)));
    shop_before.world.restore(memory);
    shop_before
        .world
        .report_inventory(running.iter().map(|place| observed(&format!("shop-{place}"), 1, READY)));
    // The proxy has restarted as well.
    shop_before.requests = 0;
    let mut after = shop_before;
    after.serve_for(5, rounds, |_, _| {});
    assert!(after.forecast().note.contains("are learned again"), "{:?}", after.forecast());
    after.serve_for(ROUND - 10 - after.second() % ROUND, rounds, |_, _| {});
    assert!(after.desired() >= 6, "{:?}", after.forecast());
}

#[test]
fn a_load_unlike_the_learned_one_stays_within_the_bounds() {
    type Turn = fn(u64) -> u64;
    let inverted: Turn = |at| if at % ROUND < 120 { 100 } else { 700 };
    let dead: Turn = |_| 0;
    let hundredfold: Turn = |at| if at % 7200 < 60 { 10_000 } else { 100 };
    let sawtooth: Turn = |at| 100 + at % 640;
    let trained = trained(ForecastMode::On);
    let mut never = Shop::new(shop(None));
    never.serve_for(trained.second() - never.second(), rounds, |_, _| {});
    for turn in [inverted, dead, hundredfold, sawtooth] {
        let (mut with, mut without) = (trained.clone(), never.clone());
        for _ in 0..3600 {
            let at = with.second();
            with.serve(turn(at));
            without.serve(turn(at));
            assert!((without.desired()..=MAX).contains(&with.desired()), "never fewer for a forecast");
        }
    }
}

#[test]
fn the_forecast_of_a_load_that_stopped_falls_to_nothing() {
    let mut shop = trained(ForecastMode::On);
    shop.serve_for(12 * 3600, |_| 0, |_, _| {});
    let mut most = 0;
    shop.serve_for(2 * ROUND, |_| 0, |_, desired| most = most.max(desired));
    assert_eq!(most, 1, "{:?}", shop.forecast());
}

#[test]
fn no_load_is_forecast_unless_declared() {
    for declared in [shop(None), shop(Some(ForecastMode::Off))] {
        let mut shop = Shop::new(declared);
        shop.serve_for(60, rounds, |_, _| {});
        assert!(shop.world.service("shop").load_forecast.is_none());
        assert!(shop.decision().limits.iter().all(|limit| limit.name != "Forecast"));
        assert_eq!(shop.memory().load, None);
    }
}

#[test]
fn the_load_of_an_unexposed_service_is_forecast_in_replicas() {
    let mut declared = shop(Some(ForecastMode::On));
    declared.spec.expose = None;
    let mut shop = Shop::new(declared);
    shop.serve_for(600, |_| 300, |_, _| {});
    assert_eq!(shop.load_forecast().source(), LoadSource::Replicas);
    let past: Vec<f64> = shop.load_forecast().past(10).filter_map(|(_, load)| load).collect();
    assert!(past.len() == 10 && past.iter().all(|load| (2.8..=3.2).contains(load)), "{past:?}");
}

#[test]
fn a_forecast_that_is_no_longer_declared_is_forgotten() {
    let mut forecast_shop = Shop::new(shop(Some(ForecastMode::On)));
    forecast_shop.serve_for(300, rounds, |_, _| {});
    assert!(forecast_shop.memory().load.is_some());
    let mut declared = shop(None);
    declared.revision = model::identity::Generation(2);
    forecast_shop.world.declare(declared);
    forecast_shop.serve_for(2, rounds, |_, _| {});
    assert!(forecast_shop.world.service("shop").load_forecast.is_none());
    assert_eq!(forecast_shop.memory().load, None);
}
