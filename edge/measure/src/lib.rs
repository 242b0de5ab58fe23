//! Measures metrics at their sources: PromQL servers, JSON documents, programs, queues in Redis and PostgreSQL, and the replicas
//! themselves.
//!
//! One [`Source`] is one metric from one place. It is measured at a fixed interval, by one request at a time. Answers are limited in
//! size before they are read. The crate decides nothing: what cannot be read is a failure in one sentence, and an empty answer is
//! valid.
//!
//! ```
//! let page = "# TYPE jobs gauge\njobs{queue=\"mail\"} 12\n";
//! let samples = measure::exposition::read(page, measure::exposition::Form::Prometheus).unwrap();
//! assert_eq!((samples[0].name.as_str(), samples[0].value), ("jobs", 12.0));
//! ```

mod source;
pub use source::{Replica, Source};

mod failure;
pub use failure::Failure;

mod command;
mod dial;
mod json;
mod page;
mod postgres;
pub mod promql;
pub mod range;
mod rates;
mod redis;
mod secret;

pub mod exposition;

mod series;
