//! The state of a service after the steps that have passed so far.

use std::collections::BTreeMap;
use std::sync::Arc;

use knowledge::{Knowledge, PastRestart, Place, RESTART_WINDOW, ServiceState, Stage};
use model::identity::Ordinal;
use model::plan::{AfterStop, Change, Role};
use model::quantity::Milli;
use model::settings::GuardSettings;
use model::time::{Now, Time};

/// The counts of a service, updated by each step that passes.
pub(crate) struct Projection<'a> {
    pub(crate) now: Now,
    pub(crate) service: &'a ServiceState,
    pub(crate) settings: &'a GuardSettings,
    /// Desired replicas.
    pub(crate) desired: u32,
    /// Places of the service, being closed or not.
    pub(crate) places: u32,
    /// Places that count towards the desired number.
    pub(crate) counting: u32,
    /// Replicas that were stopped to be restarted, and are not started yet.
    pub(crate) in_repair: u32,
    /// Replicas that run and are not being stopped.
    pub(crate) running: u32,
    /// Replicas that answer requests.
    pub(crate) serving: u32,
    /// Replicas removed by this plan.
    pub(crate) removed: u32,
    /// Restarts within the last minute, latest first, this plan's included.
    pub(crate) restarts: Vec<PastRestart>,
    /// The metric of `scale.protect`; `None` where none is declared.
    pub(crate) protect: Option<ProtectMetric<'a>>,
}

/// The metric by which replicas report that they must stay: they must while it is above 0.
pub(crate) struct ProtectMetric<'a> {
    pub(crate) name: &'a Arc<str>,
    /// The value of each replica that reports one.
    pub(crate) values: BTreeMap<Ordinal, Milli>,
}

impl<'a> Projection<'a> {
    pub(crate) fn of(
        knowledge: &Knowledge,
        service: &'a ServiceState,
        settings: &'a GuardSettings,
        now: Now,
    ) -> Self {
        Self {
            now,
            service,
            settings,
            desired: service.desired.unwrap_or(0),
            places: count(service.places.values(), |_| true),
            counting: service.count(),
            in_repair: count(service.places.values(), is_in_repair),
            running: count(service.places.values(), |place| place.health().is_some()),
            serving: service.serving(),
            removed: 0,
            restarts: knowledge.restarts_within(now.time, RESTART_WINDOW).collect(),
            protect: ProtectMetric::of(knowledge, service, now.time),
        }
    }

    /// Applies a step that has passed to the counts.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Resize { to, .. } => self.desired = *to,
            Change::Open { role, .. } => {
                self.places += 1;
                self.counting += u32::from(*role == Role::Active);
            }
            Change::Start { ordinal, generation } => {
                if let Some(place) = self.place(*ordinal).filter(|place| place.is_restart(*generation)) {
                    let was_healthy = place.had_been_healthy();
                    self.restarts.insert(0, PastRestart { at: self.now.time, was_healthy });
                }
            }
            Change::Drain { ordinal, then } | Change::Stop { ordinal, then } => {
                self.in_repair += u32::from(*then == AfterStop::Refill);
                self.removed += u32::from(self.is_running(*ordinal));
                self.serving = self.serving.saturating_sub(u32::from(self.is_serving(*ordinal)));
            }
            Change::Close { .. } => self.places = self.places.saturating_sub(1),
            Change::Promote { .. }
            | Change::StandIn { .. }
            | Change::StandDown { .. }
            | Change::Readmit { .. }
            | Change::Allot { .. }
            | Change::Expose
            | Change::Conceal
            | Change::SuspendHealing
            | Change::ResumeHealing => {}
        }
    }

    /// Whether a replica of this place answers requests.
    pub(crate) fn is_serving(&self, ordinal: Ordinal) -> bool {
        self.place(ordinal).is_some_and(Place::is_serving)
    }

    /// Whether a replica of this place runs and is not being stopped.
    pub(crate) fn is_running(&self, ordinal: Ordinal) -> bool {
        self.place(ordinal).is_some_and(|place| place.health().is_some())
    }

    /// Whether the place is that of a spare.
    pub(crate) fn is_spare(&self, ordinal: Ordinal) -> bool {
        self.place(ordinal).is_some_and(|place| place.role == Role::Spare)
    }

    pub(crate) fn place(&self, ordinal: Ordinal) -> Option<&'a Place> {
        self.service.places.get(&ordinal)
    }
}

impl<'a> ProtectMetric<'a> {
    fn of(knowledge: &Knowledge, service: &'a ServiceState, now: Time) -> Option<Self> {
        let scale = &service.declared.as_ref()?.spec.scale;
        let (name, key) = (scale.protect.as_ref()?, scale.protect_key(&service.name)?);
        Some(Self { name, values: knowledge.values_by_place(now, service, &key).unwrap_or_default() })
    }
}

fn is_in_repair(place: &Place) -> bool {
    use Stage::{Draining, Empty, Running, Starting, Stopping};
    match &place.stage {
        Draining { then, .. } | Stopping { then, .. } => *then == AfterStop::Refill,
        Empty { .. } | Starting { .. } => place.has_run(),
        Running(_) => false,
    }
}

fn count<'a>(places: impl Iterator<Item = &'a Place>, is_counted: impl Fn(&Place) -> bool) -> u32 {
    u32::try_from(places.filter(|place| is_counted(place)).count()).unwrap_or(u32::MAX)
}
