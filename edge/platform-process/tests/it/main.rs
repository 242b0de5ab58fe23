//! The public interface of `platform-process`: the contract, and what is specific to processes.

mod contract;
mod crash;
mod inventory;
mod isolation;
mod world;
