//! The Platform contract: runs replicas somewhere.
//!
//! A driver implements [`Platform`]; an agent owns one and asks it for everything that concerns replicas. The contract
//! knows nothing of health or traffic: those are asked by `probe` and `proxy`. `conformance::platform` is the contract
//! as tests; every driver passes it.

mod contract;
mod life;
mod logs;

pub use contract::{
    AllotRequest, Capabilities, Event, ObserveError, Platform, RunEnd, RunError, RunRequest, StartRequest,
    Started, StopRequest, Support,
};
pub use life::{Life, LifeState};
pub use logs::{LINE_LEN_MAX, LogError, LogLine, LogLines, TAIL_LINES_MAX};
