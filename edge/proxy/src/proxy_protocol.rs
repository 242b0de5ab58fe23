//! The PROXY protocol: a header at the beginning of a connection that names the addresses of the original connection.
//!
//! Source: "The PROXY protocol, versions 1 & 2" of HAProxy. It is accepted from clients only where that is configured, and then required of
//! all of them: if it were optional, any client could forge it.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::{Poll, ready};

use proxy_header::{ParseConfig, ProxiedAddress, ProxyHeader};
use thiserror::Error;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use crate::route::ProxyVersion;
use crate::timer::Timer;

/// Bytes that a header may have, with the extensions of version 2: as many as nginx allows.
const HEADER_BYTES_MAX: usize = 4096;

/// Bytes that a header of version 1 may have. Source: the specification of the PROXY protocol, section 2.1.
const V1_BYTES_MAX: usize = 107;

/// The addresses of the original connection: who opened it, and where to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProxiedAddresses {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
}

/// The header that a connection to an endpoint begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutgoingHeader {
    pub(crate) version: ProxyVersion,
    /// `None` for a connection of the proxy itself.
    pub(crate) addresses: Option<ProxiedAddresses>,
}

/// What was read at the beginning of a client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// A header with the addresses of another connection.
    Proxied(ProxiedAddresses),
    /// A header which marks the connection as the sender's own, such as a health check.
    Local,
    /// No valid header, or not in time.
    Invalid(HeaderError),
    /// The client has disconnected without sending anything, as a port check does, or the service is closing.
    Nothing,
}

/// Why there is no valid header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum HeaderError {
    #[error("the connection does not begin with a PROXY header")]
    Malformed,
    #[error("the client disconnected within its PROXY header")]
    Truncated,
    #[error("no complete PROXY header was received in time")]
    TimedOut,
}

/// Reads the header of a connection, and not a byte more.
pub(crate) async fn read_header(
    stream: &TcpStream,
    timer: &Timer,
    is_closing: impl Fn() -> bool,
) -> Received {
    let mut buffered = Vec::new();
    poll_fn(|cx| {
        timer.register(cx);
        loop {
            if timer.is_expired() {
                return Poll::Ready(Received::Invalid(HeaderError::TimedOut));
            }
            let mut space = [0; HEADER_BYTES_MAX];
            let mut piece = ReadBuf::new(&mut space[buffered.len()..]);
            let peeked = stream.poll_peek(cx, &mut piece);
            if peeked.is_pending() && is_closing() {
                return Poll::Ready(Received::Nothing);
            }
            let size = match ready!(peeked) {
                Ok(size) if size > 0 => size,
                Ok(_) | Err(_) if buffered.is_empty() => return Poll::Ready(Received::Nothing),
                Ok(_) | Err(_) => return Poll::Ready(Received::Invalid(HeaderError::Truncated)),
            };
            // Of the peeked bytes only the header is consumed.
            let before = buffered.len();
            buffered.extend_from_slice(piece.filled());
            let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
            let (header_len, outcome) = match ProxyHeader::parse(&buffered, config) {
                Ok((header, length)) if length <= bytes_max(&buffered) => {
                    (length - before, Some(received(&header)))
                }
                Err(proxy_header::Error::BufferTooShort) if buffered.len() < bytes_max(&buffered) => {
                    (size, None)
                }
                Ok(_) | Err(_) => return Poll::Ready(Received::Invalid(HeaderError::Malformed)),
            };
            if stream.try_read(&mut space[..header_len]).ok() != Some(header_len) {
                return Poll::Ready(Received::Invalid(HeaderError::Truncated));
            }
            if let Some(outcome) = outcome {
                return Poll::Ready(outcome);
            }
        }
    })
    .await
}

/// How long a header that begins in this way may be.
fn bytes_max(begin: &[u8]) -> usize {
    if begin.starts_with(b"PROXY") { V1_BYTES_MAX } else { HEADER_BYTES_MAX }
}

fn received(header: &ProxyHeader<'_>) -> Received {
    header.proxied_address().map_or(Received::Local, |ProxiedAddress { source, destination, .. }| {
        Received::Proxied(ProxiedAddresses { source: *source, destination: *destination })
    })
}

/// The header for a connection to an endpoint; without `addresses` the connection is the proxy's own.
pub(crate) fn encode(version: ProxyVersion, addresses: Option<ProxiedAddresses>) -> Vec<u8> {
    let addresses = addresses.and_then(ProxiedAddresses::of_one_family);
    let address =
        addresses.map(|ProxiedAddresses { source, destination }| ProxiedAddress::stream(source, destination));
    let header = address.map_or_else(ProxyHeader::with_local, ProxyHeader::with_address);
    let mut bytes = Vec::new();
    let written = match version {
        ProxyVersion::V1 => header.encode_v1(&mut bytes),
        ProxyVersion::V2 => header.encode_v2(&mut bytes),
    };
    written.expect("two addresses of one family fit into a header of either version");
    bytes
}

impl ProxiedAddresses {
    /// The same with both addresses of one family, as the header requires; `None` when that is not possible.
    fn of_one_family(self) -> Option<Self> {
        let plain = |it: SocketAddr| SocketAddr::new(it.ip().to_canonical(), it.port());
        let (source, destination) = (plain(self.source), plain(self.destination));
        (source.is_ipv4() == destination.is_ipv4()).then_some(Self { source, destination })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(source: &str, destination: &str) -> ProxiedAddresses {
        ProxiedAddresses { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    #[test]
    fn a_header_has_the_clients_addresses_in_both_versions() {
        let of = |version, addresses| encode(version, Some(addresses));
        let four = addresses("10.1.2.3:4000", "10.0.0.1:443");
        assert_eq!(of(ProxyVersion::V1, four), b"PROXY TCP4 10.1.2.3 10.0.0.1 4000 443\r\n");
        let mapped = addresses("[::ffff:10.1.2.3]:4000", "10.0.0.1:443");
        assert_eq!(of(ProxyVersion::V1, mapped), of(ProxyVersion::V1, four));
        let six = addresses("[2001:db8::1]:4000", "[2001:db8::2]:443");
        let written = of(ProxyVersion::V2, six);
        let (read, length) = ProxyHeader::parse(&written, ParseConfig::default()).unwrap();
        assert_eq!((received(&read), length), (Received::Proxied(six), written.len()));
    }

    #[test]
    fn a_connection_without_addresses_is_unknown_or_local() {
        assert_eq!(encode(ProxyVersion::V1, None), b"PROXY UNKNOWN\r\n");
        assert_eq!(
            encode(ProxyVersion::V1, Some(addresses("10.0.0.1:1", "[2001:db8::1]:2"))),
            b"PROXY UNKNOWN\r\n"
        );
        assert_eq!(encode(ProxyVersion::V2, None), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    }
}
