//! Execute: steps that passed the guard become actions, and actions are followed to their end.
//!
//! An action whose end is not heard of, or ended `Unknown`, is told again by the same id: the platform does it at most once.
//! It is let go only when an outcome or an observation says how it ended. Carrying out a plan leaves nothing to choose.

mod carry;
pub use carry::{Hand, carry_out, remember};

mod flight;
pub use flight::{Flight, Landed};

mod outcome;
pub use outcome::{Settled, settle};

mod outbox;
pub use outbox::Outbox;

#[cfg(test)]
mod tests;
