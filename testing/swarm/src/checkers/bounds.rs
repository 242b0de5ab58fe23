//! The number of desired replicas is within the bounds, and never do more replicas run than the bounds allow.

use std::collections::BTreeMap;
use std::time::Duration;

use knowledge::ServiceState;
use model::identity::{Ordinal, ReplicaId};
use model::name::ServiceName;
use model::plan::Role;
use model::resource;
use model::time::{Now, Time};
use sim::{Effect, Life, LifeState, Site};

use super::{Checker, View};

/// Time for the loop to apply new bounds: two periods, and one for the message.
const REACTION_MAX: Duration = Duration::from_secs(3);

/// The longest time until an action arrives.
const DELAY_MAX: Duration = Duration::from_mins(1);

/// The desired size is within the bounds and allowed, and the number of running replicas never exceeds them, except by one during a rollout.
#[derive(Debug, Default)]
pub(crate) struct Bounds {
    services: BTreeMap<ServiceName, ObservedBounds>,
}

/// The bounds of a service, and since when they have been in force.
#[derive(Clone, Copy, Debug)]
struct ObservedBounds {
    bounds: (u32, u32),
    since: Time,
    /// The largest upper bound within [`DELAY_MAX`].
    most: u32,
    most_at: Time,
    counting: u32,
}

impl Checker for Bounds {
    fn name(&self) -> &'static str {
        "bounds"
    }

    fn check(&mut self, view: &View<'_>) -> Result<(), String> {
        let now = view.sim.now();
        for effect in view.sim.effects() {
            match effect {
                Effect::Began { replica, .. } if !is_spare(view, replica) => {
                    self.check_running(view, &replica.service)?;
                }
                // A restarted orchestrator learns the bounds only when they are sent to it again.
                Effect::OrchestratorBegan { .. } => {
                    self.services.values_mut().for_each(|seen| seen.since = now);
                }
                // tidy: open match: each checker looks at the effects that concern it.
                _ => {}
            }
        }
        let Some(control) = view.control() else { return Ok(()) };
        for service in control.knowledge().services() {
            let Some(bounds) = bounds_of(service, view.sim.clock()) else { continue };
            let seen = self.services.entry(service.name.clone()).or_insert(ObservedBounds {
                bounds,
                since: now,
                most: bounds.1,
                most_at: now,
                counting: 0,
            });
            if seen.bounds != bounds {
                (seen.bounds, seen.since) = (bounds, now);
            }
            if bounds.1 >= seen.most || now.since(seen.most_at) > DELAY_MAX {
                (seen.most, seen.most_at) = (bounds.1, now);
            }
            check(service, seen, view.sim.clock())?;
            seen.counting = service.count();
        }
        Ok(())
    }
}

impl Bounds {
    /// Checks how many replicas of a service really run, right after another one has been started.
    fn check_running(&self, view: &View<'_>, service: &ServiceName) -> Result<(), String> {
        let (Some(seen), Some(site)) = (self.services.get(service), view.sim.node().site(service)) else {
            return Ok(());
        };
        let places = view
            .control()
            .and_then(|control| control.knowledge().service(service))
            .map(|known| &known.places);
        let leaves = |ordinal: Ordinal, life: &Life| {
            let place = places.and_then(|places| places.get(&ordinal));
            // The bounds do not apply to spares.
            place.is_none_or(|place| {
                place.role == Role::Spare || (place.is_leaving() && place.incarnation == life.incarnation)
            })
        };
        let running = running(site, leaves);
        let most = seen.most as usize + 1;
        if running > most {
            return Err(format!(
                "{running} replicas of {service} run, spares not counted, where {most} are the most"
            ));
        }
        Ok(())
    }
}

fn is_spare(view: &View<'_>, replica: &ReplicaId) -> bool {
    let place =
        view.control().and_then(|control| control.knowledge().place(&replica.service, replica.ordinal));
    place.is_some_and(|place| place.role == Role::Spare)
}

/// Replicas that run and are not leaving.
fn running(site: &Site, leaves: impl Fn(Ordinal, &Life) -> bool) -> usize {
    let stays = |state| matches!(state, LifeState::Execing | LifeState::Booting | LifeState::Up);
    site.places().filter(|(ordinal, life)| stays(life.state) && !leaves(*ordinal, life)).count()
}

fn check(service: &ServiceState, seen: &ObservedBounds, clock: Now) -> Result<(), String> {
    let now = clock.time;
    let (min, max) = seen.bounds;
    let name = &service.name;
    let is_settled = now.since(seen.since) > REACTION_MAX;
    match service.desired {
        Some(desired) if is_settled && !(min..=max).contains(&desired) => {
            return Err(format!("{desired} replicas of {name} are desired, the bounds are {min} to {max}"));
        }
        Some(desired) if is_settled && !is_allowed(service, desired, clock) => {
            return Err(format!("{desired} replicas of {name} are desired, which is not an allowed size"));
        }
        None if is_settled => return Err(format!("no number of replicas of {name} has been decided on")),
        Some(_) | None => {}
    }
    let counting = service.count();
    if is_settled && counting > seen.counting && counting > max + 1 {
        return Err(format!(
            "{counting} replicas of {name} count, {max} are the most, and one for a rollout"
        ));
    }
    Ok(())
}

/// Whether the service may have this number, or no allowed number lies within the bounds. A hold may set any number.
fn is_allowed(service: &ServiceState, desired: u32, now: Now) -> bool {
    let is_held = service.hold.is_some_and(|hold| hold.until.is_none_or(|until| now.time < until));
    let Some(declared) = service.declared.as_ref().filter(|_| !is_held) else { return true };
    let is_possible =
        |sizes: &resource::Sizes| sizes.allows(desired) || !sizes.has_any_within(declared.bounds(now.wall));
    declared.spec.scale.sizes.as_ref().is_none_or(is_possible)
}

fn bounds_of(service: &ServiceState, now: Now) -> Option<(u32, u32)> {
    let declared = service.declared.as_ref()?;
    if let Some(hold) = service.hold.filter(|hold| hold.until.is_none_or(|until| now.time < until)) {
        return Some((hold.replicas, hold.replicas));
    }
    let resource::Bounds { min, max } = declared.bounds(now.wall);
    let may_rest = declared.spec.scale.to_zero.is_some();
    Some((if may_rest { 0 } else { min }, max))
}
