//! The protocol between both processes: short messages with a length prefix, and sockets as ancillary data, each with one byte of its own.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;

/// The version of these messages; a request of another version is refused.
pub(crate) const FORM: u32 = 1;

/// The most bytes of a message: many times a name, an address and a short sentence.
const MESSAGE_BYTES_MAX: u32 = 16 * 1024;

/// A message from one side to the other.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "camelCase")]
pub(crate) enum Message {
    /// From the successor: asks for the handover.
    Ask { form: u32, linger_ms: u64 },
    /// From the predecessor: refuses, with the reason.
    Refuse { why: String },
    /// From the predecessor: announces a socket, which follows.
    Socket { name: String, requested: SocketAddr },
    /// From the predecessor: how many replicas of this service get requests.
    Serving { service: String, replicas: usize },
    /// From the predecessor: the handover is complete.
    Whole,
    /// From the successor: it serves.
    Serve,
}

/// Sends a message.
pub(crate) async fn send(stream: &mut UnixStream, message: &Message) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).ok().filter(|length| *length <= MESSAGE_BYTES_MAX);
    let length =
        length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the message is too long"))?;
    stream.write_u32(length).await?;
    stream.write_all(&body).await
}

/// Receives the next message; `UnexpectedEof` when there is none.
pub(crate) async fn receive(stream: &mut UnixStream) -> io::Result<Message> {
    let length = stream.read_u32().await?;
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is too long"));
    }
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body).await?;
    Ok(serde_json::from_slice(&body)?)
}

/// Sends a socket.
pub(crate) async fn send_socket(stream: &UnixStream, socket: &OwnedFd) -> io::Result<()> {
    let passed = [socket.as_fd()];
    stream.async_io(Interest::WRITABLE, || send_now(stream.as_fd(), &passed)).await
}

fn send_now(stream: BorrowedFd<'_>, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(sockets)), "the buffer has space for one socket");
    // Ancillary data needs at least one byte of data.
    sendmsg(stream, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives the next socket.
pub(crate) async fn receive_socket(stream: &UnixStream) -> io::Result<OwnedFd> {
    stream.async_io(Interest::READABLE, || receive_now(stream.as_fd())).await
}

fn receive_now(stream: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let received = recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let passed = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    });
    passed.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "expected a socket as ancillary data"))
}
