//! How far the proposal of the autoscaler is followed, by the mode.

use model::decision::{Decision, Limit};
use model::resource::ScaleMode;

/// The number wanted when `proposed` is found, and `kept` is what there is, within bounds and sizes: new ones hold in every mode.
pub(crate) fn followed(mode: ScaleMode, kept: u32, proposed: u32) -> u32 {
    match mode {
        ScaleMode::On => proposed,
        ScaleMode::UpOnly => proposed.max(kept),
        ScaleMode::Shadow | ScaleMode::Off => kept,
    }
}

/// The decision as it is followed, and what it would have been.
pub(crate) fn curbed(mode: ScaleMode, wanted: u32, mut decision: Decision) -> Decision {
    let (from, to) = (decision.desired, wanted);
    if from == to && mode != ScaleMode::Shadow {
        return decision;
    }
    let (name, why) = match mode {
        ScaleMode::On | ScaleMode::Off => return decision,
        ScaleMode::UpOnly => ("UpOnly", "its mode is upOnly: replicas are added and never removed"),
        ScaleMode::Shadow => ("Shadow", "its mode is shadow: decisions are recorded and have no effect"),
    };
    let stays = if to == decision.previous {
        "stays at".to_owned()
    } else {
        format!("from {} to", decision.previous)
    };
    decision.summary = format!("{stays} {to} ({why}); it would be: {}", decision.summary).into();
    decision.desired = to;
    decision.limits.push(Limit { name, from, to, note: why.into() });
    decision
}
