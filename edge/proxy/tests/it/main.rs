//! The proxy through its public face: real sockets, real endpoints, one of them killed now and then.

mod kit;

mod draining;
mod framing;
mod limits;
mod passing;
mod retrying;
mod storm;
mod table;
mod upgrading;
mod waiting;
