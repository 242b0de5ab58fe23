//! Heads of requests and answers that the proxy parses itself: any bytes are read without a panic, and hyper, which parses all other
//! heads, reads the plain ones as the same. No byte is lost: a head that is not taken stays in the buffer.
//!
//! `cargo xtask fuzz heads`

#![no_main]

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, DATE, HeaderName, PROXY_AUTHENTICATE, TE, UPGRADE};
use hyper::http::{request, response};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::service::service_fn;
use hyper::{Request, Response, client, server};
use libfuzzer_sys::fuzz_target;

#[path = "../../edge/proxy/src/plain/heads.rs"]
mod heads;

use heads::{HEAD_BYTES_MAX, Parsed, PlainAnswer, PlainRequest, has_sized_body, take_answer, take_request};

/// Headers of an answer that are not for the client. Source: RFC 9110, sections 7.6.1 and 11.7.1.
const HOP_BY_HOP: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    TE,
    UPGRADE,
];

fuzz_target!(|bytes: &[u8]| {
    request(bytes);
    answer(bytes);
});

fn request(bytes: &[u8]) {
    let mut buffered = BytesMut::from(bytes);
    let PlainRequest { parts, head, is_last } = match take_request(&mut buffered) {
        Parsed::Plain(taken) => taken,
        Parsed::Partial | Parsed::NotPlain => return assert_eq!(buffered, bytes, "the buffer is unchanged"),
    };
    assert_eq!([&head[..], &buffered[..]].concat(), bytes, "nothing is lost");
    assert!(head.len() <= HEAD_BYTES_MAX);
    let (mut by_hyper, is_kept_alive) = request_by_hyper(&head).expect("hyper reads it, too");
    assert_eq!(is_last, !is_kept_alive, "it is the last request for both");
    // A plain request has no `Connection` header, but `is_last`.
    by_hyper.headers.remove(CONNECTION);
    assert_eq!(
        (parts.method, parts.uri, parts.version, parts.headers),
        (by_hyper.method, by_hyper.uri, by_hyper.version, by_hyper.headers)
    );
}

fn answer(bytes: &[u8]) {
    let mut buffered = BytesMut::from(bytes);
    let PlainAnswer { status, length, raw_head } = match take_answer(&mut buffered) {
        Parsed::Plain(taken) => taken,
        Parsed::Partial | Parsed::NotPlain => return assert_eq!(buffered, bytes, "the buffer is unchanged"),
    };
    assert!(bytes.ends_with(&buffered), "nothing is lost");
    let head = &bytes[..bytes.len() - buffered.len()];
    assert!(head.len() <= HEAD_BYTES_MAX && has_sized_body(status));
    let (mut by_hyper, size) = answer_by_hyper(head).expect("hyper reads it as an answer, too");
    let connection_values = by_hyper.headers.get_all(CONNECTION);
    assert!(connection_values.iter().all(|value| value.as_bytes().eq_ignore_ascii_case(b"keep-alive")));
    HOP_BY_HOP.iter().for_each(|name| drop(by_hyper.headers.remove(name)));
    assert_eq!((status, Some(length), raw_head.to_map()), (by_hyper.status, size, by_hyper.headers.clone()));
    assert_eq!(raw_head.has_date(), by_hyper.headers.contains_key(DATE));
    assert!(by_hyper.extensions.is_empty(), "its reason phrase is the standard one of its status");
    // The written head has the same content, and nothing else.
    let mut written = Vec::new();
    raw_head.write(&mut written);
    written.extend_from_slice(b"\r\n");
    let (again, size) = answer_by_hyper(&written).expect("hyper reads the written head");
    assert_eq!((again.status, size, again.headers), (status, Some(length), by_hyper.headers));
    assert!(
        !written.windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r'),
        "each line ends with CRLF"
    );
}

/// The head of the only request in `head`, as hyper's server reads it, and whether the connection stays open after it.
fn request_by_hyper(head: &[u8]) -> Option<(request::Parts, bool)> {
    let received = RefCell::new(None);
    let service = service_fn(|request: Request<Incoming>| {
        assert!(request.body().is_end_stream(), "it has no body");
        received.replace(Some(request.into_parts().0));
        async { Ok::<_, Infallible>(Response::new(String::new())) }
    });
    let wire = Wire { buffered: Bytes::copy_from_slice(head), is_open: true };
    let mut builder = server::conn::http1::Builder::new();
    let connection = pin!(builder.header_read_timeout(None).serve_connection(wire, service));
    let polled = connection.poll(&mut Context::from_waker(Waker::noop()));
    Some((received.take()?, polled.is_pending()))
}

/// The head of the answer in `head` and the length of its body, as hyper's client reads it.
fn answer_by_hyper(head: &[u8]) -> Option<(response::Parts, Option<u64>)> {
    let cx = &mut Context::from_waker(Waker::noop());
    let wire = Wire { buffered: Bytes::copy_from_slice(head), is_open: false };
    let mut handshake = pin!(client::conn::http1::handshake::<_, String>(wire));
    let Poll::Ready(Ok((mut sender, connection))) = handshake.as_mut().poll(cx) else { return None };
    let mut connection = pin!(connection);
    let mut answered = pin!(sender.send_request(Request::new(String::new())));
    loop {
        let is_over = connection.as_mut().poll(cx).is_ready();
        match answered.as_mut().poll(cx) {
            Poll::Ready(Ok(response)) => {
                let (parts, body) = response.into_parts();
                return Some((parts, body.size_hint().exact()));
            }
            Poll::Ready(Err(_)) => return None,
            Poll::Pending => assert!(!is_over, "the connection has not lost its request"),
        }
    }
}

/// A connection with received bytes and no further ones; `is_open` once the other side has written, because hyper's client must not read an
/// answer before its request.
struct Wire {
    buffered: Bytes,
    is_open: bool,
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_open || self.buffered.is_empty() {
            return Poll::Pending;
        }
        let size = self.buffered.len().min(buf.remaining());
        buf.put_slice(&self.buffered.split_to(size));
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.is_open = true;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
