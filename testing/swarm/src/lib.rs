//! Many simulated days, each with its own faults, with checkers after every step.
//!
//! A seed gives a [`Config`]: which services, which loads, which faults and how often, what an operator does. [`run()`] runs the
//! world of that seed with the loop in it, and applies every [checker](checkers). A seed that fails gives the checker's
//! sentence, the step, and the command that runs it again; [`shrink`](shrink::shrink) finds what can be left out.
//!
//! [`scenario`] tells single stories by script, whose output an operator can read.

mod config;
pub use config::{Config, Cut, Kind, ServiceConfig};

mod operator;

mod run;
pub use run::{Failure, Report, run};

pub mod checkers;

pub mod shrink;

pub mod story;

pub mod regressions;

pub mod scenario;
