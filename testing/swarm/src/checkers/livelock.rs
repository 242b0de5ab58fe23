//! The loop does not spin, and does not do and undo the same things over and over.

use std::collections::BTreeMap;
use std::time::Duration;

use model::action::ActionKind;
use model::identity::ActionId;
use model::input::Input;
use model::name::ServiceName;
use model::time::Time;

use super::{Checker, View};

/// The name of the second property in this file.
pub(crate) const SPIN: &str = "spin";

const HOUR: Duration = Duration::from_hours(1);

/// New starts and stops of one service within an hour: ten replicas that each fail every minute and a half, counting both.
const STARTS_AND_STOPS_MAX: u32 = 800;

/// Wakes by a timer alone within a minute: four services, each at most ten times a second.
const WAKES_MAX: u32 = 2400;

/// Starts and stops of each service are bounded.
#[derive(Debug, Default)]
pub(crate) struct Livelock {
    hour: Option<Time>,
    latest: ActionId,
    counts: BTreeMap<ServiceName, u32>,
}

impl Checker for Livelock {
    fn name(&self) -> &'static str {
        "livelock"
    }

    fn check(&mut self, view: &View<'_>) -> Result<(), String> {
        let now = view.sim.now();
        if self.hour.is_none_or(|begin| now.since(begin) > HOUR) {
            self.hour = Some(now);
            self.counts.clear();
        }
        for action in view.actions() {
            let is_new = action.id > self.latest;
            if !is_new || !matches!(action.kind, ActionKind::Start { .. } | ActionKind::Stop { .. }) {
                continue;
            }
            self.latest = action.id;
            let count = self.counts.entry(action.kind.service().clone()).or_default();
            *count += 1;
            if *count > STARTS_AND_STOPS_MAX {
                let service = action.kind.service();
                return Err(format!("{count} starts and stops of {service} within an hour"));
            }
        }
        Ok(())
    }
}

/// Wakes by a timer are bounded.
#[derive(Debug, Default)]
pub(crate) struct Spin {
    minute: u64,
    wakes: u32,
}

impl Spin {
    pub(crate) fn check(&mut self, view: &View<'_>) -> Result<(), String> {
        if view.input() != Some(&Input::Woke) {
            return Ok(());
        }
        let minute = view.sim.now().as_millis() / 60_000;
        if minute != self.minute {
            (self.minute, self.wakes) = (minute, 0);
        }
        self.wakes += 1;
        if self.wakes > WAKES_MAX {
            return Err(format!("the loop was woken by its timers {} times within a minute", self.wakes));
        }
        Ok(())
    }
}
