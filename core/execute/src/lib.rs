//! Execute: turns steps that passed the guard into actions, and tracks the actions until they end.
//!
//! An action that ended `Unknown`, or whose end is not reported, is sent again with the same id; the platform executes it at most once.
//! It is tracked until an outcome or an observation reports its end. Nothing is decided here: a plan leaves no choices.

mod dispatch;
pub use dispatch::Dispatch;

mod apply_step;
pub use apply_step::apply_step;

mod remember;
pub use remember::remember;

mod in_flight;
pub use in_flight::InFlight;

mod outcome;
pub use outcome::{FollowUp, apply_outcome};

mod outbox;
pub use outbox::Outbox;

#[cfg(test)]
mod tests;
