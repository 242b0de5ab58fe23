//! Monitor: turns raw reports into validated facts.
//!
//! It handles gaps, duplicates, late reports about earlier lives, and unknown replicas: each fact is validated against the life of its
//! replica. It draws no conclusions from facts; `analyze` does.

mod facts;
pub use facts::facts;
