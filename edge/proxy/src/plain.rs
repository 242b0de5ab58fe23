//! HTTP/1.1 as most exchanges need it: a request without a body, and an answer that says how long it is.
//!
//! Nothing is decided here about what is not plain. Whatever is in any way more than that, be it a request or an answer, goes to hyper from its first
//! byte on, which knows what it means and what it must not mean. So what could be read in two ways is never read here.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};

pub(crate) mod client;
pub(crate) mod endpoint;
mod heads;

/// Bytes that are read at a time.
const ROOM: usize = 8 * 1024;

/// Reads what is there behind what was `heard`; answers how many bytes that were, 0 when nothing more will come.
///
/// By way of the stack, and into no more room than they need: a buffer that each connection keeps for its next message is in no cache any more
/// when that comes.
fn poll_hear(
    stream: &mut (impl AsyncRead + Unpin),
    heard: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut room = [MaybeUninit::uninit(); ROOM];
    let mut piece = ReadBuf::uninit(&mut room);
    ready!(Pin::new(stream).poll_read(cx, &mut piece))?;
    let piece = piece.filled();
    if heard.is_empty() {
        *heard = BytesMut::from(piece);
    } else {
        heard.extend_from_slice(piece);
    }
    Poll::Ready(Ok(piece.len()))
}
