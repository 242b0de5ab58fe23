//! Execute: steps that passed the guard become actions, and actions are followed to their end.
//!
//! An action that ended `Unknown`, or whose end is not heard of, is sent again with the same id; the platform carries it out at most
//! once. It is followed until an outcome or an observation says how it ended. Nothing is decided here: a plan leaves no choices.

mod dispatch;
pub use dispatch::Dispatch;

mod carry;
pub use carry::carry_out;

mod remember;
pub use remember::remember;

mod flight;
pub use flight::Flight;

mod outcome;
pub use outcome::{Settled, settle};

mod outbox;
pub use outbox::Outbox;

#[cfg(test)]
mod tests;
