//! The commands, one module each, with its arguments (`Arguments`) and its implementation.

pub(crate) mod up;

pub(crate) mod apply;
pub(crate) mod delete;
pub(crate) mod diff;
pub(crate) mod validate;

pub(crate) mod describe;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod forecast;
pub(crate) mod get;
pub(crate) mod logs;
pub(crate) mod recommendations;
pub(crate) mod top;

pub(crate) mod pause;
pub(crate) mod protect;
pub(crate) mod scale;

pub(crate) mod load;

pub(crate) mod rehearse;
pub(crate) mod replay;
pub(crate) mod study;

pub(crate) mod completions;
pub(crate) mod schema;
pub(crate) mod version;
