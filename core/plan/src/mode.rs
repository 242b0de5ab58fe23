//! The mode of scaling: how far the number of the autoscaler is followed.

use model::decision::{Decision, Limit};
use model::resource::ScaleMode;

/// The number wanted in `mode`, where the autoscaler wants `proposed`.
///
/// `kept` is the current number, within the bounds and the allowed sizes: changes of these apply in every mode.
pub(crate) fn followed(mode: ScaleMode, kept: u32, proposed: u32) -> u32 {
    match mode {
        ScaleMode::On => proposed,
        ScaleMode::UpOnly => proposed.max(kept),
        ScaleMode::Shadow | ScaleMode::Off => kept,
    }
}

/// The decision as the mode follows it, with a note of what it would have been.
pub(crate) fn limited_by_mode(mode: ScaleMode, wanted: u32, mut decision: Decision) -> Decision {
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
