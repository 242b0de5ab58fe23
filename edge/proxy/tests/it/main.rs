//! The proxy through its public face: real sockets, real endpoints, one of them killed now and then.

mod hashing;
mod kit;

mod breaking;
mod draining;
mod frames;
mod framing;
mod grpc;
mod hedging;
mod http2;
mod limits;
mod logging;
mod multiplex;
mod passing;
mod plain;
mod preamble;
mod resting;
mod retrying;
mod routing;
mod shedding;
mod silent;
mod slow_start;
mod slowness;
mod storm;
mod succeeding;
mod table;
mod tcp;
mod tls;
mod torn;
mod tracing;
mod udp;
mod upgrading;
mod waiting;
mod websocket;
mod zones;
