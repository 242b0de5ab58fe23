//! The proxy through its public interface: real sockets, real endpoints, one of them killed now and then.

mod hashing;
mod kit;

mod breaking;
mod churn;
mod connections;
mod draining;
mod forwarding;
mod frames;
mod framing;
mod grpc;
mod half_closed;
mod hedging;
mod http2;
mod idle;
mod limits;
mod logging;
mod multiplex;
mod plain;
mod proxy_protocol;
mod retrying;
mod routing;
mod shedding;
mod slow_endpoints;
mod slow_start;
mod table;
mod takeover;
mod tcp;
mod tls;
mod tracing;
mod truncated;
mod udp;
mod upgrading;
mod waiting;
mod websocket;
mod zones;
