//! Services with an SLO, sized ahead of a load that repeats itself.

use model::decision::{Decision, Limit};
use model::input::Declared;
use model::resource::{Expose, ForecastMode, Forecasting, ListenAddress, PortName};

use crate::slo::{Shop, slo, with_slo};

/// A service of 2 to 20 replicas with an SLO of 200 ms and a listener.
fn shop() -> Declared {
    let mut declared = with_slo(1, 1, slo(None));
    let listen = ListenAddress::parse("127.0.0.1:8080").unwrap();
    declared.spec.expose = Some(Expose::new(listen, PortName::parse("http").unwrap()));
    declared
}

fn in_mode(mode: ForecastMode) -> Declared {
    let mut declared = shop();
    declared.spec.scale.forecast = Some(Forecasting::of_mode(mode));
    declared
}

const ROUND: u64 = 1200;

/// Sixty requests a second, and four hundred for two of each twenty minutes. Ten replicas carry them.
fn rounds(at: u64) -> f64 {
    if at % ROUND < 120 { 400.0 } else { 60.0 }
}

fn second(shop: &Shop) -> u64 {
    shop.world.now.as_millis() / 1000
}

fn serve_for(shop: &mut Shop, secs: u64, load: impl Fn(u64) -> f64) {
    for _ in 0..secs {
        shop.second(load(second(shop)));
    }
}

/// A service ten seconds before a rise, after two hours of rises.
fn before_a_rise(declared: Declared) -> Shop {
    let mut shop = Shop::new(declared);
    serve_for(&mut shop, 2 * 3600, rounds);
    let left = ROUND - second(&shop) % ROUND + ROUND - 10;
    serve_for(&mut shop, left, rounds);
    shop
}

fn forecast(decision: &Decision) -> &Limit {
    decision.limits.iter().find(|limit| limit.name == "Forecast").expect("the decision has the limit")
}

#[test]
fn an_slo_is_kept_through_a_rise_that_repeats_itself() {
    let mut ahead = before_a_rise(shop());
    let decision = ahead.decision();
    assert!((10..=15).contains(&ahead.desired()), "{decision:?}");
    let limit = forecast(&decision);
    assert!(limit.from < limit.to && limit.note.contains("(blend, loss 0."), "{limit:?}");
    assert!(
        limit.note.contains("carry at the least cost: a request that violates the SLO costs as much as"),
        "{limit:?}"
    );
    assert!(decision.metrics[0].note.contains("learned from"), "{}", decision.metrics[0].note);
    assert!(decision.summary.contains("for the forecast load"), "{}", decision.summary);

    let mut behind = before_a_rise(in_mode(ForecastMode::Off));
    assert!(behind.desired() <= 4, "{:?}", behind.decision());
    let late = |shop: &mut Shop| {
        (shop.requests, shop.late) = (0.0, 0.0);
        serve_for(shop, 60, rounds);
        shop.late / shop.requests
    };
    let (ahead, behind) = (late(&mut ahead), late(&mut behind));
    assert!(
        ahead < 0.001 && behind > 0.01,
        "{ahead} of the requests were late, and {behind} without a forecast"
    );
}

#[test]
fn in_mode_off_there_is_no_forecast_and_in_mode_shadow_it_has_no_effect() {
    let off = before_a_rise(in_mode(ForecastMode::Off));
    assert!(off.world.service("shop").load_forecast.is_none());
    assert!(off.decision().limits.iter().all(|limit| limit.name != "Forecast"));

    let shadow = before_a_rise(in_mode(ForecastMode::Shadow));
    assert_eq!((shadow.desired(), shadow.cost), (off.desired(), off.cost));
    let tried = &shadow.world.service("shop").shadows[0];
    assert!(tried.name.as_str() == "forecast" && tried.desired >= 10, "{tried:?}");
    assert!(forecast(&shadow.decision()).note.contains("its mode is shadow"));
}

#[test]
fn a_forecast_raises_nothing_before_the_capacity_is_known() {
    let mut shop = Shop::new(shop());
    serve_for(&mut shop, 3, |_| 100.0);
    let decision = shop.decision();
    assert!(
        shop.desired() == 2 && forecast(&decision).note.contains("there is no forecast yet"),
        "{decision:?}"
    );
}

#[test]
fn a_load_unlike_the_forecast_stays_within_the_bounds() {
    type Turn = fn(u64) -> f64;
    let inverted: Turn = |at| if at % ROUND < 120 { 60.0 } else { 400.0 };
    let dead: Turn = |_| 0.0;
    let hundredfold: Turn = |at| if at % 3600 < 60 { 6000.0 } else { 60.0 };
    let sawtooth: Turn = |at| 60.0 + (at % 340) as f64;
    let trained = before_a_rise(shop());
    for turn in [inverted, dead, hundredfold, sawtooth] {
        let mut shop = trained.clone();
        for _ in 0..ROUND {
            let load = turn(second(&shop));
            shop.second(load);
            assert!((2..=20).contains(&shop.desired()));
            let is_reduction = |limit: &Limit| limit.name == "Forecast" && limit.to < limit.from;
            if second(&shop).is_multiple_of(10) {
                let decision = shop.decision();
                assert!(
                    !decision.limits.iter().any(is_reduction),
                    "a forecast never removes replicas: {decision:?}"
                );
            }
        }
    }
}
