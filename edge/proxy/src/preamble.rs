//! The PROXY protocol: a header at the beginning of a connection that tells between which addresses it is.
//!
//! Source: "The PROXY protocol, versions 1 & 2" of HAProxy. It is accepted from clients only where that is configured, and then required of all of
//! them: if it were optional, anybody could forge it.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::{Poll, ready};

use proxy_header::{Error, ParseConfig, ProxiedAddress, ProxyHeader};
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use crate::route::ProxyVersion;
use crate::timer::Timer;

/// Bytes that a header may have, with the extensions of version 2: as many as nginx allows.
const HEADER_BYTES_MAX: usize = 4096;

/// The two ends of a connection: who opened it, and where it was to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
}

/// What an endpoint is told in front of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Introduction {
    pub(crate) version: ProxyVersion,
    /// `None` for a connection of our own.
    pub(crate) ends: Option<Ends>,
}

/// What came in front of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The connection belongs to somebody else than its peer.
    From(Ends),
    /// It belongs to its peer, as a health check does.
    Itself,
    /// No header came, or not in time, or one that is too long.
    Nothing,
    /// The service is closing.
    Closing,
}

/// Reads the header in front of a connection, and not a byte more.
pub(crate) async fn hear(stream: &TcpStream, timer: &Timer, is_closing: impl Fn() -> bool) -> Heard {
    let mut heard = Vec::new();
    poll_fn(|cx| {
        timer.register(cx);
        loop {
            if timer.is_expired() {
                return Poll::Ready(Heard::Nothing);
            }
            let mut space = [0; HEADER_BYTES_MAX];
            let mut piece = ReadBuf::new(&mut space[heard.len()..]);
            let peeked = stream.poll_peek(cx, &mut piece);
            if peeked.is_pending() && is_closing() {
                return Poll::Ready(Heard::Closing);
            }
            let size = match ready!(peeked) {
                Ok(size) if size > 0 => size,
                Ok(_) | Err(_) => return Poll::Ready(Heard::Nothing),
            };
            // Only the header is taken out of what was peeked at. What follows it is not for us.
            let before = heard.len();
            heard.extend_from_slice(piece.filled());
            let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
            let (own, end) = match ProxyHeader::parse(&heard, config) {
                Ok((header, length)) => (length - before, Some(from(&header))),
                Err(Error::BufferTooShort) if heard.len() < HEADER_BYTES_MAX => (size, None),
                Err(_) => return Poll::Ready(Heard::Nothing),
            };
            if stream.try_read(&mut space[..own]).ok() != Some(own) {
                return Poll::Ready(Heard::Nothing);
            }
            if let Some(end) = end {
                return Poll::Ready(end);
            }
        }
    })
    .await
}

fn from(header: &ProxyHeader<'_>) -> Heard {
    header.proxied_address().map_or(Heard::Itself, |ProxiedAddress { source, destination, .. }| {
        Heard::From(Ends { source: *source, destination: *destination })
    })
}

/// The header for a connection to an endpoint; without `ends` the connection is our own.
pub(crate) fn header(version: ProxyVersion, ends: Option<Ends>) -> Vec<u8> {
    let ends = ends.and_then(Ends::of_one_family);
    let address = ends.map(|Ends { source, destination }| ProxiedAddress::stream(source, destination));
    let header = address.map_or_else(ProxyHeader::with_local, ProxyHeader::with_address);
    let mut bytes = Vec::new();
    let written = match version {
        ProxyVersion::V1 => header.encode_v1(&mut bytes),
        ProxyVersion::V2 => header.encode_v2(&mut bytes),
    };
    written.expect("two addresses of one family fit into a header of either version");
    bytes
}

impl Ends {
    /// The same with addresses of one family, as a header has to have them; `None` when that is not possible.
    fn of_one_family(self) -> Option<Self> {
        let plain = |it: SocketAddr| SocketAddr::new(it.ip().to_canonical(), it.port());
        let (source, destination) = (plain(self.source), plain(self.destination));
        (source.is_ipv4() == destination.is_ipv4()).then_some(Self { source, destination })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(source: &str, destination: &str) -> Ends {
        Ends { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    #[test]
    fn a_header_says_whose_a_connection_is_in_both_versions() {
        let of = |version, ends| header(version, Some(ends));
        let four = ends("10.1.2.3:4000", "10.0.0.1:443");
        assert_eq!(of(ProxyVersion::V1, four), b"PROXY TCP4 10.1.2.3 10.0.0.1 4000 443\r\n");
        let mapped = ends("[::ffff:10.1.2.3]:4000", "10.0.0.1:443");
        assert_eq!(of(ProxyVersion::V1, mapped), of(ProxyVersion::V1, four));
        let six = ends("[2001:db8::1]:4000", "[2001:db8::2]:443");
        let written = of(ProxyVersion::V2, six);
        let (read, length) = ProxyHeader::parse(&written, ParseConfig::default()).unwrap();
        assert_eq!((from(&read), length), (Heard::From(six), written.len()));
    }

    #[test]
    fn a_connection_of_nobody_says_so() {
        assert_eq!(header(ProxyVersion::V1, None), b"PROXY UNKNOWN\r\n");
        assert_eq!(
            header(ProxyVersion::V1, Some(ends("10.0.0.1:1", "[2001:db8::1]:2"))),
            b"PROXY UNKNOWN\r\n"
        );
        assert_eq!(header(ProxyVersion::V2, None), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    }
}
