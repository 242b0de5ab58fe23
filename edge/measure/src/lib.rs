//! Measures metrics where they are: at servers of PromQL, in JSON documents, by programs, in queues of Redis and PostgreSQL, and
//! at the replicas themselves.
//!
//! One [`Source`] is one metric from one place. It asks at a fixed interval, and never twice at the same time. Answers are limited in
//! size before they are read. The crate decides nothing: what cannot be read is a failure in one sentence, and an empty answer is
//! an answer.
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
