//! One service: what was declared of it, what was decided, and its places.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::decision::Account;
use model::identity::{ActionId, Generation, Incarnation, Ordinal};
use model::input::Declared;
use model::memory::{
    CapacityMemory, HealingMemory, LOSSES_MAX, LoadRecord, LossMemory, Memory, RestartMemory, ScalingMemory,
    ShadowMemory, StartMemory, ThrottlingMemory, UsageProfile,
};
use model::name::ServiceName;
use model::plan::{Allotment, Role, Wait};
use model::quantity::Bytes;
use model::resource::{ScalePolicy, Slo, VerticalMode};
use model::time::Time;

use crate::foresight::Foresight;
use crate::latest::push_latest;
use crate::place::Place;
use crate::shadows::{self, ShadowSet, ShadowSpec};
use crate::starts::start_time;
use crate::usage;

/// Everything known of one service.
#[derive(Clone, Debug)]
pub struct ServiceState {
    /// Its name.
    pub name: ServiceName,
    /// As declared last; `None` once it is withdrawn, and for replicas found running that nobody declared.
    pub declared: Option<Arc<Declared>>,
    /// As declared last, kept while the replicas of a withdrawn service are stopped.
    pub last_declared: Option<Arc<Declared>>,
    /// The shadow autoscalers of its declaration; boxed, as most have none.
    pub shadow_set: Option<Box<ShadowSet>>,
    /// The size that a person asked for, while the hold lasts.
    pub hold: Option<Hold>,
    /// The pause of its autoscaler, while that lasts.
    pub pause: Option<Pause>,
    /// Replicas that are not to be removed when it shrinks.
    pub protections: BTreeMap<Ordinal, Protection>,
    /// How many replicas are wanted; `None` before the first decision.
    pub desired: Option<u32>,
    /// What its autoscaler remembers.
    pub scaling: Arc<ScalingMemory>,
    /// What its shadow autoscalers remember.
    pub shadows: Vec<Arc<ShadowMemory>>,
    /// The latest life of any closed place; a place that is opened again counts on from there.
    ///
    /// The node remembers the lives of closed places too, and starts none of them twice.
    pub past_life: Incarnation,
    /// Its places by number.
    pub places: BTreeMap<Ordinal, Place>,
    /// The latest scaling decision.
    pub decision: Option<Arc<dyn Account>>,
    /// What the latest plan does not do yet, and why.
    pub waits: Vec<Wait>,
    /// The limits and suspensions of its healing.
    pub healing: HealingMemory,
    /// The usage of its replicas; learned only for vertical scaling.
    pub usage: UsageProfile,
    /// How often its replicas were throttled under their declared limit on the processor.
    pub throttling: ThrottlingMemory,
    /// How long its replicas took to start and to warm up.
    pub starts: StartMemory,
    /// When it lost replicas that served.
    pub losses: LossMemory,
    /// What its replicas carry within its SLO; `None` before that was seen, and without an SLO.
    pub capacity: Option<Box<CapacityMemory>>,
    /// Its load and the forecast of it; `None` when its load is not forecast.
    pub foresight: Option<Box<Foresight>>,
    /// What replicas that are started from now on get instead of what is declared.
    pub allotment: Allotment,
    /// The state of its listener.
    pub exposure: Exposure,
    /// The requests to the service as a whole; `None` before the proxy's first report. It reports only services that may rest, or
    /// whose load is forecast.
    pub demand: Option<Demand>,
    /// When its size is due to be decided on next.
    pub next_sync: Time,
    /// What was last written down of it.
    pub remembered: Option<PersistedState>,
}

/// What was last written down of a service, to survive a restart.
#[derive(Clone, Debug)]
pub struct PersistedState {
    /// When.
    pub at: Time,
    /// What.
    pub memory: Arc<Memory>,
    /// By which action.
    pub by: ActionId,
}

/// The requests to a service as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The time of the last report of the proxy.
    pub at: Time,
    /// Requests that had come by then.
    pub requests: u64,
    /// Requests that waited for a replica then.
    pub waiting: u32,
    /// When a request was last seen, or when the proxy first reported; `None` for a service that was resting then.
    pub asked: Option<Time>,
}

/// A size that a person asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// How many replicas.
    pub replicas: u32,
    /// When it ends by itself.
    pub until: Option<Time>,
}

/// A person's order that the autoscaler decides nothing for the time being.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// When it ends by itself.
    pub until: Option<Time>,
}

/// A person's order that a replica is not removed when its service shrinks.
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
    /// Nothing was asked of the proxy.
    #[default]
    None,
    /// The proxy was told, and has not answered yet.
    Telling {
        /// By which action.
        action: ActionId,
        /// Which revision of its declaration.
        revision: Generation,
        /// When.
        since: Time,
    },
    /// The proxy listens.
    Shown {
        /// Which revision of its declaration.
        revision: Generation,
        /// When it said so.
        since: Time,
    },
    /// The proxy could not.
    Failed {
        /// Which revision of its declaration.
        revision: Generation,
        /// When it said so.
        since: Time,
        /// One sentence for people.
        message: Arc<str>,
        /// When to try again.
        retry: Time,
    },
    /// The proxy was told to stop listening, and has not answered yet.
    Concealing {
        /// By which action.
        action: ActionId,
        /// When.
        since: Time,
    },
}

impl Exposure {
    /// The state when an earlier run may have told the proxy to listen: the proxy is then told again, whether it listens or not.
    pub fn unknown(now: Time) -> Self {
        Self::Shown { revision: Generation(0), since: now }
    }

    /// Whether the proxy was told by this action and has not answered yet.
    pub fn awaits(&self, id: ActionId) -> bool {
        match self {
            Self::Telling { action, .. } | Self::Concealing { action, .. } => *action == id,
            Self::None | Self::Shown { .. } | Self::Failed { .. } => false,
        }
    }

    /// Since when it is so; `None` before anything was asked of the proxy.
    pub fn since(&self) -> Option<Time> {
        match self {
            Self::None => None,
            Self::Telling { since, .. }
            | Self::Shown { since, .. }
            | Self::Failed { since, .. }
            | Self::Concealing { since, .. } => Some(*since),
        }
    }
}

impl ServiceState {
    /// A service of which nothing is known but its name.
    pub fn named(name: ServiceName) -> Self {
        Self {
            name,
            declared: None,
            last_declared: None,
            shadow_set: None,
            hold: None,
            pause: None,
            protections: BTreeMap::new(),
            desired: None,
            scaling: Arc::default(),
            shadows: Vec::new(),
            past_life: Incarnation(0),
            places: BTreeMap::new(),
            decision: None,
            waits: Vec::new(),
            healing: HealingMemory::default(),
            usage: UsageProfile::default(),
            throttling: ThrottlingMemory::default(),
            starts: StartMemory::default(),
            losses: LossMemory::default(),
            capacity: None,
            foresight: None,
            allotment: Allotment::default(),
            exposure: Exposure::None,
            demand: None,
            next_sync: Time::ZERO,
            remembered: None,
        }
    }

    /// Whether it rests: it is scaled to zero because there are no requests. The next one brings replicas back, unless a person holds
    /// it at none.
    pub fn rests(&self) -> bool {
        let may_rest = self.declared.as_ref().is_some_and(|declared| declared.spec.scale.to_zero.is_some());
        may_rest && self.desired == Some(0)
    }

    /// Whether the usage of its replicas is learned, for vertical scaling.
    pub fn is_measured(&self) -> bool {
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
    pub fn promise(&self) -> Option<&Slo> {
        self.declared.as_ref()?.promise()
    }

    /// Begins, changes or ends the forecast of its load, as declared; what was `remembered` is learned from first.
    pub fn set_foresight(&mut self, now: Time, remembered: Option<&Arc<LoadRecord>>) {
        let declared = self.declared.as_deref().and_then(|declared| Some((declared, declared.foretold()?)));
        let Some((declared, rule)) = declared else {
            self.foresight = None;
            return;
        };
        let source = declared.load_source();
        let start = start_time(&self.starts);
        match (&mut self.foresight, remembered) {
            (Some(foresight), None) => foresight.set_rule(rule, source, now),
            (_, remembered) => {
                self.foresight = Some(Box::new(Foresight::new(rule, source, remembered, (start, now))));
            }
        }
    }

    /// How many thousandths of replicas its autoscaler's metrics last asked for; `None` when that is longer ago than `within`, or nothing
    /// was measured.
    pub fn need(&self, now: Time, within: Duration) -> Option<u64> {
        need(self.declared.as_ref()?, &self.scaling, now, within)
    }

    /// Learns from a replica that was killed because it ran out of memory.
    pub(crate) fn ran_out_of_memory(&mut self, ordinal: Ordinal, at: Time) {
        let limit = self.places.get(&ordinal).and_then(|place| self.memory_limit(place));
        if let Some(place) = self.places.get_mut(&ordinal).filter(|place| place.is_occupied()) {
            usage::ran_out_of_memory(&mut self.usage, place, at, limit);
        }
    }

    /// The memory that the replica of `place` may use; `None` without a limit.
    pub fn memory_limit(&self, place: &Place) -> Option<Bytes> {
        let declared = || Some(self.declared.as_ref()?.spec.resources);
        let memory = place.resources.or_else(declared)?.memory?;
        Some(Bytes(u64::try_from(memory.units_ceil()).unwrap_or(0)))
    }

    /// The hold on its size that is in force at `now`.
    pub fn held(&self, now: Time) -> Option<Hold> {
        self.hold.filter(|hold| hold.until.is_none_or(|until| now < until))
    }

    /// The pause of its autoscaler that is in force at `now`.
    pub fn paused(&self, now: Time) -> Option<Pause> {
        self.pause.filter(|pause| pause.until.is_none_or(|until| now < until))
    }

    /// Until when the replica in a place is protected from being removed; `None` when it is not, or is on its way out already.
    pub fn protected_until(&self, now: Time, ordinal: Ordinal) -> Option<Time> {
        let Protection { incarnation, until } =
            self.protections.get(&ordinal).copied().filter(|protection| now < protection.until)?;
        let place = self.places.get(&ordinal)?;
        let is_meant = place.incarnation == incarnation && place.is_occupied() && !place.is_leaving();
        is_meant.then_some(until)
    }

    /// Its places that count towards the number wanted.
    pub fn counting(&self) -> impl Iterator<Item = (Ordinal, &Place)> {
        self.places.iter().filter(|(_, place)| place.counts()).map(|(ordinal, place)| (*ordinal, place))
    }

    /// Its spares that are not on their way out.
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
        }
    }

    /// The number of the next life in `place`: later than every one that it may have had. The largest possible number is repeated,
    /// and the node refuses the start.
    pub fn next_life(&self, place: &Place) -> Incarnation {
        Incarnation(place.incarnation.max(place.restart.incarnation).max(self.past_life).0.saturating_add(1))
    }

    /// Whether the replica in `place` runs another version than the declared one: an older one, or a newer one after a rollback.
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
            restarts: self.taught().map(|(ordinal, restart)| (ordinal, restart.clone())).collect(),
            healing: self.healing.clone(),
            usage: self.usage.clone(),
            throttling: self.throttling.clone(),
            starts: self.starts.clone(),
            losses: self.losses.clone(),
            capacity: self.capacity.clone(),
            load: self.foresight.as_ref().map(|foresight| Arc::clone(foresight.remembered())),
        }
    }

    /// What is remembered of restarts, by place; only of places in which something has run.
    pub fn taught(&self) -> impl Iterator<Item = (Ordinal, &RestartMemory)> {
        let has_begun = |place: &&Place| place.restart.incarnation.0 > 0;
        let places = self.places.iter().filter(move |(_, place)| has_begun(place));
        places.map(|(ordinal, place)| (*ordinal, &place.restart))
    }
}

/// A count of places as a `u32`: as ordinals are `u32`, there are never more.
pub(crate) fn as_count(places: usize) -> u32 {
    u32::try_from(places).unwrap_or(u32::MAX)
}

/// Thousandths of replicas that the metrics of the autoscaler of `declared` last asked for, by what `scaling` remembers; `None` when
/// that is longer ago than `within`, or nothing was measured.
pub fn need(declared: &Declared, scaling: &ScalingMemory, now: Time, within: Duration) -> Option<u64> {
    let policy = &declared.autoscaler.as_ref().filter(|spec| spec.has_targets())?.policy;
    let levels = scaling.levels.iter().filter(|level| now.since(level.at) <= within);
    let totals = levels.map(|level| u64::try_from(level.total).unwrap_or(0));
    // Where all metrics must agree, the least demanding one decides.
    if matches!(policy, ScalePolicy::Unanimous) { totals.min() } else { totals.max() }
}
