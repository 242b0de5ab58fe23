//! Compares scaling policies over recorded load: the implementation of `homeostat simulate`, without its output.
//!
//! [`compare()`] reads a [`Recording`] and simulates each [`Candidate`] over it; [`Summary`] is the result in the form for scripts. Recordings are
//! streamed: they are read two or three times and never kept in memory. Nothing here uses a running Homeostat or changes anything.

mod recording;
mod setting;

mod candidate;
mod declared;

mod compare;
mod tune;

mod notes;
mod summary;

mod page;

pub use candidate::{BUILTINS, Builtin, Candidate, Kind, LEARNED, ORACLES, PolicyContext};
pub use compare::{Findings, PolicyResult, TrainingSplit, compare};
pub use declared::{DeclaredError, all_declared, assumptions, declared, declared_capacity, widest_bounds};
pub use page::page;
pub use recording::{Extent, Reading, Recording, RecordingError, Source};
pub use setting::{CapacityRule, Measure, Progress, Setting, StudyError};
pub use summary::{PolicySummary, Summary};
pub use tune::{PartSummary, Parts, SearchGoal, Tuning, TuningResult, tune};
