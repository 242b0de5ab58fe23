//! The command line: arguments in, text out.
//!
//! Each verb has a module of its own under `verbs`: its arguments (`Arguments`), and what it does with them. Most verbs ask a running
//! Homeostat over its API. Exceptions are `up`, `load`, `rehearse`, `replay`, `simulate` without a service, and those that print what
//! the program itself knows. Nothing here touches the data or the replicas of a running one. The arguments of `up` are only read
//! here: what it starts is wired by the binary.
//!
//! What scripts rely on goes to standard output, everything else to standard error. The program exits with 0 when the thing was done,
//! with 1 when it failed, and with 2 when the arguments (or the manifests) were wrong.

mod arguments;
mod failure;

mod figures;
mod moment;
mod output;
mod paint;
mod picture;
mod tables;

mod client;
mod kept;
mod lines;
mod target;

mod manifests;
mod trial;
mod verbs;

pub use arguments::run;
pub use paint::Colours;
pub use verbs::up::{Cpu, LogLevel, Up};
