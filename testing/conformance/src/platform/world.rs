//! The platform of a case, and functions that send requests to it and wait for their effects.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::platform::{Event, Life, LifeState, Platform, StartRequest, Started, StopRequest};
use model::action::Outcome;
use model::identity::{ActionId, Epoch, Generation, Incarnation, Ordinal, ReplicaId};
use model::input::{Declared, Exit};
use model::name::ServiceName;
use model::resource::ServiceSpec;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::PlatformHome;

/// The longest wait for anything; on an idle machine all of it takes milliseconds.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(30);

/// The time between two checks while a case waits for a state.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A platform and the actions that one case sends it.
pub(super) struct World {
    home: Box<dyn PlatformHome>,
    platform: Option<Arc<dyn Platform>>,
    pub(super) epoch: Epoch,
    sequence: u64,
}

impl World {
    pub(super) async fn new(home: Box<dyn PlatformHome>) -> Self {
        let platform = Some(home.open().await);
        Self { home, platform, epoch: Epoch(1), sequence: 0 }
    }

    /// Kills the replicas that the case has left, and closes the platform.
    pub(super) async fn end(mut self) {
        for life in self.inventory().await {
            self.stop(&life, Duration::ZERO).await;
        }
        self.platform = None;
        self.home.close().await;
    }

    /// Closes the driver and opens it again over the same state, as the next epoch.
    pub(super) async fn reopen(&mut self) {
        self.close_then(async {}).await;
    }

    /// Closes the driver, waits for `meanwhile`, and opens it again.
    pub(super) async fn close_then(&mut self, meanwhile: impl Future<Output = ()>) {
        self.platform = None;
        self.home.close().await;
        meanwhile.await;
        self.platform = Some(self.home.open().await);
        self.epoch = Epoch(self.epoch.0 + 1);
    }

    pub(super) fn platform(&self) -> &dyn Platform {
        self.platform.as_deref().expect("it is closed only within close_then")
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.home.folder().join(name)
    }

    pub(super) fn next_action(&mut self) -> ActionId {
        self.sequence += 1;
        ActionId { epoch: self.epoch, sequence: self.sequence }
    }

    /// A request to run `script` in the first place of service `shop`, as its first life.
    pub(super) fn request(&mut self, script: &str) -> StartRequest {
        // In a declaration `$$` means one `$`.
        let script = script.replace("$$", "$$$$");
        self.request_of(&json!({"run": {"command": ["/bin/sh", "-c", script]}}))
    }

    pub(super) fn request_of(&mut self, spec: &Value) -> StartRequest {
        let spec: ServiceSpec =
            serde_json::from_value(spec.clone()).expect("the cases have valid declarations");
        let name = ServiceName::parse("shop").expect("shop is a name");
        let declared = Declared {
            name: name.clone(),
            revision: Generation(4),
            generation: Generation(3),
            spec,
            autoscaler: None,
        };
        StartRequest {
            action: self.next_action(),
            replica: ReplicaId { service: name, ordinal: Ordinal(0) },
            incarnation: Incarnation(1),
            declared: Arc::new(declared),
        }
    }

    /// Runs `script`; panics if it cannot be started.
    pub(super) async fn start(&mut self, script: &str) -> Life {
        let request = self.request(script);
        self.start_as(request).await
    }

    pub(super) async fn start_as(&self, request: StartRequest) -> Life {
        match self.platform().start(request).await {
            Started { outcome: Outcome::Applied, life: Some(life) } => life,
            other => panic!("must start, but: {other:?}"),
        }
    }

    pub(super) async fn stop(&mut self, life: &Life, grace: Duration) -> Outcome {
        let request = StopRequest {
            action: self.next_action(),
            replica: life.replica.clone(),
            incarnation: life.incarnation,
            grace,
        };
        in_time("a stop", self.platform().stop(request)).await
    }

    pub(super) async fn inventory(&self) -> Vec<Life> {
        self.platform().inventory().await.expect("the inventory can be taken")
    }

    /// The life in the only place.
    pub(super) async fn only_life(&self) -> Life {
        let mut lives = self.inventory().await;
        assert_eq!(lives.len(), 1, "one place was filled: {lives:?}");
        lives.remove(0)
    }

    /// Waits until a replica has written the file, and returns its lines.
    pub(super) async fn lines_of(&self, name: &str, count: usize) -> Vec<String> {
        let path = self.file(name);
        wait_until(&format!("{count} lines in {name}"), || {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            let lines: Vec<String> = whole.lines().map(str::to_owned).collect();
            (lines.len() >= count).then_some(lines)
        })
        .await
    }

    /// Waits until the inventory shows the end of the only life.
    pub(super) async fn exit_in_inventory(&self) -> Exit {
        let polling = async {
            loop {
                if let LifeState::Exited(exit) = self.only_life().await.state {
                    return exit;
                }
                // tidy: pause between looks
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        in_time("an end in the inventory", polling).await
    }
}

/// The next end that is reported.
pub(super) async fn reported_exit(events: &mut broadcast::Receiver<Event>) -> (Life, Exit) {
    match in_time("an end", events.recv()).await.expect("no event is lost here") {
        Event::Ended(life) => match life.state {
            LifeState::Exited(exit) => (life, exit),
            LifeState::Running | LifeState::Stopping => panic!("reported as ended: {life:?}"),
        },
    }
}

pub(super) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(WAIT_MAX, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {WAIT_MAX:?} in vain for {what}"),
    }
}

/// Polls `check` until it returns something.
pub(super) async fn wait_until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let polling = async {
        loop {
            if let Some(found) = check() {
                return found;
            }
            // tidy: pause between looks
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    in_time(what, polling).await
}

/// Whether the process runs; a zombie does not.
pub(super) fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}
