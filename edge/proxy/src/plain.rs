//! Plain HTTP/1.1, as most exchanges are: a request without a body, and an answer with a `Content-Length`.
//!
//! Whatever is in any way more than that goes to hyper from its first byte on, which knows what it means and must not mean. So nothing that
//! could be read in two ways is interpreted here.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};

pub(crate) mod client;
pub(crate) mod endpoint;
pub(crate) mod heads;

/// Bytes that are read at a time.
const ROOM: usize = 8 * 1024;

/// Appends what has arrived to `heard`; returns how many bytes it was, 0 at the end of the stream.
///
/// It is read onto the stack and copied into as much room as it needs: a buffer that each connection kept for its next message would have left
/// the cache when that comes.
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
