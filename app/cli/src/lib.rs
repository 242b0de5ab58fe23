//! The command line.
//!
//! Each command has its own module under `verbs`, with its arguments (`Arguments`) and its implementation. Most commands are clients of
//! the API of a running Homeostat. The exceptions are `up`, `load`, `rehearse`, `replay`, `simulate` without a service, and commands that
//! print built-in information. Nothing here touches the data or the replicas of a running Homeostat. Of `up`, only the arguments are read
//! here; the binary wires what it starts.
//!
//! Results go to standard output, everything else to standard error. The exit code is 0 on success, 1 on failure, and 2 for invalid
//! arguments or manifests.

mod arguments;
mod context;
mod failure;

mod figures;
mod moment;
mod output;
mod paint;
mod picture;
mod stderr;
mod tables;

mod client;
mod declared;
mod lines;
mod target;

mod manifests;
mod trial;
mod verbs;

pub use arguments::run;
pub use paint::Colours;
pub use verbs::up::{Cpu, LogLevel, Up};
