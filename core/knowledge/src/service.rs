//! One service: its declaration, the decisions about it, and its places.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::decision::Explanation;
use model::identity::{ActionId, Generation, Incarnation, Ordinal};
use model::input::Declared;
use model::memory::{
    CapacityMemory, HealingMemory, LOSSES_MAX, LoadRecord, LossMemory, Memory, RestartMemory, ScalingMemory,
    ShadowMemory, StartMemory, ThrottlingMemory, UsageProfile,
};
use model::name::ServiceName;
use model::plan::{Allotment, Role, Wait};
use model::quantity::Bytes;
use model::reason::Reason;
use model::resource::{ScalePolicy, Slo, VerticalMode};
use model::time::Time;

use crate::latest::push_latest;
use crate::load_forecast::LoadForecast;
use crate::place::Place;
use crate::shadows::{self, ShadowSet, ShadowSpec};
use crate::starts::start_time;
use crate::usage;

/// Everything known about one service.
#[derive(Clone, Debug)]
pub struct ServiceState {
    /// Its name.
    pub name: ServiceName,
    /// The latest declaration; `None` once it is withdrawn, and for replicas that were found running undeclared.
    pub declared: Option<Arc<Declared>>,
    /// The latest declaration, kept while the replicas of a withdrawn service are stopped.
    pub last_declared: Option<Arc<Declared>>,
    /// The latest version that has proven itself, as last declared: one of its replicas has been ready. `None` before the first, and once an
    /// earlier one is given up.
    pub proven: Option<Arc<Declared>>,
    /// The shadow autoscalers of its declaration; boxed, as most have none.
    pub shadow_set: Option<Box<ShadowSet>>,
    /// The size at which an operator holds it.
    pub hold: Option<Hold>,
    /// The pause of its autoscaler by an operator.
    pub pause: Option<Pause>,
    /// Replicas that are protected from scale-in.
    pub protections: BTreeMap<Ordinal, Protection>,
    /// The desired number of replicas; `None` before the first decision.
    pub desired: Option<u32>,
    /// What its autoscaler remembers.
    pub scaling: Arc<ScalingMemory>,
    /// What its shadow autoscalers remember.
    pub shadows: Vec<Arc<ShadowMemory>>,
    /// The latest life of any closed place; a place that is opened again counts from there.
    ///
    /// The node remembers the lives of closed places too, and does not start one twice.
    pub past_life: Incarnation,
    /// Why the place that was closed last was empty, and of which version; `None` when a replica ran in it until it was removed.
    pub closed_failure: Option<(Generation, Reason)>,
    /// Its places by number.
    pub places: BTreeMap<Ordinal, Place>,
    /// The latest scaling decision.
    pub decision: Option<Arc<dyn Explanation>>,
    /// What the latest plan postpones, and why.
    pub waits: Vec<Wait>,
    /// The limits and suspensions of its healing.
    pub healing: HealingMemory,
    /// The usage of its replicas; learned only for vertical scaling.
    pub usage: UsageProfile,
    /// How often its replicas were throttled under their declared processor limit.
    pub throttling: ThrottlingMemory,
    /// How long its replicas took to start and to warm up.
    pub starts: StartMemory,
    /// When it lost replicas that served.
    pub losses: LossMemory,
    /// The load that its replicas carry within the SLO; `None` before it was measured, and without an SLO.
    pub capacity: Option<Box<CapacityMemory>>,
    /// Its load and the forecast; `None` when its load is not forecast.
    pub load_forecast: Option<Box<LoadForecast>>,
    /// The resources of replicas started from now on, where they differ from the declared ones.
    pub allotment: Allotment,
    /// The state of its listener.
    pub exposure: Exposure,
    /// The requests to the service as a whole; `None` before the proxy's first report. It reports only services that scale to zero or
    /// whose load is forecast.
    pub demand: Option<Demand>,
    /// When its size is decided next.
    pub next_sync: Time,
    /// What was last stored about it.
    pub remembered: Option<PersistedState>,
}

/// What was last stored about a service, to survive a restart.
#[derive(Clone, Debug)]
pub struct PersistedState {
    /// When.
    pub at: Time,
    /// What.
    pub memory: Arc<Memory>,
    /// The action that stored it.
    pub by: ActionId,
}

/// The requests to a service as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The time of the last report of the proxy.
    pub at: Time,
    /// Requests received by then.
    pub requests: u64,
    /// Requests waiting for a replica then.
    pub waiting: u32,
    /// When a request was last observed, or when the proxy first reported; `None` if the service was scaled to zero then.
    pub last_request: Option<Time>,
}

/// A size that an operator has set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The number of replicas.
    pub replicas: u32,
    /// When it ends by itself.
    pub until: Option<Time>,
}

/// An operator's request that the autoscaler makes no decisions for the time being.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// When it ends by itself.
    pub until: Option<Time>,
}

/// An operator's request that a replica is not removed at a scale-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection {
    /// The life that is protected: the protection ends with it.
    pub incarnation: Incarnation,
    /// When it ends by itself.
    pub until: Time,
}

/// The state of the listener of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Exposure {
    /// The proxy was not asked for anything.
    #[default]
    None,
    /// The proxy was asked to listen, and has not answered yet.
    Opening {
        /// The action.
        action: ActionId,
        /// The revision of the declaration.
        revision: Generation,
        /// When.
        since: Time,
    },
    /// The proxy listens.
    Open {
        /// The revision of the declaration.
        revision: Generation,
        /// When it reported that.
        since: Time,
    },
    /// The proxy could not listen.
    Failed {
        /// The revision of the declaration.
        revision: Generation,
        /// When it reported that.
        since: Time,
        /// Why, in one sentence for people.
        message: Arc<str>,
        /// When to try again.
        retry: Time,
    },
    /// The proxy was asked to stop listening, and has not answered yet.
    Closing {
        /// The action.
        action: ActionId,
        /// When.
        since: Time,
    },
}

impl Exposure {
    /// The state when an earlier run may have asked the proxy to listen: the proxy is then asked again, whether it listens or not.
    pub fn unknown(now: Time) -> Self {
        Self::Open { revision: Generation(0), since: now }
    }

    /// Whether the proxy has not answered this action yet.
    pub fn awaits(&self, id: ActionId) -> bool {
        match self {
            Self::Opening { action, .. } | Self::Closing { action, .. } => *action == id,
            Self::None | Self::Open { .. } | Self::Failed { .. } => false,
        }
    }

    /// When this state began; `None` before anything was asked of the proxy.
    pub fn since(&self) -> Option<Time> {
        match self {
            Self::None => None,
            Self::Opening { since, .. }
            | Self::Open { since, .. }
            | Self::Failed { since, .. }
            | Self::Closing { since, .. } => Some(*since),
        }
    }
}

impl ServiceState {
    /// A service of which only the name is known.
    pub fn named(name: ServiceName) -> Self {
        Self {
            name,
            declared: None,
            last_declared: None,
            proven: None,
            shadow_set: None,
            hold: None,
            pause: None,
            protections: BTreeMap::new(),
            desired: None,
            scaling: Arc::default(),
            shadows: Vec::new(),
            past_life: Incarnation(0),
            closed_failure: None,
            places: BTreeMap::new(),
            decision: None,
            waits: Vec::new(),
            healing: HealingMemory::default(),
            usage: UsageProfile::default(),
            throttling: ThrottlingMemory::default(),
            starts: StartMemory::default(),
            losses: LossMemory::default(),
            capacity: None,
            load_forecast: None,
            allotment: Allotment::default(),
            exposure: Exposure::None,
            demand: None,
            next_sync: Time::ZERO,
            remembered: None,
        }
    }

    /// Whether it is scaled to zero because there are no requests. The next one starts replicas, unless an operator holds it at zero.
    pub fn is_scaled_to_zero(&self) -> bool {
        let has_to_zero =
            self.declared.as_ref().is_some_and(|declared| declared.spec.scale.to_zero.is_some());
        has_to_zero && self.desired == Some(0)
    }

    /// Whether the usage of its replicas is learned, for vertical scaling.
    pub fn learns_usage(&self) -> bool {
        let vertical = self.declared.as_ref().and_then(|declared| declared.spec.scale.vertical.as_ref());
        vertical.is_some_and(|vertical| vertical.mode != VerticalMode::Off)
    }

    /// Whether it has an autoscaler, acting or shadow.
    pub fn is_scaled(&self) -> bool {
        let is_scaled = |declared: &Arc<Declared>| {
            declared.autoscaler.is_some() || !declared.spec.scale.shadows.is_empty()
        };
        self.declared.as_ref().is_some_and(is_scaled)
    }

    /// The shadow autoscalers of `declared`; nothing is computed when it is the declaration that this service keeps.
    pub fn shadows_of(&self, declared: &Arc<Declared>) -> Cow<'_, [ShadowSpec]> {
        shadows::shadows(self.shadow_set.as_deref(), declared)
    }

    /// The SLO of its acting autoscaler, or of the first shadow that has one.
    pub fn slo(&self) -> Option<&Slo> {
        self.declared.as_ref()?.slo()
    }

    /// Begins, changes or ends the forecast of its load, as declared. It learns first from what was `remembered`.
    pub fn set_load_forecast(&mut self, now: Time, remembered: Option<&Arc<LoadRecord>>) {
        let declared =
            self.declared.as_deref().and_then(|declared| Some((declared, declared.forecasting()?)));
        let Some((declared, rule)) = declared else {
            self.load_forecast = None;
            return;
        };
        let source = declared.load_source();
        let start = start_time(&self.starts);
        match (&mut self.load_forecast, remembered) {
            (Some(load_forecast), None) => load_forecast.set_rule(rule, source, now),
            (_, remembered) => {
                self.load_forecast =
                    Some(Box::new(LoadForecast::new(rule, source, remembered, (start, now))));
            }
        }
    }

    /// The thousandths of replicas that its autoscaler's metrics last required; `None` when that is longer ago than `within`, or nothing was
    /// measured.
    pub fn required_replicas(&self, now: Time, within: Duration) -> Option<u64> {
        required_replicas(self.declared.as_ref()?, &self.scaling, now, within)
    }

    /// Learns from a replica that was killed because it ran out of memory.
    pub(crate) fn note_out_of_memory(&mut self, ordinal: Ordinal, at: Time) {
        let limit = self.places.get(&ordinal).and_then(|place| self.memory_limit(place));
        if let Some(place) = self.places.get_mut(&ordinal).filter(|place| place.is_occupied()) {
            usage::observe_out_of_memory(&mut self.usage, place, at, limit);
        }
    }

    /// The memory that the replica of `place` may use; `None` without a limit.
    pub fn memory_limit(&self, place: &Place) -> Option<Bytes> {
        let declared = || Some(self.declared.as_ref()?.spec.resources);
        let memory = place.resources.or_else(declared)?.memory?;
        Some(Bytes(u64::try_from(memory.units_ceil()).unwrap_or(0)))
    }

    /// The hold on its size that is in force at `now`.
    pub fn active_hold(&self, now: Time) -> Option<Hold> {
        self.hold.filter(|hold| hold.until.is_none_or(|until| now < until))
    }

    /// The pause of its autoscaler that is in force at `now`.
    pub fn active_pause(&self, now: Time) -> Option<Pause> {
        self.pause.filter(|pause| pause.until.is_none_or(|until| now < until))
    }

    /// Until when the replica of a place is protected from removal; `None` when it is not protected, or is being stopped already.
    pub fn protected_until(&self, now: Time, ordinal: Ordinal) -> Option<Time> {
        let Protection { incarnation, until } =
            self.protections.get(&ordinal).copied().filter(|protection| now < protection.until)?;
        let place = self.places.get(&ordinal)?;
        let is_meant = place.incarnation == incarnation && place.is_occupied() && !place.is_leaving();
        is_meant.then_some(until)
    }

    /// Its places that count towards the desired number.
    pub fn counting(&self) -> impl Iterator<Item = (Ordinal, &Place)> {
        self.places.iter().filter(|(_, place)| place.counts()).map(|(ordinal, place)| (*ordinal, place))
    }

    /// Its spares that are not being stopped.
    pub fn spares(&self) -> impl Iterator<Item = (Ordinal, &Place)> {
        let kept = |place: &Place| place.role == Role::Spare && !place.is_leaving();
        self.places.iter().filter(move |(_, place)| kept(place)).map(|(ordinal, place)| (*ordinal, place))
    }

    /// How many replicas count towards the number wanted.
    pub fn count(&self) -> u32 {
        as_count(self.counting().count())
    }

    /// How many replicas answer requests, or would if asked.
    pub fn serving(&self) -> u32 {
        as_count(self.places.values().filter(|place| place.is_serving()).count())
    }

    /// Closes a place. A later place counts on from its lives.
    pub fn close(&mut self, ordinal: Ordinal) {
        self.protections.remove(&ordinal);
        if let Some(place) = self.places.remove(&ordinal) {
            self.past_life = self.past_life.max(place.incarnation).max(place.restart.incarnation);
            self.closed_failure = place.failure().map(|failure| (place.generation, failure));
        }
    }

    /// Why its last replica could not serve before it was scaled to zero for want of requests, if that was of the declared version: the next
    /// request is likely to meet the same.
    pub fn failure_at_zero(&self) -> Option<&Reason> {
        let declared =
            self.declared.as_ref().filter(|_| self.is_scaled_to_zero() && self.places.is_empty())?;
        let (generation, failure) = self.closed_failure.as_ref()?;
        (*generation == declared.generation).then_some(failure)
    }

    /// The number of the next life in `place`: later than every one that it may have had. The largest possible number is repeated,
    /// and the node refuses the start.
    pub fn next_life(&self, place: &Place) -> Incarnation {
        Incarnation(place.incarnation.max(place.restart.incarnation).max(self.past_life).0.saturating_add(1))
    }

    /// What `generation` is, if it can be started: the declared version, or the one that is proven.
    pub fn version(&self, generation: Generation) -> Option<&Arc<Declared>> {
        self.declared.iter().chain(&self.proven).find(|version| version.generation == generation)
    }

    /// The version that is known to work while the declared one has not proven itself; `None` when the declared one has, or no other has.
    pub fn proven_before(&self) -> Option<&Arc<Declared>> {
        let declared = self.declared.as_ref()?;
        self.proven.as_ref().filter(|proven| proven.generation != declared.generation)
    }

    /// Why the version that is known to work is started instead of the declared one; `None` where the declared one is started.
    pub fn unproven(&self) -> Option<Reason> {
        let (declared, proven) = (self.declared.as_ref()?.generation, self.proven_before()?.generation);
        Some(Reason::Unproven { declared, proven })
    }

    /// Whether the latest replica of `place` tries out the declared version while another one is known to work. It is in addition to the wanted
    /// number, whose share others carry.
    pub fn is_on_trial(&self, place: &Place) -> bool {
        let is_declared = |declared: &Arc<Declared>| place.generation == declared.generation;
        place.has_run() && self.proven_before().is_some() && self.declared.as_ref().is_some_and(is_declared)
    }

    /// Whether [`Self::update_proven`] may have something to do.
    pub fn is_proven_outdated(&self) -> bool {
        match (&self.declared, &self.proven) {
            (Some(declared), Some(proven)) => !Arc::ptr_eq(declared, proven),
            (Some(_), None) => true,
            (None, proven) => proven.is_some(),
        }
    }

    /// Notes that the declared version has proven itself, if it has: from then on it is started in every place, and at once in those that wait
    /// because of another version. While no replica is wanted, an earlier version is given up: nothing is lost with it.
    pub fn update_proven(&mut self, now: Time) {
        let Some(declared) = self.declared.clone() else {
            self.proven = None;
            return;
        };
        let is_known = self.proven.as_ref().is_some_and(|proven| proven.generation == declared.generation);
        let is_proof = |place: &Place| {
            place.generation == declared.generation && place.is_available(now, declared.min_ready())
        };
        if is_known {
            self.proven = Some(declared);
        } else if self.places.values().any(is_proof) {
            self.forget_failures_of_other_versions(declared.generation);
            self.proven = Some(declared);
        } else if self.desired == Some(0) {
            self.proven = None;
        }
    }

    /// Forgets the failures of versions other than `generation`, so that this one is started at once in their places.
    pub fn forget_failures_of_other_versions(&mut self, generation: Generation) {
        let others = self.places.values_mut().filter(|place| place.generation != generation);
        others.for_each(|place| place.restart.forget_failures());
    }

    /// Whether the replica of `place` runs a version that is started now, so that it is to become ready.
    pub fn is_awaited(&self, place: &Place) -> bool {
        let is_kept = |proven: &Arc<Declared>| place.generation == proven.generation;
        self.declared.is_some() && (!self.is_outdated(place) || self.proven_before().is_some_and(is_kept))
    }

    /// Whether the replica in `place` runs a version other than the declared one: an older one, or a newer one after a rollback.
    pub fn is_outdated(&self, place: &Place) -> bool {
        place.is_occupied()
            && self.declared.as_ref().is_some_and(|declared| place.generation != declared.generation)
    }

    /// Notes that it lost a replica that served.
    pub(crate) fn note_loss(&mut self, at: Time) {
        push_latest(&mut self.losses.at, LOSSES_MAX, at);
    }

    /// What must survive a restart.
    pub fn memory(&self) -> Memory {
        Memory {
            service: self.name.clone(),
            desired: self.desired,
            scaling: ScalingMemory::clone(&self.scaling),
            shadows: self.shadows.iter().map(|shadow| ShadowMemory::clone(shadow)).collect(),
            restarts: self.restart_memories().map(|(ordinal, restart)| (ordinal, restart.clone())).collect(),
            healing: self.healing.clone(),
            usage: self.usage.clone(),
            throttling: self.throttling.clone(),
            starts: self.starts.clone(),
            losses: self.losses.clone(),
            capacity: self.capacity.clone(),
            load: self.load_forecast.as_ref().map(|load_forecast| Arc::clone(load_forecast.remembered())),
            proven: self.proven.clone(),
        }
    }

    /// What is remembered about restarts, by place; only of places in which a replica has run.
    pub fn restart_memories(&self) -> impl Iterator<Item = (Ordinal, &RestartMemory)> {
        let has_begun = |place: &&Place| place.restart.incarnation.0 > 0;
        let places = self.places.iter().filter(move |(_, place)| has_begun(place));
        places.map(|(ordinal, place)| (*ordinal, &place.restart))
    }
}

/// A count of places as a `u32`: as ordinals are `u32`, there are never more.
pub(crate) fn as_count(places: usize) -> u32 {
    u32::try_from(places).unwrap_or(u32::MAX)
}

/// The thousandths of replicas that the metrics of the autoscaler of `declared` last required, according to `scaling`; `None` when
/// that is longer ago than `within`, or nothing was measured.
pub fn required_replicas(
    declared: &Declared,
    scaling: &ScalingMemory,
    now: Time,
    within: Duration,
) -> Option<u64> {
    let policy = &declared.autoscaler.as_ref().filter(|spec| spec.has_targets())?.policy;
    let levels = scaling.levels.iter().filter(|level| now.since(level.at) <= within);
    let totals = levels.map(|level| u64::try_from(level.total).unwrap_or(0));
    // Where all metrics must agree, the one that requires the fewest replicas decides.
    if matches!(policy, ScalePolicy::Unanimous) { totals.min() } else { totals.max() }
}
