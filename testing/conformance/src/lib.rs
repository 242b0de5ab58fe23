//! One suite for every Store, every Platform, and the HPA algorithm; and where tests find data from outside.

pub mod data;
pub mod hpa;
pub mod platform;
pub mod store;
