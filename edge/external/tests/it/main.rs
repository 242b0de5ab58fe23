//! The public face of `external`: files that are kept, with real programs as check and reload.

mod reconciling;
mod world;
