//! The resources of a running life are changed.

use std::time::Duration;

use ::platform::{AllotRequest, Life, LifeState};
use model::action::{Outcome, Refusal};
use model::identity::{ActionId, Epoch, Incarnation};
use model::resource::{Quantity, Resources};
use serde_json::json;

use super::cases;
use super::world::World;

cases![
    a_running_life_gets_new_limits_at_once,
    an_omitted_resource_keeps_its_limit,
    an_older_action_has_no_effect,
    another_life_is_not_changed,
    an_action_of_an_older_epoch_is_refused,
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

fn allot_request(action: ActionId, life: &Life, resources: Resources) -> AllotRequest {
    AllotRequest { action, replica: life.replica.clone(), incarnation: life.incarnation, resources }
}

async fn a_running_life_gets_new_limits_at_once(world: &mut World) {
    let life = small(world).await;
    assert_eq!(life.resources, Some(resources(Some("100m"), Some("64Mi"))));
    for wanted in [resources(Some("300m"), Some("96Mi")), resources(Some("50m"), Some("32Mi"))] {
        let request = allot_request(world.next_action(), &life, wanted);
        assert_eq!(world.platform().allot(request.clone()).await, Outcome::Applied);
        assert_eq!(world.platform().allot(request).await, Outcome::Applied, "sent again");
        let now = world.only_life().await;
        assert_eq!((now.pid, now.state, now.resources), (life.pid, LifeState::Running, Some(wanted)));
    }
    world.reopen().await;
    assert_eq!(world.only_life().await.resources, Some(resources(Some("50m"), Some("32Mi"))));
}

async fn an_omitted_resource_keeps_its_limit(world: &mut World) {
    let life = small(world).await;
    let request = allot_request(world.next_action(), &life, resources(Some("300m"), None));
    assert_eq!(world.platform().allot(request).await, Outcome::Applied);
    assert_eq!(world.only_life().await.resources, Some(resources(Some("300m"), Some("64Mi"))));
}

async fn an_older_action_has_no_effect(world: &mut World) {
    let life = small(world).await;
    let older = allot_request(world.next_action(), &life, resources(Some("900m"), None));
    let newer = allot_request(world.next_action(), &life, resources(Some("300m"), None));
    assert_eq!(world.platform().allot(newer).await, Outcome::Applied);
    assert_eq!(world.platform().allot(older).await, Outcome::Applied);
    assert_eq!(world.only_life().await.resources, Some(resources(Some("300m"), Some("64Mi"))));
}

async fn another_life_is_not_changed(world: &mut World) {
    let life = small(world).await;
    let refused = Outcome::Refused(Refusal::OtherIncarnation);
    let other = Life { incarnation: Incarnation(9), ..life.clone() };
    let request = allot_request(world.next_action(), &other, resources(Some("300m"), None));
    assert_eq!(world.platform().allot(request).await, refused);
    assert_eq!(world.only_life().await.resources, life.resources);
    world.stop(&life, Duration::ZERO).await;
    let request = allot_request(world.next_action(), &life, resources(Some("300m"), None));
    assert_eq!(world.platform().allot(request).await, refused, "it has ended");
}

async fn an_action_of_an_older_epoch_is_refused(world: &mut World) {
    world.epoch = Epoch(7);
    let life = small(world).await;
    let stale = ActionId { epoch: Epoch(6), sequence: 99 };
    let request = allot_request(stale, &life, resources(Some("300m"), None));
    assert_eq!(world.platform().allot(request).await, Outcome::Refused(Refusal::StaleEpoch));
    assert_eq!(world.only_life().await.resources, life.resources);
}
