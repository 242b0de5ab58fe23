//! The public interface of `external`: files that are reconciled, with real programs as check and reload.

mod reconciling;
mod world;
