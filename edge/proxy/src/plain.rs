//! The fast path for plain HTTP/1.1, as most exchanges are: a request without a body, and an answer with a `Content-Length`.
//!
//! Everything else is left to hyper from its first byte on, so that nothing ambiguous is parsed here.

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
const READ_BYTES: usize = 8 * 1024;

/// Appends what was received to `buffered`; returns how many bytes that is, 0 at the end of the stream.
///
/// The bytes are read onto the stack and copied into a buffer of their size: a buffer that each connection kept for its next message would
/// no longer be in the cache by then.
fn poll_fill(
    stream: &mut (impl AsyncRead + Unpin),
    buffered: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut space = [MaybeUninit::uninit(); READ_BYTES];
    let mut piece = ReadBuf::uninit(&mut space);
    ready!(Pin::new(stream).poll_read(cx, &mut piece))?;
    let piece = piece.filled();
    if buffered.is_empty() {
        *buffered = BytesMut::from(piece);
    } else {
        buffered.extend_from_slice(piece);
    }
    Poll::Ready(Ok(piece.len()))
}
