//! The public face of `platform-process`: the contract, and what only processes have.

mod contract;
mod crash;
mod isolation;
mod world;
