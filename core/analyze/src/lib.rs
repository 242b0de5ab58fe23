//! Analyze: conclusions from the state.
//!
//! From the folded facts of one service it concludes which replicas are unhealthy, whether many failures are an overload, which
//! replicas are in a crash loop, and which dependencies are missing. `plan` decides what to do about a finding.

mod findings;
pub use findings::findings;

mod restarts;
pub use restarts::{Restart, after_exit, after_failed_start, note_ready_time};
