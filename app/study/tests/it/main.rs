//! Comparisons through the crate's public face.

mod comparing;
mod declaring;
mod paging;
mod recording;
mod tuning;
