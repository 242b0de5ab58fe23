//! Plan: findings and intent in, one immutable plan with reasons out.
//!
//! [`plan()`] looks at one service as it is (level-triggered) and says what shall be done now, what is not done, and why.
//! It changes nothing: a dry run, a simulation and the real thing are the same call.

mod draft;
mod moment;
mod plan;

// How many replicas: the scene, what is decided on it, and the words for that.
mod account;
mod doubt;
mod fit;
mod foreseen;
mod measured;
mod mode;
mod newsvendor;
mod rest;
mod ruling;
pub mod scale;
mod scene;
mod shadow;
mod size;
mod slo;
mod taken;
mod term;

pub mod learned;

// Which replicas, how large, and what is done for those that are not well.
mod arbiter;
mod exposure;
mod heal;
mod refit;
mod roster;
pub mod vertical;
mod victims;

// What would be decided otherwise: other loads and times, other declarations, other pasts.
mod imagined;
mod prospect;
pub mod suppose;
mod trial;

pub mod hindsight;

pub use moment::Moment;
pub use plan::plan;
pub use trial::Trial;

#[cfg(test)]
mod tests;
