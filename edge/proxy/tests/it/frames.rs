//! HTTP/2 frame by frame: what breaks its rules ends the stream or the connection as RFC 9113 says, and no flood fills the memory.
//!
//! The cases are those of h2spec that concern a server, by the sections that they come from. Where h2 answers with a more general error
//! than the section names, both are right: RFC 9113, section 5.4.1, lets an endpoint take an error of a stream for one of the connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::kit::*;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const FRAME_SIZE_ERROR: u32 = 6;
const COMPRESSION_ERROR: u32 = 9;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Frame {
    Frame { kind, flags, stream, payload: payload.to_vec() }
}

impl Frame {
    fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], self.kind, self.flags];
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// Of a frame that resets a stream or ends the connection.
    pub(crate) fn error_code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// Headers, each literally and without an index. Source: RFC 7541, section 6.2.2.
fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            // Long ones as an integer of a prefix of 7 bits. Source: RFC 7541, section 5.1.
            let mut rest = text.len();
            if rest < 127 {
                block.push(rest as u8);
            } else {
                block.push(127);
                rest -= 127;
                while rest >= 128 {
                    block.push((rest % 128 + 128) as u8);
                    rest /= 128;
                }
                block.push(rest as u8);
            }
            block.extend(text.as_bytes());
        }
    }
    block
}

const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];

const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")];

/// A request without a body, with these headers behind the usual ones.
fn get(stream: u32, more: &[(&str, &str)]) -> Frame {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&[&GET[..], more].concat()))
}

/// A client that sends exactly the given frames.
pub(crate) struct FrameStream(pub(crate) TcpStream);

impl FrameStream {
    async fn connect(address: SocketAddr) -> Self {
        let mut raw = Self(TcpStream::connect(address).await.unwrap());
        raw.0.set_nodelay(true).unwrap();
        raw.0.write_all(PREFACE).await.unwrap();
        raw.send(&[frame(SETTINGS, 0, 0, &[])]).await;
        raw
    }

    /// The other side may have closed the connection already.
    pub(crate) async fn send(&mut self, frames: &[Frame]) {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        let _ = self.0.write_all(&bytes).await;
    }

    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        within(self.0.read_exact(&mut head)).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        within(self.0.read_exact(&mut payload)).await.ok()?;
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The next frame of this kind.
    pub(crate) async fn find(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            // The content of SETTINGS and WINDOW_UPDATE frames does not matter to these tests.
            if frame.kind == kind && (kind != PING || frame.flags == ACK) {
                return Some(frame);
            }
        }
    }

    /// Whether a further request is answered.
    async fn still_answers(&mut self, stream: u32) -> bool {
        self.send(&[get(stream, &[])]).await;
        loop {
            match self.next().await {
                Some(frame) if frame.kind == HEADERS && frame.stream == stream => return true,
                Some(frame) if frame.kind != GOAWAY => {}
                Some(_) | None => return false,
            }
        }
    }
}

/// An endpoint that counts its requests.
async fn counting() -> (Backend, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let backend = Backend::http(move |request: Request<hyper::body::Incoming>| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            let _ = request.into_body().collect().await;
            Response::new(Full::new("yes".into()))
        }
    })
    .await;
    (backend, count)
}

#[tokio::test]
async fn unknown_and_harmless_frames_are_ignored() {
    let (backend, _) = counting().await;
    let fixture = Fixture::new(&[backend.address]);
    let mut raw = FrameStream::connect(fixture.address).await;
    // 5.5: frames of unknown kinds; 6.5.2: settings of unknown names; 4.1: flags of unknown meaning; 5.3.1: priorities.
    let unknown = [
        frame(0x20, 7, 0, b"what"),
        frame(0x21, 0, 1, b"is"),
        frame(SETTINGS, 0, 0, &[0xff, 0xff, 0, 0, 0, 9]),
    ];
    raw.send(&unknown).await;
    raw.send(&[frame(2, 0, 1, &[0, 0, 0, 0, 16]), frame(PING, 0x8e, 0, b"12345678")]).await;
    assert_eq!(raw.find(PING).await.unwrap().payload, b"12345678");
    assert!(raw.still_answers(3).await);
}

#[tokio::test]
async fn repeated_lengths_and_lengths_in_trailers_are_not_passed_on() {
    let answer = |request: Request<hyper::body::Incoming>| async move {
        let count = |headers: &hyper::HeaderMap, name: &str| headers.get_all(name).iter().count();
        let lengths = count(request.headers(), "content-length");
        let trailers = request.into_body().collect().await.unwrap().trailers().cloned().unwrap_or_default();
        let in_trailers = [count(&trailers, "content-length"), count(&trailers, "x-sum")];
        Response::new(Full::new(format!("{lengths} {in_trailers:?}").into()))
    };
    let backend = Backend::http2(100, answer).await;
    let fixture = Fixture::with(&[backend.address], |_config, route| {
        route.protocol = proxy::Protocol::Http2;
    });
    let mut raw = FrameStream::connect(fixture.address).await;
    let twice = [("content-length", "3"), ("content-length", "3")];
    let head = frame(HEADERS, END_HEADERS, 1, &block(&[&POST[..], &twice].concat()));
    raw.send(&[head, frame(DATA, END_STREAM, 1, b"abc")]).await;
    assert_eq!(raw.find(DATA).await.unwrap().payload, b"1 [0, 0]");
    let trailers = block(&[("content-length", "4"), ("x-sum", "1")]);
    let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 3, &trailers);
    let head = frame(HEADERS, END_HEADERS, 3, &block(&POST));
    raw.send(&[head, frame(DATA, 0, 3, b"abc"), trailers]).await;
    assert_eq!(raw.find(DATA).await.unwrap().payload, b"0 [0, 1]");
    let different = [("content-length", "3"), ("content-length", "4")];
    let head = frame(HEADERS, END_HEADERS, 5, &block(&[&POST[..], &different].concat()));
    raw.send(&[head, frame(DATA, END_STREAM, 5, b"abc")]).await;
    let reset = raw.find(RST_STREAM).await.unwrap();
    assert_eq!((reset.stream, reset.error_code()), (5, PROTOCOL_ERROR));
    let traffic = fixture.traffic();
    assert_eq!((traffic.endpoints[0].counts.requests, traffic.endpoints[0].counts.failures), (2, 0));
}

/// What is sent, and the error that it ends the connection with.
type Case = (&'static str, Vec<Frame>, u32);

/// Frames that are wrong by themselves.
fn broken_frames() -> Vec<Case> {
    let headers = block(&GET);
    vec![
        ("4.2: a frame that is too large", vec![frame(DATA, 0, 1, &[0; 16_385])], FRAME_SIZE_ERROR),
        (
            "5.1: a reset of a stream that was not begun",
            vec![frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])],
            PROTOCOL_ERROR,
        ),
        (
            "5.1: a window of a stream that was not begun",
            vec![frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 9])],
            PROTOCOL_ERROR,
        ),
        ("6.1: data of the connection", vec![frame(DATA, 0, 0, b"x")], PROTOCOL_ERROR),
        ("6.2: headers of the connection", vec![frame(HEADERS, 5, 0, &headers)], PROTOCOL_ERROR),
        ("6.4: a reset of the connection", vec![frame(RST_STREAM, 0, 0, &[0; 4])], PROTOCOL_ERROR),
        ("6.4: a reset of wrong size", vec![get(1, &[]), frame(RST_STREAM, 0, 1, &[0; 3])], FRAME_SIZE_ERROR),
        ("6.5: settings of a stream", vec![frame(SETTINGS, 0, 1, &[])], PROTOCOL_ERROR),
        ("6.5: settings of wrong size", vec![frame(SETTINGS, 0, 0, &[0; 5])], FRAME_SIZE_ERROR),
        ("6.5: an acknowledgement with settings", vec![frame(SETTINGS, ACK, 0, &[0; 6])], FRAME_SIZE_ERROR),
        ("6.7: a ping of a stream", vec![frame(PING, 0, 1, &[0; 8])], PROTOCOL_ERROR),
        ("6.7: a ping of wrong size", vec![frame(PING, 0, 0, &[0; 7])], FRAME_SIZE_ERROR),
        ("6.8: a goodbye of a stream", vec![frame(GOAWAY, 0, 1, &[0; 8])], PROTOCOL_ERROR),
        ("6.9: a window update of wrong size", vec![frame(WINDOW_UPDATE, 0, 0, &[0; 3])], FRAME_SIZE_ERROR),
    ]
}

/// Frames that are wrong where they come.
fn broken_order() -> Vec<Case> {
    let headers = block(&GET);
    vec![
        ("4.3: headers that are no HPACK", vec![frame(HEADERS, 5, 1, &[0xff; 5])], COMPRESSION_ERROR),
        (
            "4.3: a header table that grows beyond the announced size",
            vec![frame(HEADERS, 5, 1, &[0x3f, 0xe2, 0x1f])],
            COMPRESSION_ERROR,
        ),
        ("5.1: data on a stream that was not begun", vec![frame(DATA, END_STREAM, 1, b"x")], PROTOCOL_ERROR),
        ("5.1.1: a stream of even number", vec![get(2, &[])], PROTOCOL_ERROR),
        ("5.1.1: a stream of lower number", vec![get(5, &[]), get(3, &[])], PROTOCOL_ERROR),
        ("6.1: more padding than data", vec![get(1, &[]), frame(DATA, 8, 3, &[9, 1])], PROTOCOL_ERROR),
        (
            "6.2: other frames between headers",
            vec![frame(HEADERS, END_STREAM, 1, &headers[..9]), frame(PING, 0, 0, &[0; 8])],
            PROTOCOL_ERROR,
        ),
        (
            "6.5.2: a window that is too large",
            vec![frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0])],
            FLOW_CONTROL_ERROR,
        ),
        (
            "6.5.2: frames that may be too small",
            vec![frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 9])],
            PROTOCOL_ERROR,
        ),
        (
            "6.6: a promise of a client",
            vec![frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])],
            PROTOCOL_ERROR,
        ),
        ("6.9: a window that grows by nothing", vec![frame(WINDOW_UPDATE, 0, 0, &[0; 4])], PROTOCOL_ERROR),
        (
            "6.9.1: a window that overflows",
            vec![frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]); 2],
            FLOW_CONTROL_ERROR,
        ),
        (
            "6.10: a continuation of nothing",
            vec![frame(CONTINUATION, END_HEADERS, 1, &headers)],
            PROTOCOL_ERROR,
        ),
        (
            "6.10: a continuation behind the end",
            vec![get(1, &[]), frame(CONTINUATION, END_HEADERS, 1, &headers)],
            PROTOCOL_ERROR,
        ),
    ]
}

#[tokio::test]
async fn a_protocol_error_ends_the_connection() {
    let (backend, count) = counting().await;
    let fixture = Fixture::new(&[backend.address]);
    for (name, frames, code) in [broken_frames(), broken_order()].concat() {
        let mut raw = FrameStream::connect(fixture.address).await;
        raw.send(&frames).await;
        if let Some(last) = raw.find(GOAWAY).await {
            // h2 sometimes takes the more general code, as section 5.4.1 allows.
            assert!([code, PROTOCOL_ERROR].contains(&last.error_code()), "{name}: {last:?}");
        }
        assert!(raw.find(GOAWAY).await.is_none(), "{name}: the connection is closed");
    }
    assert!(count.load(Ordering::Relaxed) <= 8, "only what was right before was passed on");
    assert!(FrameStream::connect(fixture.address).await.still_answers(1).await);
}

#[tokio::test]
async fn a_malformed_request_is_refused_and_reaches_no_endpoint() {
    let (backend, count) = counting().await;
    let fixture = Fixture::new(&[backend.address]);
    let request =
        |headers: &[(&str, &str)], flags: u8| frame(HEADERS, END_HEADERS | flags, 1, &block(headers));
    let with = |more: (&'static str, &'static str)| vec![get(1, &[more])];
    let without = |name: &str| {
        let headers: Vec<_> = GET.into_iter().filter(|header| header.0 != name).collect();
        vec![request(&headers, END_STREAM)]
    };
    let post = |length: &str, body: &[u8]| {
        let headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "a"),
            ("content-length", length),
        ];
        vec![request(&headers, 0), frame(DATA, END_STREAM, 1, body)]
    };
    let cases: Vec<(&str, Vec<Frame>)> = vec![
        ("8.2: a name in capitals", with(("X-Name", "x"))),
        ("8.2.1: a line within a value", with(("x", "a\r\nb: c"))),
        ("8.2.1: a zero byte within a value", with(("x", "a\0b"))),
        ("8.2.2: a header of the connection", with(("connection", "close"))),
        ("8.2.2: an encoding of the transfer", with(("transfer-encoding", "chunked"))),
        ("8.2.2: other encodings than trailers", with(("te", "gzip"))),
        ("8.3: an unknown pseudo header", with((":what", "x"))),
        ("8.3: a pseudo header of responses", with((":status", "200"))),
        (
            "8.3: a pseudo header behind others",
            vec![request(&[&[("x", "y")], &GET[..]].concat(), END_STREAM)],
        ),
        ("8.3.1: no method", without(":method")),
        ("8.3.1: no scheme", without(":scheme")),
        ("8.3.1: no path", without(":path")),
        ("8.3.1: two paths", with((":path", "/other"))),
        ("8.1.1: less than declared", post("5", b"1234")),
        ("8.1.1: more than declared", post("5", b"12345GET / HTTP/1.1\r\n")),
        (
            "8.1.1: nothing of the declared length",
            vec![request(&[&GET[..], &[("content-length", "5")]].concat(), END_STREAM)],
        ),
    ];
    for (name, frames) in cases {
        let mut raw = FrameStream::connect(fixture.address).await;
        raw.send(&frames).await;
        let ended = loop {
            match raw.next().await.unwrap_or_else(|| panic!("{name}: the connection ends without an error")) {
                frame if frame.kind == GOAWAY => break frame,
                frame if frame.stream == 1 && matches!(frame.kind, RST_STREAM | HEADERS) => break frame,
                _ => {}
            }
        };
        // The stream is reset, or the request is answered 400, a status in HPACK's static table (RFC 7541, A), or the connection ends.
        let is_refused = match ended.kind {
            RST_STREAM | GOAWAY => ended.error_code() == PROTOCOL_ERROR,
            _ => ended.payload[0] == 0x80 | 12,
        };
        assert!(is_refused, "{name}: {ended:?}");
        let is_over = ended.kind == GOAWAY;
        assert_eq!(raw.still_answers(3).await, !is_over, "{name}");
    }
    // One for each connection that still worked afterwards; an endpoint may have received the beginning of an incomplete body.
    assert!(count.load(Ordering::Relaxed) <= 16 + 2, "{count:?}");
}

/// RFC 9113, section 8.1, calls such a request malformed. h2 leaves out the pseudo header and says nothing of it, so that it cannot be refused;
/// what counts is that it changes nothing.
#[tokio::test]
async fn a_pseudo_header_in_trailers_reaches_no_endpoint() {
    let answer = |request: Request<hyper::body::Incoming>| async move {
        let (path, body) = (request.uri().path().to_owned(), request.into_body().collect().await.unwrap());
        let names = body.trailers().into_iter().flat_map(hyper::HeaderMap::keys);
        let names: Vec<_> = names.map(|name| name.as_str().to_owned()).collect();
        Response::new(Full::new(format!("{path} {names:?}").into()))
    };
    let backend = Backend::http2(100, answer).await;
    let fixture = Fixture::with(&[backend.address], |_config, route| {
        route.protocol = proxy::Protocol::Http2;
    });
    let mut raw = FrameStream::connect(fixture.address).await;
    let trailers = block(&[(":path", "/other"), ("x-sum", "1")]);
    raw.send(&[
        frame(HEADERS, END_HEADERS, 1, &block(&POST)),
        frame(DATA, 0, 1, b"abc"),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers),
    ])
    .await;
    assert_eq!(raw.find(DATA).await.unwrap().payload, br#"/ ["x-sum"]"#);
}

#[tokio::test]
async fn only_the_preface_begins_http_2() {
    let fixture = Fixture::new(&[]);
    let received = send_raw(fixture.address, "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n").await;
    assert!(received.is_empty() || received.starts_with("HTTP/1.1 4"), "{received}");
    // Slowly, but right.
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    for byte in PREFACE {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut raw = FrameStream(stream);
    raw.send(&[frame(SETTINGS, 0, 0, &[]), frame(PING, 0, 0, &[7; 8])]).await;
    assert_eq!(raw.find(PING).await.unwrap().payload, [7; 8]);
}

#[tokio::test]
async fn endless_headers_are_rejected() {
    let fixture = Fixture::new(&[]);
    for name_bytes in [10, 10_000] {
        let mut raw = FrameStream::connect(fixture.address).await;
        raw.send(&[frame(HEADERS, END_STREAM, 1, &block(&GET))]).await;
        let more = frame(CONTINUATION, 0, 1, &block(&[("x", &"y".repeat(name_bytes))]));
        // Far more than any request has; of 10,000 bytes each they would be a gigabyte.
        let mut writes = 0;
        while writes < 100_000 && raw.0.write_all(&more.bytes()).await.is_ok() {
            writes += 1;
        }
        assert!(writes < 100_000, "the connection ends");
    }
}

/// Kilobytes of memory that this process has.
fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn a_rapid_reset_flood_is_stopped_with_bounded_memory() {
    let (backend, count) = counting().await;
    let fixture = Arc::new(Fixture::new(&[backend.address]));
    let before = resident_kib();
    let mut floods = JoinSet::new();
    for _ in 0..20 {
        let fixture = Arc::clone(&fixture);
        floods.spawn(async move {
            let mut raw = FrameStream::connect(fixture.address).await;
            let mut begun = 0;
            // Each takes a request back in the very packet that it comes in.
            for stream in (1..200_000).step_by(2) {
                let pair = [get(stream, &[]), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])];
                let bytes: Vec<u8> = pair.iter().flat_map(Frame::bytes).collect();
                if raw.0.write_all(&bytes).await.is_err() {
                    break;
                }
                begun += 1;
            }
            begun
        });
    }
    while let Some(begun) = within(floods.join_next()).await {
        assert!(begun.unwrap() < 100_000, "the connection ends");
    }
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB more");
    assert!(count.load(Ordering::Relaxed) <= 20 * 1100, "{count:?}");
    assert!(FrameStream::connect(fixture.address).await.still_answers(1).await, "others are served");
}

#[tokio::test]
async fn slow_resets_end_the_connection_too() {
    let backend = Backend::raw(|mut stream| async move {
        // Never answers.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let fixture = Fixture::new(&[backend.address]);
    let mut raw = FrameStream::connect(fixture.address).await;
    let mut told_to_go = false;
    for stream in (1..).step_by(2) {
        raw.send(&[get(stream, &[])]).await;
        // Waits until it was processed, so that it is not a burst.
        raw.send(&[frame(PING, 0, 0, &[0; 8])]).await;
        match raw.next_of(&[PING, GOAWAY]).await {
            Some(frame) if frame.kind == GOAWAY => {
                told_to_go = true;
                break;
            }
            Some(_) => raw.send(&[frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])]).await,
            None => break,
        }
        assert!(stream < 2 * 1000, "it goes on");
    }
    assert!(told_to_go);
    until(|| fixture.table.in_flight(SERVICE, id(0)) <= 1).await;
}

impl FrameStream {
    async fn next_of(&mut self, kinds: &[u8]) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if kinds.contains(&frame.kind) && (frame.kind != PING || frame.flags == ACK) {
                return Some(frame);
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected_and_buffers_little() {
    let backend =
        Backend::http(|_request: Request<_>| async { Response::new(Full::new(vec![b'x'; 1 << 20].into())) })
            .await;
    let fixture = Fixture::with(&[backend.address], |_, route| {
        route.timeouts.stream_idle = Duration::from_millis(300);
        route.timeouts.client_idle = Duration::from_millis(300);
    });
    let mut raw = FrameStream::connect(fixture.address).await;
    let requests: Vec<Frame> = (1..200).step_by(2).map(|stream| get(stream, &[])).collect();
    raw.send(&requests).await;
    until(|| fixture.table.in_flight(SERVICE, id(0)) > 0).await;
    until(|| fixture.table.in_flight(SERVICE, id(0)) == 0).await;
    // No window was ever opened beyond the first 65,535 bytes.
    let mut bytes = 0;
    while let Some(frame) = raw.next().await {
        bytes += if frame.kind == DATA { frame.payload.len() } else { 0 };
    }
    assert!(bytes <= 65_535, "{bytes}");
}
