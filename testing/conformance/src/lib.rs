//! One suite for every Store, one for every Platform, and one for the HPA algorithm; and the place where tests find data from outside.

pub mod data;
pub mod hpa;
pub mod platform;
pub mod store;
