//! The Platform contract: runs replicas somewhere.
//!
//! A driver implements [`Platform`], and an agent owns one, through which it does everything with replicas but probing them and routing
//! traffic to them (`probe` and `proxy`). `conformance::platform` is the contract as tests; every driver passes it.

mod contract;
mod life;
mod logs;

pub use contract::{
    AllotRequest, Capabilities, Event, ObserveError, Platform, RunEnd, RunError, RunRequest, StartRequest,
    Started, StopRequest, Support,
};
pub use life::{Life, LifeState};
pub use logs::{LINE_LEN_MAX, LogError, LogLine, LogLines, TAIL_LINES_MAX};
