//! Plan: findings and intent in, one immutable plan with reasons out.
//!
//! [`plan()`] takes the state of one service (level-triggered) and returns what to do now, what waits, and why.
//! It changes nothing: a dry run, a simulation and production are the same call.

mod context;
mod draft;
mod plan;

// How many replicas: the inputs, the decision on them, and its explanation.
mod effective_bounds;
mod expected_load;
mod explainable;
mod fit;
mod goal;
mod inputs;
mod measured_metric;
mod mode;
mod newsvendor;
pub mod scale;
mod scale_in_blocker;
mod shadow;
mod size;
mod sizing;
mod slo;
mod source_metric;
mod to_zero;

pub mod learned;

// Which replicas, of which size, and the healing of those that fail.
mod arbiter;
mod exposure;
mod heal;
mod places;
mod resize;
mod unready;
mod versions;
pub mod vertical;
mod victims;

// What would be decided otherwise: with other loads and times, other declarations, and in hindsight.
mod hypothetical;
mod prospect;
pub mod simulated;
mod trial;

pub mod hindsight;

pub use context::PlanContext;
pub use plan::plan;
pub use trial::Trial;

#[cfg(test)]
mod tests;
