//! The loop through its public face: inputs in, actions out.

mod bench;
mod found_by_swarm;
