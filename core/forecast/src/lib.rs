//! The load ahead of one service, with quantiles that hold what they say.
//!
//! Samples go in as they come; what comes out is, for each horizon, the load that will not be exceeded with a given probability. Several
//! [`Model`]s forecast at every step and are scored by what came, with the pinball loss: at the quantile 0.95 a forecast that was too low
//! costs nineteen times what one costs that was too high. They share the forecast by what each has been worth, and the whole is moved until
//! it covers what it says. A forecast was always made before what it is scored by was known, so every figure is of a hold-out.
//!
//! While nothing beats the last value by 2 %, the forecast is the last value with its own band, [`Quantile::by`] says
//! [`Model::Persistence`], and whoever would act ahead of the load had better not.
//!
//! It never reads a clock, draws no number, does no I/O, and keeps a bounded state: see [`Forecaster`]. The same samples give the
//! same forecasts. What is no load (not a number, infinite, negative) is refused before it touches anything.
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
mod race;

mod outlook;

mod carry;
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
pub use distribution::{Distribution, Odds};
pub use forecast::{Forecast, Merit, Quantile, Report, Standing};
pub use forecaster::{Forecaster, Taken};
pub use model::Model;
pub use season::Season;
pub use settings::{AHEAD_MAX, HISTORY_STEPS, HORIZONS_MAX, Horizon, LEVELS_MAX, Settings, SettingsError};
