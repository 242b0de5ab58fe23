use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tokio::io::AsyncReadExt;

use super::*;
use crate::timer::Timers;
use crate::upstream::Upstream;

/// Counts how often a task is woken, and wakes it.
struct CountingWaker {
    wakes: AtomicUsize,
    task: Waker,
}

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
        self.task.wake_by_ref();
    }
}

/// Sends one request; returns its waker.
async fn send_plain(connection: &mut Http1Connection) -> Arc<CountingWaker> {
    let timer = Timers::new().add(DEADLINE);
    let task = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
    let counting = Arc::new(CountingWaker { wakes: AtomicUsize::new(0), task });
    let waker = Waker::from(Arc::clone(&counting));
    let head = plain();
    let mut answer = pin!(connection.send(&head, RequestBody::Empty, &timer));
    let answer = poll_fn(|_| answer.as_mut().poll(&mut Context::from_waker(&waker))).await.unwrap();
    assert!(answer.body.is_end_stream());
    counting
}

const DEADLINE: Duration = Duration::from_secs(30);

/// What hyper is to read, and what is read here.
const LESS_AND_MORE: [&str; 2] = ["", "Connection: keep-alive, x\r\n"];

fn plain() -> Head {
    Head::new(Box::new(Request::get("/").header("host", "a").body(()).unwrap().into_parts().0))
}

/// A request that declares the length of a body that it does not have.
fn not_plain() -> Head {
    let mut head = plain();
    head.headers.insert(CONTENT_LENGTH, 0.into());
    head
}

async fn connect(listener: &std::net::TcpListener) -> Box<Http1Connection> {
    Http1Connection::connect(listener.local_addr().unwrap(), DEADLINE, None).await.unwrap()
}

#[tokio::test]
async fn a_task_that_awaits_an_answer_is_woken_once_for_it_and_never_for_the_next_one() {
    for more in LESS_AND_MORE {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut connection = connect(&listener).await;
        let endpoint = std::thread::spawn(move || {
            let (mut stream, _peer) = listener.accept().unwrap();
            let mut buffered = [0; 1024];
            while stream.read(&mut buffered).unwrap() > 0 {
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{more}\r\n");
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        // The first answer may make it be handed over.
        send_plain(&mut connection).await;
        let (first, second) = (send_plain(&mut connection).await, send_plain(&mut connection).await);
        assert!(connection.is_reusable());
        assert_eq!([first, second].map(|waker| waker.wakes.load(Ordering::Relaxed)), [1, 1], "{more:?}");
        assert_eq!(matches!(connection.codec, Codec::Plain(_)), more.is_empty());
        drop(connection);
        endpoint.join().unwrap();
    }
}

#[tokio::test]
async fn an_answer_to_no_request_is_none_to_the_next_one() {
    for more in LESS_AND_MORE {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut connection = connect(&listener).await;
        let (idle, is_idle) = std::sync::mpsc::channel();
        let endpoint = std::thread::spawn(move || {
            let (mut stream, _peer) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{more}\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
            is_idle.recv().unwrap();
            stream.write_all(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n").unwrap();
        });
        send_plain(&mut connection).await;
        idle.send(()).unwrap();
        poll_fn(|cx| connection.socket.poll_read_ready(cx)).await.unwrap();
        let timer = Timers::new().add(DEADLINE);
        let answered = connection.send(&plain(), RequestBody::Empty, &timer).await;
        let Err(SendError::Closed { phase } | SendError::Broken { phase, .. }) = answered else {
            panic!("{answered:?}")
        };
        assert_eq!(phase, Phase::Unsent, "{more:?}");
        endpoint.join().unwrap();
    }
}

/// How an exchange ended.
#[derive(Debug, PartialEq)]
enum Ended {
    Failed(Phase),
    Defective(ResponseDefect),
    Answered { status: u16, headers: String, body: Result<Vec<u8>, Vec<u8>> },
}

/// What headers mean: the order of different names does not matter, that of one name's values does (RFC 9110, section 5.3).
fn meaning(headers: &HeaderMap) -> String {
    let mut lines: Vec<(&HeaderName, &HeaderValue)> = headers.iter().collect();
    lines.sort_by_key(|(name, _)| name.as_str());
    format!("{lines:?}")
}

/// Sends a request to an endpoint that answers with these pieces, and nothing more.
async fn exchange(head: Head, pieces: Vec<Vec<u8>>) -> Ended {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let endpoint = async move {
        let (mut stream, _peer) = listener.accept().await.unwrap();
        let mut buffered = Vec::new();
        while !buffered.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut buffered).await.unwrap() > 0);
        }
        for piece in pieces {
            // The connection may be closed already.
            let _ = stream.write_all(&piece).await;
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
        }
        let _ = stream.shutdown().await;
        // It gets one request.
        let _ = stream.read_to_end(&mut buffered).await;
        assert_eq!(buffered.windows(4).filter(|four| four == b"\r\n\r\n").count(), 1);
    };
    let client = async move {
        let mut connection = Http1Connection::connect(address, DEADLINE, None).await.unwrap();
        let timer = Timers::new().add(DEADLINE);
        match connection.send(&head, RequestBody::Empty, &timer).await {
            Ok(mut answer) => {
                // What is read here leaves out what is not for the client.
                answer.prepare();
                let (status, headers) = (answer.status.as_u16(), meaning(answer.headers()));
                let body = read(answer.body, &mut Upstream::Http1(connection)).await;
                Ended::Answered { status, headers, body }
            }
            Err(SendError::Closed { phase } | SendError::Broken { phase, .. }) => {
                drop(connection);
                Ended::Failed(phase)
            }
            Err(SendError::Defective(defect)) => {
                drop(connection);
                Ended::Defective(defect)
            }
            Err(error) => panic!("{error}"),
        }
    };
    tokio::join!(client, endpoint).0
}

/// A complete body, or the part of it that was received.
async fn read(mut body: UpstreamBody, upstream: &mut Upstream) -> Result<Vec<u8>, Vec<u8>> {
    let mut read = Vec::new();
    loop {
        let frame = poll_fn(|cx| {
            upstream.drive(cx);
            body.poll_frame(Some(upstream), cx)
        });
        match frame.await {
            Some(Ok(frame)) => read.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
            Some(Err(_)) => return Err(read),
            None => return Ok(read),
        }
    }
}

/// Lines from which heads of answers are composed; most of them are invalid.
const LINES: [&str; 23] = [
    "Content-Length: 5",
    "content-length: 5",
    "Content-Length: 0",
    "Content-Length: 6",
    "Content-Length: 5, 5",
    "Content-Length: +5",
    "Content-Length: 99999999999999999999",
    "Content-Length: 18446744073709551615",
    "Content-Length:",
    "Content-Length : 5",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip",
    "Transfer-Encoding: gzip, chunked",
    "Connection: close",
    "Connection: Keep-Alive",
    "Connection: upgrade",
    "Upgrade: x",
    "X: a",
    "X: \u{e4}",
    "X: a\r\n b",
    "X: a\rb",
    "X y: z",
    "Set-Cookie: a=b",
];

const FIRSTS: [&str; 12] = [
    "HTTP/1.1 200 OK",
    "HTTP/1.1 200 OK",
    "HTTP/1.1 404 Not Found",
    "HTTP/1.1 404 Gone away",
    "HTTP/1.1 200",
    "HTTP/1.0 200 OK",
    "HTTP/1.1 204 No Content",
    "HTTP/1.1 304 Not Modified",
    "HTTP/1.1 101 Switching Protocols",
    "HTTP/1.1 700 Odd",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK",
    "HTTP/2 200 OK",
];

const BODIES: [&str; 6] =
    ["", "hello", "hell", "hello, and more", "5\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\nx: y\r\n\r\n"];

fn answers() -> impl Strategy<Value = Vec<u8>> {
    let lines = proptest::collection::vec(select(&LINES[..]), 0..4);
    let end = select(&["\r\n", "\r\n", "\r\n", "\n", "\r"][..]);
    let whole =
        (select(&FIRSTS[..]), lines, end, select(&BODIES[..])).prop_map(|(first, lines, end, body)| {
            let head: String =
                std::iter::once(first).chain(lines).map(|line| format!("{line}{end}")).collect();
            format!("{head}{end}{body}").into_bytes()
        });
    (whole, proptest::option::weighted(0.2, (any::<Index>(), any::<u8>()))).prop_map(
        |(mut answer, corruption)| {
            if let Some((at, byte)) = corruption {
                let at = at.index(answer.len());
                answer[at] = byte;
            }
            answer
        },
    )
}

#[tokio::test]
async fn an_omitted_line_does_not_change_the_others() {
    let answer =
        b"HTTP/1.1 200 OK\r\nConnection: Keep-Alive\r\nX: a\r\nContent-Length: 5\r\n\r\nhello".to_vec();
    let here = exchange(plain(), vec![answer.clone()]).await;
    assert_eq!(here, exchange(not_plain(), vec![answer]).await);
    assert!(matches!(here, Ended::Answered { body: Ok(_), .. }), "{here:?}");
}

proptest! {
    #[test]
    fn what_is_read_here_means_what_hyper_would_have_read(
        answer in answers(),
        cuts in proptest::collection::vec(any::<Index>(), 0..3),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|at| at.index(answer.len() + 1)).collect();
        cuts.sort_unstable();
        let ends = cuts.iter().copied().chain([answer.len()]);
        let begins = std::iter::once(0).chain(cuts.iter().copied());
        let pieces: Vec<Vec<u8>> = begins.zip(ends).map(|(begin, end)| answer[begin..end].to_vec()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (here, there) = runtime.block_on(async {
            let here = exchange(plain(), pieces.clone()).await;
            (here, exchange(not_plain(), pieces).await)
        });
        prop_assert_eq!(here, there);
    }
}

/// What an endpoint receives of a request. With `by_hyper` hyper sends it, even if it is plain.
async fn buffered(target: &str, lines: &[(&'static str, &str)], by_hyper: bool) -> Vec<u8> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut connection = connect(&listener).await;
    let endpoint = std::thread::spawn(move || {
        let (mut stream, _peer) = listener.accept().unwrap();
        let mut buffered = vec![0; 4096];
        let begun = stream.read(&mut buffered).unwrap();
        buffered.truncate(begun);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        stream.read_to_end(&mut buffered).unwrap();
        buffered
    });
    let mut head = plain();
    head.uri = target.parse::<hyper::Uri>().unwrap().path_and_query().unwrap().clone().into();
    for &(name, value) in lines {
        head.headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    if by_hyper {
        connection.plain_answers_missing = PLAIN_ANSWERS_MIN;
        connection.hand_to_hyper(false).await.unwrap();
    }
    let timer = Timers::new().add(DEADLINE);
    connection.send(&head, RequestBody::Empty, &timer).await.unwrap();
    drop(connection);
    endpoint.join().unwrap()
}

#[tokio::test]
async fn a_request_is_written_as_hyper_writes_it() {
    for target in ["/", "/a?b=c", "http://a", "http://a?b", "*", "/%20;x"] {
        let lines =
            [("accept", "*/*"), ("cookie", "a=b; c"), ("x-two", "1"), ("x-two", "\u{e4}"), ("x-empty", "")];
        for lines in [&lines[..0], &lines[..]] {
            let (here, there) = (buffered(target, lines, false).await, buffered(target, lines, true).await);
            assert_eq!(here, there, "{target}");
            assert!(here.starts_with(b"GET /") || here.starts_with(b"GET * "), "{}", here.escape_ascii());
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_sends_unsolicited_data_gets_no_more_requests() {
    for more in LESS_AND_MORE {
        for surplus in ["", "more"] {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let mut connection = connect(&listener).await;
            let (mut stream, _peer) = listener.accept().unwrap();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{more}\r\nok{surplus}");
            stream.write_all(answer.as_bytes()).unwrap();
            let timer = Timers::new().add(DEADLINE);
            let body = connection.send(&plain(), RequestBody::Empty, &timer).await.unwrap().body;
            let mut upstream = Upstream::Http1(connection);
            assert_eq!(read(body, &mut upstream).await, Ok(b"ok".to_vec()));
            upstream.drive(&mut noop_context());
            let Upstream::Http1(connection) = upstream else { unreachable!() };
            assert_eq!(connection.is_reusable(), surplus.is_empty(), "{more:?}");
        }
    }
}

/// Answers each request with its number, and says what `more` has for it.
fn counting(
    listener: std::net::TcpListener,
    more: impl Fn(usize) -> &'static str + Send + 'static,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let (mut stream, _peer) = listener.accept().unwrap();
        let mut buffered = [0; 1024];
        let mut number = 0;
        while stream.read(&mut buffered).unwrap() > 0 {
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n{}\r\n{number:3}", more(number));
            stream.write_all(answer.as_bytes()).unwrap();
            number += 1;
        }
    })
}

/// Asks for the next number; says whether the connection is a plain one after that.
async fn count(
    mut connection: Box<Http1Connection>,
    head: &Head,
    number: usize,
) -> (Box<Http1Connection>, bool) {
    let timer = Timers::new().add(DEADLINE);
    let body = connection.send(head, RequestBody::Empty, &timer).await.unwrap().body;
    let mut upstream = Upstream::Http1(connection);
    assert_eq!(read(body, &mut upstream).await, Ok(format!("{number:3}").into_bytes()));
    upstream.drive(&mut noop_context());
    let Upstream::Http1(connection) = upstream else { unreachable!() };
    assert!(connection.is_reusable());
    let is_plain = matches!(connection.codec, Codec::Plain(_));
    (connection, is_plain)
}

#[tokio::test]
async fn a_request_that_is_not_plain_does_not_affect_the_next_one() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut connection = connect(&listener).await;
    let endpoint = counting(listener, |_| "");
    for number in 0..20 {
        let is_less = number % 3 == 0;
        let head = if is_less { plain() } else { not_plain() };
        let is_plain;
        (connection, is_plain) = count(connection, &head, number).await;
        assert_eq!(is_plain, is_less, "{number}");
    }
    drop(connection);
    endpoint.join().unwrap();
}

#[tokio::test]
async fn after_an_answer_that_is_not_plain_hyper_reads_several() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut connection = connect(&listener).await;
    let endpoint = counting(listener, |number| if number == 2 { LESS_AND_MORE[1] } else { "" });
    let mut ways = Vec::new();
    for number in 0..12 {
        let is_plain;
        (connection, is_plain) = count(connection, &plain(), number).await;
        ways.push(is_plain);
    }
    drop(connection);
    endpoint.join().unwrap();
    let by_hyper = (0..12).filter(|&number| !ways[number]).collect::<Vec<_>>();
    assert_eq!(by_hyper, (2..=9).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_close_is_seen_before_the_runtime_knows_of_it() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let connection = Http1Connection::connect(listener.local_addr().unwrap(), Duration::from_secs(30), None)
        .await
        .unwrap();
    let (stream, _peer) = listener.accept().unwrap();
    assert!(!connection.has_unexpected_input());
    drop(stream);
    // No await from here: the runtime has no turn to look at the socket. On loopback the close is there at once.
    assert!(connection.has_unexpected_input());
}
