//! Analyze: conclusions from the picture.
//!
//! From the folded facts of one service it concludes which replicas are sick, whether many failures are one overload, which
//! replicas are in a crash loop, and which dependencies are missing. It proposes nothing: `plan` decides what to do about a finding.

mod findings;
pub use findings::findings;

mod restarts;
pub use restarts::{Restart, after_exit, after_failed_start, well};
