//! What the tests share.

use std::sync::Arc;
use std::time::Duration;

use model::action::Outcome;
use model::identity::{ActionId, Epoch, Generation, Incarnation, Ordinal, ReplicaId};
use model::input::Declared;
use model::name::ServiceName;
use platform::{Life, Platform, StartRequest, StopRequest};
use platform_process::{ProcessPlatform, Settings};
use serde_json::Value;

/// The timeout of every wait: slow virtual machines run these tests, too.
pub(crate) const DEADLINE: Duration = Duration::from_mins(2);

pub(crate) fn shop(ordinal: u32) -> ReplicaId {
    ReplicaId { service: ServiceName::parse("shop").unwrap(), ordinal: Ordinal(ordinal) }
}

pub(crate) fn action(epoch: u64, sequence: u64) -> ActionId {
    ActionId { epoch: Epoch(epoch), sequence }
}

pub(crate) fn open(folder: &tempfile::TempDir) -> ProcessPlatform {
    ProcessPlatform::open(Settings::new(folder.path().join("data"), folder.path())).unwrap()
}

/// Runs what `spec` declares as the life `sequence` of `shop-0`; the sequence is that of the action, too.
pub(crate) async fn start(platform: &dyn Platform, sequence: u32, spec: Value) -> Life {
    let started = platform.start(start_request(2, sequence, spec)).await;
    assert_eq!(started.outcome, Outcome::Applied);
    started.life.unwrap()
}

/// A request of an epoch to run what `spec` declares as the life `sequence` of `shop-0`; the sequence is that of the action, too.
pub(crate) fn start_request(epoch: u64, sequence: u32, spec: Value) -> StartRequest {
    let declared = Declared {
        name: ServiceName::parse("shop").unwrap(),
        revision: Generation(1),
        generation: Generation(1),
        spec: serde_json::from_value(spec).unwrap(),
        autoscaler: None,
    };
    StartRequest {
        action: action(epoch, u64::from(sequence)),
        replica: shop(0),
        incarnation: Incarnation(sequence),
        declared: Arc::new(declared),
    }
}

/// Kills all replicas and closes the driver.
pub(crate) async fn end(platform: ProcessPlatform) {
    for life in platform.inventory().await.unwrap() {
        let request = StopRequest {
            action: action(u64::MAX, 1),
            replica: life.replica,
            incarnation: life.incarnation,
            grace: Duration::ZERO,
        };
        assert_eq!(platform.stop(request).await, Outcome::Applied);
    }
    platform.close().await;
}

/// Waits until `look` gives something.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            // tidy: pause between looks
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    match tokio::time::timeout(DEADLINE, looking).await {
        Ok(found) => found,
        Err(_) => panic!("{what} did not come within {DEADLINE:?}"),
    }
}

pub(crate) fn text_of(path: &std::path::Path) -> Option<String> {
    std::fs::read_to_string(path).ok().filter(|text| text.ends_with('\n'))
}
