//! The socket that receives the datagrams of all clients, and sends them their answers.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket as StdUdpSocket};
use std::os::fd::{AsRawFd as _, RawFd};

use nix::cmsg_space;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Bytes of datagrams that the system queues until they are read; Linux caps it at `net.core.rmem_max`, by default 208 KiB. 1 MiB is 10 ms of
/// 80,000 datagrams a second of 1,280 bytes.
const BACKLOG_BYTES: usize = 1024 * 1024;

/// Opens a socket for datagrams to `address`. If that is the wildcard address, the socket reports the address that each datagram was sent to.
pub(crate) fn bind(address: SocketAddr) -> io::Result<Socket> {
    // Without SO_REUSEADDR: UDP does not need it, and two sockets could then share an address, and the datagrams.
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // Before it is bound, so that no datagram is queued without its address.
    match address {
        SocketAddr::V4(four) if four.ip().is_unspecified() => {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        }
        SocketAddr::V6(six) if six.ip().is_unspecified() => {
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        }
        SocketAddr::V4(_) | SocketAddr::V6(_) => {}
    }
    socket.set_recv_buffer_size(BACKLOG_BYTES)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Who sent a datagram, and to which local address, from which the client expects the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SessionKey {
    pub(crate) client: SocketAddr,
    /// `None` unless the socket is bound to the wildcard address.
    local: Option<IpAddr>,
}

/// The socket of a service, registered with the runtime.
#[derive(Debug)]
pub(crate) struct ServiceSocket {
    socket: UdpSocket,
    /// Whether it is bound to the wildcard address.
    is_wildcard: bool,
}

impl ServiceSocket {
    /// Registers the socket with the runtime that this is called in.
    pub(crate) fn register(socket: StdUdpSocket) -> io::Result<Self> {
        let is_wildcard = socket.local_addr()?.ip().is_unspecified();
        Ok(Self { socket: UdpSocket::from_std(socket)?, is_wildcard })
    }

    /// Waits until there may be a datagram. Cancel safe.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Receives the next datagram; [`ErrorKind::WouldBlock`] when there is none.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SessionKey)> {
        if !self.is_wildcard {
            let (size, client) = self.socket.try_recv_from(buffer)?;
            return Ok((size, SessionKey { client, local: None }));
        }
        let descriptor = self.socket.as_raw_fd();
        self.socket.try_io(Interest::READABLE, || receive_with_address(descriptor, buffer))
    }

    /// Sends a datagram to the client at once or not at all: a late one would be as useless as a lost one.
    pub(crate) fn send(&self, datagram: &[u8], key: &SessionKey) -> io::Result<()> {
        let to = SockaddrStorage::from(key.client);
        let send = |control: &[ControlMessage<'_>]| {
            let piece = [IoSlice::new(datagram)];
            sendmsg(self.socket.as_raw_fd(), &piece, control, MsgFlags::MSG_DONTWAIT, Some(&to))
        };
        match key.local {
            None => send(&[]),
            Some(IpAddr::V4(local)) => {
                let address = in_addr { s_addr: u32::from_ne_bytes(local.octets()) };
                let any = in_addr { s_addr: u32::from_ne_bytes(Ipv4Addr::UNSPECIFIED.octets()) };
                let info = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: any };
                send(&[ControlMessage::Ipv4PacketInfo(&info)])
            }
            Some(IpAddr::V6(local)) => {
                let ipi6_addr = in6_addr { s6_addr: local.octets() };
                // A link-local address is ambiguous without its link.
                let ipi6_ifindex = match key.client {
                    SocketAddr::V6(client) => client.scope_id(),
                    SocketAddr::V4(_) => 0,
                };
                send(&[ControlMessage::Ipv6PacketInfo(&in6_pktinfo { ipi6_addr, ipi6_ifindex })])
            }
        }?;
        Ok(())
    }
}

fn receive_with_address(descriptor: RawFd, buffer: &mut [u8]) -> io::Result<(usize, SessionKey)> {
    let mut piece = [IoSliceMut::new(buffer)];
    let mut control = cmsg_space!(in6_pktinfo);
    let flags = MsgFlags::MSG_DONTWAIT;
    let received = recvmsg::<SockaddrStorage>(descriptor, &mut piece, Some(&mut control), flags)?;
    let local = received.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(IpAddr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(IpAddr::from(info.ipi6_addr.s6_addr)),
        _ => None,
    });
    let client = received.address.as_ref().and_then(address_of).ok_or(ErrorKind::InvalidData)?;
    Ok((received.bytes, SessionKey { client, local }))
}

fn address_of(address: &SockaddrStorage) -> Option<SocketAddr> {
    let four = address.as_sockaddr_in().map(|four| SocketAddr::from(*four));
    four.or_else(|| address.as_sockaddr_in6().map(|six| SocketAddr::from(*six)))
}
