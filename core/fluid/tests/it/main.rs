//! The model against arithmetic by hand, and what holds for every load.

mod disturbed;
mod elasticity;
mod policies;
mod queue;
mod ticks;
