//! The state of the control loop: the services as declared, the places of their replicas, and their recent measurements.
//!
//! It folds facts and outcomes into this state and answers queries. It makes no decisions: no function here chooses between two
//! actions. All collections are ordered, so that iteration has the same order in each run.
//!
//! All state is bounded: [`series::SAMPLES_MAX`] samples of each counter, the restarts of the last minute, the bounds of
//! [`model::memory`], the record of a [`LoadForecast`] where a load is forecast, and the latest measurement of each of
//! [`model::resource::METRIC_SOURCES_MAX`] sources.

mod service;
pub use service::{
    Demand, Exposure, Hold, Pause, PersistedState, Protection, ServiceState, required_replicas,
};

mod shadows;
pub use shadows::{ShadowSet, ShadowSpec};

mod place;
pub use place::{FailedChange, Health, Place, ResourceChange, Stage, UnansweredAction};

pub mod series;

mod usage;
pub use usage::{Estimate, PartialSample, Range, confidence, estimate};

mod throttle;
pub use throttle::{Throttle, throttled_share};

pub mod capacity;
mod load_forecast;
pub use load_forecast::{Lift, LoadForecast, NoForecast, PeakForecast, UpcomingEvent};

mod latest;
mod measured;
pub use measured::{LatestMeasurement, NoMeasurement, Reading, ReplicaReading};

mod fold;
mod starts;
mod warmup;
pub use fold::{FoldEffect, measured_service};
pub use starts::start_time;
pub use warmup::{WARMUP_MAX, WarmupWatch, warmup};

mod state;
pub use state::{Knowledge, PastRestart, RESTART_WINDOW};

#[cfg(test)]
mod tests;
