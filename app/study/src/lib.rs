//! Policies side by side over recorded load: what `homeostat simulate` does, without its output.
//!
//! [`compare`] reads a [`Recording`] and tries each [`Candidate`] on it; [`Summary`] is what that comes to, in the form that scripts read. It
//! streams: a recording is read twice or three times and never kept. Nothing here asks a running Homeostat or changes anything.

mod recording;

mod candidate;
mod declared;

mod study;

mod summary;

mod tune;

mod page;

pub use candidate::{BUILTINS, Builtin, Candidate, Kind, LEARNED, ORACLES, PolicyContext};
pub use declared::{DeclaredError, all_declared, capacity_told, declared, notes_on, widest_bounds};
pub use page::page;
pub use recording::{Extent, Reading, Recording, RecordingError, Source};
pub use study::{
    CapacityRule, Findings, PolicyResult, Progress, Setting, StudyError, TrainingSplit, compare,
};
pub use summary::{Measure, PolicySummary, Summary};
pub use tune::{PartSummary, Parts, SearchGoal, Tuning, TuningResult, tune};
