//! End to end: the real binary, real processes, real sockets, looked at through the command line as a user's script would.

mod commanding;
mod healing;
mod house;
mod outliving;
mod refusing;
mod replica;
