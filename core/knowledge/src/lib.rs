//! What the loop remembers: the services as declared, the places of their replicas, and their recent measurements.
//!
//! It folds facts, findings and outcomes into one picture and answers questions about it. It never decides: no function
//! here chooses between two actions. Everything is in ordered maps, so that walking it gives the same order in each run.
//!
//! Of each thing only a bounded window is kept: [`series::SAMPLES_MAX`] samples a counter, the restarts of the last minute,
//! what [`model::memory`] bounds, what a [`Foresight`] keeps of services that ask for one, and the latest measurement of each of [`model::resource::METRIC_SOURCES_MAX`] sources.

mod service;
pub use service::{Demand, Exposure, Hold, Pause, Protection, Remembered, ServiceState, need};

mod tried;
pub use tried::{Shadowing, Tried};

mod place;
pub use place::{Fitting, Health, Place, Stage, Unanswered};

pub mod series;

mod appetite;
pub use appetite::{Estimate, Gauge, Range, confidence, estimate};

mod throttle;
pub use throttle::{Throttle, throttled_share};

pub mod capacity;
mod foresight;
pub use foresight::{Coming, Expected, Foresight, Lift, Unforeseen};

mod measured;
pub use measured::{Lack, Latest, Reading, ReplicaReading};

mod fold;
mod settling;
mod starts;
pub use fold::{Folded, measured_service};
pub use settling::{Settling, WARMUP_MAX, warmup};
pub use starts::start_time;

mod state;
pub use state::{Knowledge, RESTART_WINDOW};

#[cfg(test)]
mod tests;
