//! What the two sides say to each other: short messages, each after its length, and sockets beside a byte of their own.

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

/// The form of these messages; another one is refused, and nothing is handed over then.
pub(crate) const FORM: u32 = 1;

/// Bytes of a message at most: a name, an address and some words, many times over.
const MESSAGE_BYTES_MAX: u32 = 16 * 1024;

/// What one side says to the other.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "camelCase")]
pub(crate) enum Message {
    /// The successor: hand over.
    Ask { form: u32, linger_ms: u64 },
    /// The predecessor: no, because.
    Refuse { why: String },
    /// The predecessor: this socket; it follows.
    Socket { name: String, requested: SocketAddr },
    /// The predecessor: how many replicas of this service get requests.
    Serving { service: String, replicas: usize },
    /// The predecessor: that was all.
    Whole,
    /// The successor: I serve.
    Serve,
}

/// Says something.
pub(crate) async fn say(stream: &mut UnixStream, message: &Message) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).ok().filter(|length| *length <= MESSAGE_BYTES_MAX);
    let length =
        length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the message is too long"))?;
    stream.write_u32(length).await?;
    stream.write_all(&body).await
}

/// Hears what is said next; `UnexpectedEof` when nothing more will be.
pub(crate) async fn hear(stream: &mut UnixStream) -> io::Result<Message> {
    let length = stream.read_u32().await?;
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is too long"));
    }
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body).await?;
    Ok(serde_json::from_slice(&body)?)
}

/// Passes a socket.
pub(crate) async fn pass(stream: &UnixStream, socket: &OwnedFd) -> io::Result<()> {
    let passed = [socket.as_fd()];
    stream.async_io(Interest::WRITABLE, || pass_now(stream.as_fd(), &passed)).await
}

fn pass_now(stream: BorrowedFd<'_>, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    assert!(beside.push(SendAncillaryMessage::ScmRights(sockets)), "there is room for one");
    // A socket travels beside a byte, never alone.
    sendmsg(stream, &[IoSlice::new(&[0])], &mut beside, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Takes the socket that is passed next.
pub(crate) async fn take(stream: &UnixStream) -> io::Result<OwnedFd> {
    stream.async_io(Interest::READABLE, || take_now(stream.as_fd())).await
}

fn take_now(stream: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let received = recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut beside, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let passed = beside.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    });
    passed.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no socket came where one was to come"))
}
