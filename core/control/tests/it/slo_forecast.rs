//! Services that are sized by their promise, ahead of a load that was seen before.

use model::decision::{Decision, Limit};
use model::input::Declared;
use model::resource::{Expose, ForecastMode, Forecasting, ListenAddress, PortName};

use crate::promising::{Shop, promising, slo};

/// A service of 2 to 20 replicas that promises 200 ms and listens, and declares nothing else.
fn shop() -> Declared {
    let mut declared = promising(1, 1, slo(None));
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

/// The time until ten seconds before a rise, after two hours of rises.
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
fn a_promise_alone_is_kept_through_a_rise_that_was_seen_before() {
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
fn in_mode_off_nothing_is_forecast_and_in_shadow_it_has_no_effect() {
    let off = before_a_rise(in_mode(ForecastMode::Off));
    assert!(off.world.service("shop").foresight.is_none());
    assert!(off.decision().limits.iter().all(|limit| limit.name != "Forecast"));

    let shadow = before_a_rise(in_mode(ForecastMode::Shadow));
    assert_eq!((shadow.desired(), shadow.cost), (off.desired(), off.cost));
    let tried = &shadow.world.service("shop").shadows[0];
    assert!(tried.name.as_str() == "forecast" && tried.desired >= 10, "{tried:?}");
    assert!(forecast(&shadow.decision()).note.contains("its mode is shadow"));
}

#[test]
fn before_it_is_known_what_a_replica_carries_a_forecast_raises_nothing() {
    let mut shop = Shop::new(shop());
    serve_for(&mut shop, 3, |_| 100.0);
    let decision = shop.decision();
    assert!(
        shop.desired() == 2 && forecast(&decision).note.contains("there is no forecast yet"),
        "{decision:?}"
    );
}

#[test]
fn a_load_that_turns_against_what_was_forecast_costs_at_most_the_bounds() {
    type Turn = fn(u64) -> f64;
    let inverted: Turn = |at| if at % ROUND < 120 { 60.0 } else { 400.0 };
    let dead: Turn = |_| 0.0;
    let hundredfold: Turn = |at| if at % 3600 < 60 { 6000.0 } else { 60.0 };
    let sawtooth: Turn = |at| 60.0 + (at % 340) as f64;
    let learned = before_a_rise(shop());
    for turn in [inverted, dead, hundredfold, sawtooth] {
        let mut shop = learned.clone();
        for _ in 0..ROUND {
            let load = turn(second(&shop));
            shop.second(load);
            assert!((2..=20).contains(&shop.desired()));
            let takes = |limit: &Limit| limit.name == "Forecast" && limit.to < limit.from;
            if second(&shop).is_multiple_of(10) {
                let decision = shop.decision();
                assert!(!decision.limits.iter().any(takes), "a forecast takes none away: {decision:?}");
            }
        }
    }
}
