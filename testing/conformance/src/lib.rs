//! One suite for every Store, every Platform, and the HPA algorithm.

pub mod hpa;
pub mod platform;
pub mod store;
