//! Never more replicas run than the bounds allow, and never fewer are wanted.

use std::collections::BTreeMap;
use std::time::Duration;

use knowledge::ServiceState;
use model::identity::{Ordinal, ReplicaId};
use model::name::ServiceName;
use model::plan::Role;
use model::resource;
use model::time::{Now, Time};
use sim::{Effect, Life, LifeState, Site};

use super::{Checker, Look};

/// Time for the loop to answer new bounds: two periods, and one for the message.
const ANSWER: Duration = Duration::from_secs(3);

/// Time for an action to arrive, however late.
const ARRIVAL: Duration = Duration::from_mins(1);

/// The wanted size lies within the bounds and is an allowed one, and the number that runs never grows beyond them, but for one replica in a rollout.
#[derive(Debug, Default)]
pub(crate) struct Bounds {
    services: BTreeMap<ServiceName, ObservedBounds>,
}

/// The bounds of a service, and since when they have been in force.
#[derive(Clone, Copy, Debug)]
struct ObservedBounds {
    bounds: (u32, u32),
    since: Time,
    /// The largest upper bound within [`ARRIVAL`].
    most: u32,
    most_at: Time,
    counting: u32,
}

impl Checker for Bounds {
    fn name(&self) -> &'static str {
        "bounds"
    }

    fn look(&mut self, look: &Look<'_>) -> Result<(), String> {
        let now = look.sim.now();
        for effect in look.sim.effects() {
            match effect {
                Effect::Began { replica, .. } if !is_spare(look, replica) => {
                    self.truth(look, &replica.service)?;
                }
                // A new run knows the bounds only once they are sent to it again.
                Effect::OrchestratorBegan { .. } => {
                    self.services.values_mut().for_each(|seen| seen.since = now);
                }
                // tidy: open match: each checker looks at the effects that concern it.
                _ => {}
            }
        }
        let Some(control) = look.control() else { return Ok(()) };
        for service in control.knowledge().services() {
            let Some(bounds) = bounds_of(service, look.sim.clock()) else { continue };
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
            if bounds.1 >= seen.most || now.since(seen.most_at) > ARRIVAL {
                (seen.most, seen.most_at) = (bounds.1, now);
            }
            check(service, seen, look.sim.clock())?;
            seen.counting = service.count();
        }
        Ok(())
    }
}

impl Bounds {
    /// Checks how many replicas of a service truly run, right after one more has begun.
    fn truth(&self, look: &Look<'_>, service: &ServiceName) -> Result<(), String> {
        let (Some(seen), Some(site)) = (self.services.get(service), look.sim.node().site(service)) else {
            return Ok(());
        };
        let places = look
            .control()
            .and_then(|control| control.knowledge().service(service))
            .map(|known| &known.places);
        let leaves = |ordinal: Ordinal, life: &Life| {
            let place = places.and_then(|places| places.get(&ordinal));
            // Spares come and go beside the replicas that the bounds apply to.
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

fn is_spare(look: &Look<'_>, replica: &ReplicaId) -> bool {
    let place =
        look.control().and_then(|control| control.knowledge().place(&replica.service, replica.ordinal));
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
    let is_settled = now.since(seen.since) > ANSWER;
    match service.desired {
        Some(desired) if is_settled && !(min..=max).contains(&desired) => {
            return Err(format!("{desired} replicas of {name} are wanted, the bounds are {min} to {max}"));
        }
        Some(desired) if is_settled && !is_allowed(service, desired, clock) => {
            return Err(format!("{desired} replicas of {name} are wanted, which is no allowed size"));
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

/// Whether the service may have this number, or no allowed number lies within the bounds; a hold by hand may be any number.
fn is_allowed(service: &ServiceState, desired: u32, now: Now) -> bool {
    let is_held = service.hold.is_some_and(|hold| hold.until.is_none_or(|until| now.time < until));
    let Some(declared) = service.declared.as_ref().filter(|_| !is_held) else { return true };
    let is_meant =
        |sizes: &resource::Sizes| sizes.allows(desired) || !sizes.has_any_within(declared.bounds(now.wall));
    declared.spec.scale.sizes.as_ref().is_none_or(is_meant)
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
