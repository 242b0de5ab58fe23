//! An open-loop HTTP/1.1 load generator that corrects for coordinated omission.
//!
//! A [`Profile`](profile::Profile) says how many requests a second are due at each moment; its
//! [`schedule`](profile::Profile::schedule) says exactly when each is sent; [`run`] sends them then, whether or
//! not earlier ones were answered, and measures each from the time it was *due*. A service that stalls for a
//! second therefore shows the wait of everybody who came in that second, where a generator that waits for its
//! answers would have sent one request and seen one slow answer (G. Tene, "How NOT to Measure Latency", 2015).
//!
//! It never turns into a closed loop: when as many requests are in flight as it may have connections, those that
//! fall due are not sent but counted as `skipped`. It never follows redirects, never repeats a request that may
//! have reached the other side, and speaks no TLS.
//!
//! ```
//! use std::time::Duration;
//! use load::{profile::{FlashSale, Profile}, rate::Rate, schedule::Arrivals};
//!
//! let (base, peak) = (Rate::per_second(20.0)?, Rate::per_second(250.0)?);
//! let second = Duration::from_secs(1);
//! let sale = FlashSale {
//!     base, peak, lead: 10 * second, rise: 5 * second, hold: 30 * second, fall: 5 * second, tail: 20 * second,
//! };
//! let profile = Profile::flash_sale(&sale)?;
//! assert_eq!(profile.schedule(Arrivals::Even).count(), 9_450);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod rate;

pub mod profile;
pub mod schedule;

pub mod replay;
pub mod rows;
pub mod trace;

pub mod plan;
pub mod report;
mod series;
mod tally;

mod exchange;
mod generator;
mod pacer;

pub mod plot;

pub use generator::{RunError, run};
pub use plan::{LoadPlan, RequestTemplate, Target};
pub use report::{Progress, Report};
