//! Plan: findings and intent in, one immutable plan with reasons out.

pub mod scale;
