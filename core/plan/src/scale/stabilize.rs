//! Stabilisation: a recommendation counts only once the others of its window agree with its direction.
//!
//! Source: Kubernetes `pkg/controller/podautoscaler/horizontal.go`, `stabilizeRecommendation` and
//! `stabilizeRecommendationWithBehaviors`. It comes before the rate limits.

use std::time::Duration;

use model::memory::Recommendation;
use model::resource::Behavior;
use model::time::Time;

use super::log::record_recommendation;

/// A proposal after stabilisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stabilized {
    /// The number before.
    pub proposal: u32,
    /// The number after: between the least and the largest of proposal, current number and recommendations of the windows.
    pub replicas: u32,
    /// What changed it; `None` when nothing did.
    pub held: Option<Held>,
}

/// What changed a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The direction of the proposal.
    pub direction: Direction,
    /// The recommendation that decided; `None` when the current number lies between those of both windows.
    pub by: Option<Recommendation>,
    /// The window of the recommendation.
    pub window: Duration,
}

/// The direction of a change of the number of replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To more replicas.
    Out,
    /// To fewer replicas.
    In,
}

/// Stabilises without a behavior: the largest of the proposal and of every recommendation not older than `window`. Writes the
/// proposal to the log.
pub fn without_behavior(
    log: &mut Vec<Recommendation>,
    now: Time,
    proposal: u32,
    window: Duration,
) -> Stabilized {
    let largest = log
        .iter()
        .filter(|slot| now.since(slot.at) <= window && slot.replicas > proposal)
        .max_by_key(|slot| slot.replicas)
        .copied();
    record_recommendation(log, now, proposal, window);
    Stabilized {
        proposal,
        replicas: largest.map_or(proposal, |slot| slot.replicas),
        held: largest.map(|slot| Held { direction: Direction::In, by: Some(slot), window }),
    }
}

/// Stabilises with a behavior: the current number, raised to the least of the scale-out window, then lowered to the largest
/// of the scale-in window. Writes the proposal to the log.
pub fn with_behavior(
    log: &mut Vec<Recommendation>,
    now: Time,
    current: u32,
    proposal: u32,
    behavior: &Behavior,
) -> Stabilized {
    let (out_window, in_window) = (behavior.scale_up.stabilization, behavior.scale_down.stabilization);
    let within = |window: Duration| log.iter().filter(move |slot| now.since(slot.at) < window);
    let least = within(out_window).filter(|slot| slot.replicas < proposal).min_by_key(|slot| slot.replicas);
    let largest = within(in_window).filter(|slot| slot.replicas > proposal).max_by_key(|slot| slot.replicas);
    let (least, largest) = (least.copied(), largest.copied());
    record_recommendation(log, now, proposal, out_window.max(in_window));

    // The proposal itself is one of both windows, so `floor` is never above `ceiling`.
    let floor = least.map_or(proposal, |slot| slot.replicas);
    let ceiling = largest.map_or(proposal, |slot| slot.replicas);
    let replicas = current.clamp(floor, ceiling);
    let (direction, window, decisive) = if proposal >= current {
        (Direction::Out, out_window, least)
    } else {
        (Direction::In, in_window, largest)
    };
    let by = decisive.filter(|slot| slot.replicas == replicas);
    Stabilized { proposal, replicas, held: (replicas != proposal).then_some(Held { direction, by, window }) }
}
