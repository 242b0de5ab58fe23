//! Conformance suites for every Store, every Platform, and the HPA algorithm; and access to the data of tests that is not part of the project.

pub mod data;
pub mod hpa;
pub mod platform;
pub mod store;
