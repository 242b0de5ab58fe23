//! Forecasts the load of one service, with calibrated quantiles.
//!
//! Samples go in as they are measured. Out come, for each horizon, the loads that are not exceeded with given probabilities. Several
//! [`Model`]s forecast at every step, and are scored with the pinball loss once the outcome is known: at the quantile 0.95, a forecast
//! that was too low costs nineteen times as much as one that was too high. They are blended by how good each has been, and the blend is
//! calibrated until its coverage is what it claims. Every forecast is scored by a load that was not known when it was made, so all
//! figures are out of sample.
//!
//! While the blend does not beat the last value by 2 %, the forecast is the last value with a band of its own, and [`Quantile::by`] is
//! [`Model::Persistence`]. A consumer should not act ahead of the load then.
//!
//! The crate reads no clock, draws no random number and does no I/O, and its state is bounded, see [`Forecaster`]. The same samples
//! give the same forecasts. A sample that is not a load (`NaN`, infinite or negative) is refused and changes nothing.
//!
//! ```
//! use std::time::Duration;
//! use forecast::{Forecaster, Horizon, Model, Settings};
//!
//! let step = Duration::from_secs(300);
//! let hour = Horizon::At(12);
//! let mut forecaster = Forecaster::new(Settings::new(step, &[hour], &[0.95])?);
//! // Six days of office hours: 100 requests a second from nine to five, else 5.
//! let load_at = |number: u32| if (108..204).contains(&(number % 288)) { 100.0 } else { 5.0 };
//! for number in 0..6 * 288 + 100 {
//!     forecaster.observe(step * number, load_at(number));
//! }
//! // It is a quarter past eight. In an hour it will be a quarter past nine.
//! let quantile = forecaster.forecasts()[0].quantiles[0];
//! assert_eq!(quantile.by, Model::Blend);
//! assert!((90.0..125.0).contains(&quantile.load), "{quantile:?}");
//! # Ok::<(), forecast::SettingsError>(())
//! ```

mod forecaster;
mod settings;

mod distribution;
mod forecast;
mod model;
mod season;

mod calibration;
mod ensemble;

mod outlook;

mod deviation;
mod history;
mod mixture;
mod profile;
mod regression;
mod sketch;
mod smoothing;
mod width;

#[cfg(test)]
mod tests;

pub use calibration::pinball;
pub use distribution::{Distribution, ExceedanceProbabilities};
pub use ensemble::ADVANTAGE_MIN;
pub use forecast::{Forecast, ModelScore, Quantile, Report, ReportSummary};
pub use forecaster::{Forecaster, SampleOutcome};
pub use model::Model;
pub use season::Season;
pub use settings::{AHEAD_MAX, HISTORY_STEPS, HORIZONS_MAX, Horizon, LEVELS_MAX, Settings, SettingsError};
