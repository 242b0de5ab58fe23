//! Asks the sources of metrics for their numbers: servers that answer PromQL, pages in JSON, programs, queues in Redis and
//! PostgreSQL, and what replicas say of themselves.
//!
//! One [`Source`] is one metric from one place. It asks in a steady beat and never twice at once; whatever comes back is bounded
//! before it is looked into. It decides nothing: what it cannot read it says in one sentence, and an empty answer is an answer.
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

pub mod exposition;

mod series;
