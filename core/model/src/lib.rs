//! The types that all other crates share: resources, inputs, plans, actions, events and the reasons for them.
//!
//! Everything here is plain data that can be compared and printed. Nothing here decides, waits or does I/O. External values are
//! validated once, when they are parsed ([`name`], [`resource`]); from then on the type guarantees validity.

mod nearest;
mod text;

pub mod time;

pub mod chance;
pub mod histogram;
pub mod identity;
pub mod name;
pub mod quantity;

pub mod resource;
pub mod settings;

pub mod fact;
pub mod input;
pub mod latency;
pub mod measure;
pub mod memory;

pub mod decision;
pub mod plan;

pub mod action;
pub mod event;
pub mod reason;

pub use nearest::nearest;
