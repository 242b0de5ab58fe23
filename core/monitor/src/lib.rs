//! Monitor: raw reports in, validated facts out.
//!
//! Gaps, duplicates, reports of lives that are over, and replicas that nobody knows are dealt with here; what comes out belongs
//! to the life it speaks of. Nothing is concluded from a fact: that is `analyze`'s.

mod facts;
pub use facts::facts;
