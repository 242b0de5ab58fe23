//! A socket to an endpoint that is shared with the HTTP library which uses it, so that its bytes are counted and its state can be queried.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

/// Why no connection was made.
#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    #[error("the endpoint refused the connection")]
    Refused(#[source] io::Error),
    #[error("the system could not create a socket: descriptors, ports or memory have run out")]
    Shortage(#[source] io::Error),
    #[error("the endpoint did not accept the connection in time")]
    TimedOut,
    #[error("the endpoint closed the connection before the HTTP/2 handshake")]
    Preface(#[source] h2::Error),
}

impl ConnectError {
    fn from_open(source: io::Error) -> Self {
        let ours = [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL, Errno::NOBUFS, Errno::NOMEM];
        if ours.iter().any(|errno| source.raw_os_error() == Some(errno.raw_os_error())) {
            Self::Shortage(source)
        } else {
            Self::Refused(source)
        }
    }

    /// Whether the endpoint is the cause, and not a shortage of this process.
    pub(crate) fn is_of_endpoint(&self) -> bool {
        match self {
            Self::Refused(_) | Self::TimedOut | Self::Preface(_) => true,
            Self::Shortage(_) => false,
        }
    }
}

/// A handle on a socket.
#[derive(Debug, Clone)]
pub(crate) struct SharedSocket(Rc<Socket>);

#[derive(Debug)]
struct Socket {
    stream: RefCell<TcpStream>,
    sent: Cell<u64>,
    received: Cell<u64>,
}

impl SharedSocket {
    /// Connects to an endpoint within `timeout`.
    pub(crate) async fn connect(address: SocketAddr, timeout: Duration) -> Result<Self, ConnectError> {
        let stream = match tokio::time::timeout(timeout, open(address)).await {
            Ok(opened) => RefCell::new(opened.map_err(ConnectError::from_open)?),
            Err(_elapsed) => return Err(ConnectError::TimedOut),
        };
        Ok(Self(Rc::new(Socket { stream, sent: Cell::new(0), received: Cell::new(0) })))
    }

    /// Bytes that the system has accepted for sending.
    pub(crate) fn sent(&self) -> u64 {
        self.0.sent.get()
    }

    /// Bytes received from the endpoint.
    pub(crate) fn received(&self) -> u64 {
        self.0.received.get()
    }

    /// Ready when the runtime knows of something to read.
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.stream.borrow().poll_read_ready(cx)
    }

    /// Asks the system whether the endpoint has closed the connection or sent something that was not read yet: one system call.
    pub(crate) fn has_input(&self) -> bool {
        let stream = self.0.stream.borrow();
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let peeked = recv(&*stream, &mut [0u8; 1], flags);
        !matches!(peeked, Err(Errno::AGAIN))
    }

    /// Asks the system whether the endpoint has closed its side of the connection: one system call.
    pub(crate) fn is_closed_by_peer(&self) -> bool {
        let stream = self.0.stream.borrow();
        let mut polled = [PollFd::new(&*stream, PollFlags::RDHUP)];
        // Only a close by the endpoint or an error makes it ready. A failed call says nothing about the endpoint.
        matches!(poll(&mut polled, Some(&Timespec::default())), Ok(ready) if ready > 0)
    }

    /// The socket alone; `None` while there is another handle on it.
    pub(crate) fn into_stream(self) -> Option<TcpStream> {
        Some(Rc::into_inner(self.0)?.stream.into_inner())
    }

    fn count_sent(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(n)) = &written {
            self.0.sent.set(self.0.sent.get() + *n as u64);
        }
        written
    }
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

impl AsyncRead for SharedSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut *self.0.stream.borrow_mut()).poll_read(cx, buf);
        self.0.received.set(self.0.received.get() + (buf.filled().len() - before) as u64);
        read
    }
}

impl AsyncWrite for SharedSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.count_sent(Pin::new(&mut *self.0.stream.borrow_mut()).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.count_sent(Pin::new(&mut *self.0.stream.borrow_mut()).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_close_is_seen_before_unread_data_is_read() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket =
            SharedSocket::connect(listener.local_addr().unwrap(), Duration::from_secs(30)).await.unwrap();
        let (mut stream, _peer) = listener.accept().unwrap();
        assert!(!socket.is_closed_by_peer());
        std::io::Write::write_all(&mut stream, b"data").unwrap();
        assert!(socket.has_input() && !socket.is_closed_by_peer());
        drop(stream);
        // Without an await, so that the runtime cannot look at the socket. On loopback the close is visible at once.
        assert!(socket.is_closed_by_peer());
    }
}
