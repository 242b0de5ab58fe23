//! Monitor: raw reports in, validated facts out.
//!
//! Gaps, duplicates, late reports of lives that are over, and unknown replicas are dealt with here: each fact has been checked
//! against the life that it is about. Nothing is concluded from a fact here: that is done by `analyze`.

mod facts;
pub use facts::facts;
