//! Slow start: an endpoint that has just begun to serve gets a growing share.

use std::time::Duration;

use proxy::{Balance, EndpointState, Ramp, SlowStart};

use crate::kit::*;

const WINDOW: Duration = Duration::from_millis(1500);

/// Answers of `new` among those that came before the ramp of the second endpoint had reached `percent`.
async fn answers_until(percent: u8, fixture: &Fixture, client: &mut Client) -> (u32, u32) {
    let (mut new, mut all) = (0, 0);
    while fixture.traffic().endpoints[1].ramp.percent() < percent {
        new += u32::from(client.get("/").await.unwrap().body() == "new");
        all += 1;
    }
    (new, all)
}

#[tokio::test]
async fn a_new_endpoint_gets_a_growing_share() {
    for balance in [Balance::RoundRobin, Balance::Weighted, Balance::LeastLoaded] {
        let (old, new) = (Backend::named("old").await, Backend::named("new").await);
        let fixture = Fixture::with(&[old.address, new.address], |_, route| {
            (route.balance, route.slow_start) = (balance, SlowStart::over(WINDOW));
            route.endpoints[1].state = EndpointState::Out;
        });
        let mut client = fixture.client().await;
        until(|| fixture.traffic().endpoints[0].ramp == Ramp::FULL).await;
        client.get("/").await.unwrap();
        fixture.table.set_endpoint_state(SERVICE, id(1), EndpointState::Serving).unwrap();

        let (early, of_early) = within(answers_until(30, &fixture, &mut client)).await;
        assert!(early > 0, "{balance:?}: nothing of {of_early}");
        assert!(f64::from(early) < 0.25 * f64::from(of_early), "{balance:?}: {early} of {of_early}");
        within(answers_until(100, &fixture, &mut client)).await;
        if balance != Balance::LeastLoaded {
            within(takes_turns(&mut client)).await;
        }
    }
}

/// Returns once the two endpoints have answered twenty requests in turn.
async fn takes_turns(client: &mut Client) {
    let (mut in_turn, mut last) = (0, client.get("/").await.unwrap().into_body());
    while in_turn < 20 {
        let next = client.get("/").await.unwrap().into_body();
        in_turn = if next == last { 0 } else { in_turn + 1 };
        last = next;
    }
}
