//! An open-loop HTTP/1.1 load generator that corrects for coordinated omission.
//!
//! A [`Profile`](profile::Profile) is a request rate over time; its [`schedule`](profile::Profile::schedule) has the
//! exact time of each request; [`run`] sends them at these times, whether or not earlier ones were answered, and
//! measures each from the time it was *due*. So a service that stalls for a second shows the wait of every client that
//! came in that second, whereas a generator that waits for its answers would have sent one request and seen one slow
//! answer (G. Tene, "How NOT to Measure Latency", 2015).
//!
//! It never becomes a closed loop: when all connections are busy, requests that are due are not sent but counted as
//! `skipped`. It follows no redirects, repeats no request that may have reached the server, and does not support TLS.
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
