//! The model against hand-computed figures, and invariants that hold for every load.

mod disturbances;
mod elasticity;
mod policies;
mod queue;
mod ticks;
