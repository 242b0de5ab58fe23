//! Analyze: what the picture means.
//!
//! From the folded facts of one service it concludes who is sick, whether the many failures are one overload, who ends again
//! and again, and whether something depended on is missing. It proposes nothing: what to do about a finding is `plan`'s.

mod findings;
pub use findings::findings;

mod restarts;
pub use restarts::{Restart, after_exit, after_failed_start, well};
