//! What the loop remembers: the services as declared, the places of their replicas, and their recent measurements.
//!
//! It folds facts and outcomes into one picture and answers questions about it. It never decides: no function here chooses
//! between two actions. Everything is in ordered maps, so that walking it gives the same order in each run.
//!
//! Everything kept is bounded: [`series::SAMPLES_MAX`] samples of each counter, the restarts of the last minute, what
//! [`model::memory`] bounds, what a [`Foresight`] keeps where a load is forecast, and the latest measurement of each of
//! [`model::resource::METRIC_SOURCES_MAX`] sources.

mod service;
pub use service::{Demand, Exposure, Hold, Pause, PersistedState, Protection, ServiceState, need};

mod shadows;
pub use shadows::{ShadowSet, ShadowSpec};

mod place;
pub use place::{Fitting, Health, Place, Stage, UnansweredAction};

pub mod series;

mod usage;
pub use usage::{Estimate, PartialSample, Range, confidence, estimate};

mod throttle;
pub use throttle::{Throttle, throttled_share};

pub mod capacity;
mod foresight;
pub use foresight::{Expected, Foresight, Lift, NoForecast, UpcomingEvent};

mod latest;
mod measured;
pub use measured::{Latest, NoMeasurement, Reading, ReplicaReading};

mod fold;
mod starts;
mod warmup;
pub use fold::{FoldEffect, measured_service};
pub use starts::start_time;
pub use warmup::{WARMUP_MAX, WarmupWatch, warmup};

mod state;
pub use state::{Knowledge, RESTART_WINDOW};

#[cfg(test)]
mod tests;
