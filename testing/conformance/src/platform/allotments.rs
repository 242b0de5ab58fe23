//! The resources of a life, changed while it runs.

use std::time::Duration;

use ::platform::{AllotRequest, Life, LifeState};
use model::action::{Outcome, Refusal};
use model::identity::{ActionId, Epoch, Incarnation};
use model::resource::{Quantity, Resources};
use serde_json::json;

use super::cases;
use super::world::World;

cases![
    a_life_goes_on_with_what_it_may_use_from_then_on,
    what_is_not_named_stays_as_it_is,
    an_older_word_is_without_effect,
    another_life_is_left_alone,
    a_word_of_an_older_epoch_is_refused,
];

fn resources(cpu: Option<&str>, memory: Option<&str>) -> Resources {
    let amount = |text: &str| Quantity::parse(text).expect("the cases name amounts");
    Resources { cpu: cpu.map(amount), memory: memory.map(amount) }
}

async fn small(world: &mut World) -> Life {
    let request = world.request_of(&json!({
        "run": {"command": ["/bin/sh", "-c", "exec sleep 60"]},
        "resources": {"cpu": "100m", "memory": "64Mi"},
    }));
    world.start_as(request).await
}

fn asked(action: ActionId, life: &Life, resources: Resources) -> AllotRequest {
    AllotRequest { action, replica: life.replica.clone(), incarnation: life.incarnation, resources }
}

async fn a_life_goes_on_with_what_it_may_use_from_then_on(world: &mut World) {
    let life = small(world).await;
    assert_eq!(life.resources, Some(resources(Some("100m"), Some("64Mi"))));
    for wanted in [resources(Some("300m"), Some("96Mi")), resources(Some("50m"), Some("32Mi"))] {
        let request = asked(world.next_action(), &life, wanted);
        assert_eq!(world.platform().allot(request.clone()).await, Outcome::Applied);
        assert_eq!(world.platform().allot(request).await, Outcome::Applied, "sent again");
        let now = world.only_life().await;
        assert_eq!((now.pid, now.state, now.resources), (life.pid, LifeState::Running, Some(wanted)));
    }
    world.reopen().await;
    assert_eq!(world.only_life().await.resources, Some(resources(Some("50m"), Some("32Mi"))));
}

async fn what_is_not_named_stays_as_it_is(world: &mut World) {
    let life = small(world).await;
    let request = asked(world.next_action(), &life, resources(Some("300m"), None));
    assert_eq!(world.platform().allot(request).await, Outcome::Applied);
    assert_eq!(world.only_life().await.resources, Some(resources(Some("300m"), Some("64Mi"))));
}

async fn an_older_word_is_without_effect(world: &mut World) {
    let life = small(world).await;
    let older = asked(world.next_action(), &life, resources(Some("900m"), None));
    let newer = asked(world.next_action(), &life, resources(Some("300m"), None));
    assert_eq!(world.platform().allot(newer).await, Outcome::Applied);
    assert_eq!(world.platform().allot(older).await, Outcome::Applied);
    assert_eq!(world.only_life().await.resources, Some(resources(Some("300m"), Some("64Mi"))));
}

async fn another_life_is_left_alone(world: &mut World) {
    let life = small(world).await;
    let refused = Outcome::Refused(Refusal::OtherIncarnation);
    let other = Life { incarnation: Incarnation(9), ..life.clone() };
    let request = asked(world.next_action(), &other, resources(Some("300m"), None));
    assert_eq!(world.platform().allot(request).await, refused);
    assert_eq!(world.only_life().await.resources, life.resources);
    world.stop(&life, Duration::ZERO).await;
    let request = asked(world.next_action(), &life, resources(Some("300m"), None));
    assert_eq!(world.platform().allot(request).await, refused, "it has ended");
}

async fn a_word_of_an_older_epoch_is_refused(world: &mut World) {
    world.epoch = Epoch(7);
    let life = small(world).await;
    let stale = ActionId { epoch: Epoch(6), sequence: 99 };
    let request = asked(stale, &life, resources(Some("300m"), None));
    assert_eq!(world.platform().allot(request).await, Outcome::Refused(Refusal::StaleEpoch));
    assert_eq!(world.only_life().await.resources, life.resources);
}
