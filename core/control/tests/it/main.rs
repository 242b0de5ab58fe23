//! The loop through its public face: inputs in, actions out.

mod bench;
mod random_run;
mod world;

mod allowed_sizes;
mod beginning;
mod doubting;
mod explaining;
mod fitting;
mod foretelling;
mod found_by_swarm;
mod healing;
mod laws;
mod leaving;
mod measuring;
mod outcomes;
mod pausing;
mod promised_ahead;
mod promised_rest;
mod promising;
mod removing;
mod resting;
mod returning;
mod rollout;
mod scheduled;
mod shadowed;
mod sizing;
mod spares;
mod stable;
mod suspicion;
mod vertical;
