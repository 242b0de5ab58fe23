//! Scenarios with their expected output, vertical scaling over hours, and the determinism of the swarm.

mod stories;
mod vertical;
mod worlds;
