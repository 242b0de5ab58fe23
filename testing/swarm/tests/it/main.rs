//! Stories whose output an operator can read, and the laws of the swarm itself.

mod stories;
mod vertical;
mod worlds;
