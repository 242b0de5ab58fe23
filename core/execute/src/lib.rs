//! Execute: steps that passed the guard become actions, and actions are followed to their end.
//!
//! An action that ended `Unknown`, or whose end is not heard of, is sent again with the same id; the platform carries it out at most
//! once. It is followed until an outcome or an observation says how it ended. Nothing is decided here: a plan leaves no choices.

mod dispatch;
pub use dispatch::Dispatch;

mod apply_step;
pub use apply_step::carry_out;

mod remember;
pub use remember::remember;

mod in_flight;
pub use in_flight::InFlight;

mod outcome;
pub use outcome::{FollowUp, settle};

mod outbox;
pub use outbox::Outbox;

#[cfg(test)]
mod tests;
