//! The end of a connection whose client still sends something that nobody reads.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use crate::client::Client;
use crate::socket::{Stream, close};
use crate::timer::Stage;

/// How long nothing may come, how long it may take altogether, and how much may come. The times are those of nginx (`lingering_timeout` and
/// `lingering_time`).
const QUIET_MAX: Duration = Duration::from_secs(5);
const TIME_MAX: Duration = Duration::from_secs(30);
const BYTES_MAX: usize = 64 << 20;

/// Bytes that are read at once.
const PIECE: usize = 16 * 1024;

/// Reads and discards what a client sends after the last answer, which was sent and followed by the end of the stream, until the client has
/// closed the connection, or for long enough to receive the answer.
///
/// If the connection were closed at once, the system would answer further bytes with a reset, which makes the client's system discard what
/// the client has not read yet (RFC 9112, section 9.6).
pub(crate) async fn linger(client: &Client, mut stream: Stream) {
    let timer = &client.timer;
    let end = Instant::now() + TIME_MAX;
    let mut bytes = 0;
    timer.arm(Stage::Stream, QUIET_MAX);
    poll_fn(|cx| {
        timer.register(cx);
        while bytes <= BYTES_MAX && !timer.is_expired() && !client.is_closing() {
            let mut space = [MaybeUninit::uninit(); PIECE];
            let mut piece = ReadBuf::uninit(&mut space);
            let read = ready!(Pin::new(&mut stream).poll_read(cx, &mut piece));
            let is_over = client.worker.timers.now() >= end;
            if read.is_err() || piece.filled().is_empty() || is_over {
                break;
            }
            bytes += piece.filled().len();
            timer.arm(Stage::Stream, QUIET_MAX);
        }
        Poll::Ready(())
    })
    .await;
    close(stream);
}
