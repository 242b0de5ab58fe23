//! End to end: the real binary, real processes, real sockets, looked at through the command line as a user's script would.

mod balancing;
mod commanding;
mod comparing;
mod computing;
mod connecting;
mod explaining;
mod full_disk;
mod healing;
mod hedging;
mod house;
mod introducing;
mod logging;
mod measuring;
mod multiplexing;
mod outliving;
mod pacing;
mod recovering;
mod refusing;
mod rehearsing;
mod replica;
mod resting;
mod rightsizing;
mod routing;
mod securing;
mod shedding;
mod simulating;
