//! Many simulated days, each with its own faults, with checkers after every step.
//!
//! A seed gives a [`Config`]: which services, which loads, which faults and how often, and whether an operator acts. [`run()`] runs
//! the world of that seed with the loop in it, and applies every [checker](checkers). For a seed that fails, the checker's message,
//! the step, and the command that runs it again are printed; [`shrink`](shrink::shrink) finds what can be left out.
//!
//! [`scenario`] runs single scenarios by script.

mod config;
pub use config::{Config, Exclusions, Kind, ServiceConfig};

mod operator;

mod failure;
pub use failure::Failure;

mod run;
pub use run::{Report, run};

pub mod checkers;

pub mod shrink;

pub mod story;

pub mod regressions;

pub mod scenario;
