//! Monitor: raw reports in, validated facts out.
//!
//! Gaps, duplicates, late reports of lives that are over, and unknown replicas are dealt with here: each fact has been checked
//! against the life that it speaks of. Nothing is concluded from a fact: that is `analyze`'s.

mod facts;
pub use facts::facts;
