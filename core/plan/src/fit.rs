//! Rounding to the sizes that a service may have, and the explanation of a limit.

use model::decision::{Decision, Limit};
use model::input::Declared;
use model::resource::{Bounds, RoundedSize};

/// `replicas` as a size that the service may have, within the `bounds` of now.
pub(crate) fn fit(declared: &Declared, replicas: u32, bounds: Bounds) -> RoundedSize {
    declared
        .spec
        .scale
        .sizes
        .as_ref()
        .map_or(RoundedSize::Exact(replicas), |sizes| sizes.round(replicas, bounds))
}

/// The limit that rounding `from` amounts to; `None` when it changed nothing.
pub(crate) fn limit(declared: &Declared, from: u32, bounds: Bounds) -> Option<Limit> {
    let sizes = declared.spec.scale.sizes.as_ref()?;
    let fit = sizes.round(from, bounds);
    let to = fit.replicas();
    let Bounds { min, max } = bounds;
    let note = match fit {
        RoundedSize::Exact(_) => return None,
        RoundedSize::Up(_) => format!("only {sizes} are allowed, and {to} is the next larger one"),
        RoundedSize::Down(_) => {
            format!("only {sizes} are allowed, and {to} is the largest one within {min} to {max}")
        }
        RoundedSize::NoneAllowed(_) => {
            format!(
                "only {sizes} are allowed, but none lies within {min} to {max}, and these bounds take precedence"
            )
        }
    };
    Some(Limit { name: "AllowedSizes", from, to, note: note.into() })
}

/// The decision after `limit` was applied to it, if there is one.
pub(crate) fn limited(mut decision: Decision, limit: Option<Limit>) -> Decision {
    let Some(limit) = limit else { return decision };
    let before = head(decision.previous, decision.desired);
    let after = head(decision.previous, limit.to);
    let why = decision.summary.strip_prefix(&before).unwrap_or(&decision.summary);
    decision.summary = format!("{after}{why}; {}", limit.note).into();
    decision.desired = limit.to;
    decision.limits.push(limit);
    decision
}

/// The beginning of the summary of a decision.
pub(crate) fn head(previous: u32, desired: u32) -> String {
    if previous == desired {
        format!("stays at {desired}: ")
    } else {
        format!("from {previous} to {desired}: ")
    }
}
