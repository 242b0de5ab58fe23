//! The control loop: one deterministic state machine over all phases.
//!
//! It takes one input at a time, with its time, and appends every action and event that follows. It reads no clock, does no I/O,
//! and has no state but [`knowledge`] and the actions in flight of [`execute`]: the same inputs give the same outputs, bit for bit,
//! which the digests of the journal check.
//!
//! ```
//! use control::{ControlLoop, Outbox};
//! use model::identity::Epoch;
//! use model::input::{Input, Start};
//! use model::name::NodeName;
//! use model::settings::Settings;
//! use model::time::Now;
//!
//! let mut control = ControlLoop::new(Settings::default());
//! let mut out = Outbox::default();
//! let settings = Settings::default().into();
//! let start = Start { epoch: Epoch(1), node: NodeName::parse("here").unwrap(), seed: 7, settings };
//! control.step(Now::default(), &Input::Started(start), &mut out);
//! assert!(out.is_empty(), "nothing is wanted yet");
//! ```

mod agenda;
mod control_loop;
mod intent;

pub use control_loop::ControlLoop;
pub use execute::Outbox;
pub use plan::{PlanContext, Trial, hindsight, vertical};
