//! The nouns: ids, quantities with units, resource kinds, time, reports, plans, actions, outcomes, reasons.

pub mod identity;
pub mod name;
pub mod time;
