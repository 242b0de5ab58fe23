//! The command line: words in, text out.
//!
//! Each verb has a module of its own under `verbs`, with its words and what it does with them. All but `up`, `load`, `simulate`,
//! `replay` and those that print what the program knows by itself ask a running Homeostat over its API, and nothing here touches its
//! data or its replicas. `up` is only read here; what it starts is named by the binary, once.
//!
//! What scripts rely on goes to standard output, all else to standard error. The program exits 0 when the thing was done, 1 when
//! it failed, 2 when the words (or the manifests) were wrong.

mod failure;
mod words;

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

pub use paint::Colours;
pub use verbs::up::{Cpu, LogLevel, Up};
pub use words::run;
