//! The shared vocabulary: what people declare, what sensors see, what the loop decides, and why.
//!
//! Everything here is plain data that can be compared and printed. Nothing here decides, waits, or touches the world. Values from
//! outside are checked once, where they enter ([`name`], [`resource`]); from then on the type is trusted.

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
