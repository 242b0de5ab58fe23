//! What the loop remembers: the services as declared, the places of their replicas, and their recent measurements.
//!
//! It folds facts and outcomes into one picture and answers questions about it. It never decides: no function here chooses
//! between two actions. Everything is in ordered maps, so that walking it gives the same order in each run.
//!
//! Everything kept is bounded: [`series::SAMPLES_MAX`] samples of each counter, the restarts of the last minute, what
//! [`model::memory`] bounds, what a [`Foresight`] keeps where a load is forecast, and the latest measurement of each of
//! [`model::resource::METRIC_SOURCES_MAX`] sources.

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

mod latest;
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
