//! The same requests on a plain connection and on one that hyper serves: the answers must be the same.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::ext::ReasonPhrase;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::kit::{Backend, Fixture, read_head, within};

/// What makes a first request plain, and what makes hyper serve its connection from then on.
const LESS_AND_MORE: [&str; 2] = ["", "Connection: keep-alive, x\r\n"];

/// How an endpoint answers.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Words,
    Nothing,
    NoContent,
    NotModified,
    OwnWords,
    Chunks,
    Trailers,
    Much,
    BrokenOff,
}

const ANSWERS: [Answer; 9] = [
    Answer::Words,
    Answer::Nothing,
    Answer::NoContent,
    Answer::NotModified,
    Answer::OwnWords,
    Answer::Chunks,
    Answer::Trailers,
    Answer::Much,
    Answer::BrokenOff,
];

type Body = BoxBody<Bytes, std::io::Error>;

impl Answer {
    fn response(self) -> Response<Body> {
        let whole = |bytes: Vec<u8>| Full::new(Bytes::from(bytes)).map_err(Infallible::into_io).boxed();
        let pieces = |frames: Vec<std::io::Result<Frame<Bytes>>>| {
            BodyExt::boxed(StreamBody::new(stream::iter(frames)))
        };
        let data = |text: &'static str| Ok(Frame::data(Bytes::from_static(text.as_bytes())));
        let builder = Response::builder().header("x-two", "1").header("x-two", "2");
        let (builder, body) = match self {
            Self::Words => (builder.status(404), whole(b"hello".to_vec())),
            Self::Nothing => (builder, Empty::new().map_err(Infallible::into_io).boxed()),
            Self::NoContent => (builder.status(204), whole(Vec::new())),
            Self::NotModified => (builder.status(304).header("etag", "\"a\""), whole(Vec::new())),
            Self::OwnWords => {
                (builder.extension(ReasonPhrase::from_static(b"Well done")), whole(b"hello".to_vec()))
            }
            Self::Chunks => (builder, pieces(vec![data("hel"), data("lo")])),
            Self::Trailers => {
                let mut trailers = HeaderMap::new();
                trailers.insert("x-last", "1".parse().unwrap());
                (
                    builder.header("trailer", "x-last"),
                    pieces(vec![data("hello"), Ok(Frame::trailers(trailers))]),
                )
            }
            Self::Much => (builder, whole(vec![b'x'; 20_000])),
            Self::BrokenOff => {
                let broken = stream::once(async {
                    // What has come is passed on before the rest is known to be missing.
                    // tidy: slow on purpose
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Err(std::io::ErrorKind::ConnectionReset.into())
                });
                let both = StreamBody::new(stream::iter([data("hello")]).chain(broken));
                (builder.header("content-length", "9"), BodyExt::boxed(both))
            }
        };
        builder.body(body).unwrap()
    }
}

trait IntoIo {
    fn into_io(self) -> std::io::Error;
}

impl IntoIo for Infallible {
    fn into_io(self) -> std::io::Error {
        match self {}
    }
}

/// What client and endpoint received.
#[derive(Debug, PartialEq)]
struct Observed {
    /// What the client received from the answer to the first request on, without dates and `Connection: close`.
    client: String,
    /// How often an answer announced the close of the connection.
    closes: usize,
    /// The complete requests that the endpoint received.
    endpoint: Vec<String>,
}

/// Headers sorted by name. The order of different names has no meaning; that of one name's values is kept (RFC 9110, section 5.3).
fn in_order(headers: &HeaderMap) -> Vec<(&HeaderName, &HeaderValue)> {
    let mut fields: Vec<_> = headers.iter().collect();
    fields.sort_by_key(|(name, _)| name.as_str());
    fields
}

/// A client sends a first request with these header `lines`, then these pieces, and then another request.
async fn served(lines: &str, pieces: &[Vec<u8>], answer: Answer) -> Observed {
    let recorded: Arc<Mutex<Vec<String>>> = Arc::default();
    let record = Arc::clone(&recorded);
    let backend = Backend::http(move |request: Request<Incoming>| {
        let record = Arc::clone(&record);
        async move {
            let (parts, body) = request.into_parts();
            // Whether an incomplete request arrives at all depends on timing.
            if let Ok(body) = body.collect().await {
                let headers = in_order(&parts.headers);
                let description = format!("{} {} {headers:?} {:?}", parts.method, parts.uri, body.to_bytes());
                record.lock().unwrap().push(description);
            }
            let is_ours = ["/first", "/last"].contains(&parts.uri.path());
            if is_ours { Answer::Nothing.response() } else { answer.response() }
        }
    })
    .await;
    let fixture = Fixture::with(&[backend.address], |config, _route| config.workers = 1.try_into().unwrap());
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    let first = format!("GET /first HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    stream.write_all(first.as_bytes()).await.unwrap();
    read_head(&mut stream).await;
    for piece in pieces {
        // The proxy may have closed the connection already.
        let _ = stream.write_all(piece).await;
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }
    let _ = stream.write_all(b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    let mut received = Vec::new();
    let _ = within(stream.read_to_end(&mut received)).await;
    let received = String::from_utf8_lossy(&received);
    let lines = received.split_inclusive("\r\n").filter(|line| !line.starts_with("date: "));
    let (closing, others): (Vec<&str>, Vec<&str>) = lines.partition(|line| *line == "connection: close\r\n");
    let endpoint = recorded.lock().unwrap().clone();
    Observed { client: others.concat(), closes: closing.len(), endpoint }
}

#[tokio::test]
async fn connection_close_of_a_client_is_confirmed_and_obeyed() {
    for lines in LESS_AND_MORE {
        let seen = served(lines, &[], Answer::Words).await;
        assert_eq!((seen.closes, seen.endpoint.len()), (1, 2), "{seen:?}");
        let [_, last] = &*seen.endpoint else { panic!("{seen:?}") };
        assert!(!last.contains("connection"), "that is nothing to the endpoint: {last}");
    }
}

/// Lines from which heads of requests are composed; many of them are invalid.
const LINES: [&str; 26] = [
    "Host: b",
    "Content-Length: 5",
    "Content-Length: 0",
    "Content-Length: +5",
    "Content-Length:",
    "Content-Length : 5",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip",
    "Connection: close",
    "Connection: Keep-Alive",
    "Connection: keep-alive, x-a",
    "Connection: upgrade",
    "Upgrade: x",
    "Expect: 100-continue",
    "TE: trailers",
    "X-A: a",
    "X-A: \u{e4}",
    "X-A:",
    "X-A: a\r\n b",
    "X-A: a\rb",
    "X y: z",
    "Cookie: a=b",
    "Cookie: c=d",
    "X-Forwarded-For: 1.2.3.4",
    "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "Accept-Encoding: gzip",
];

const FIRSTS: [&str; 14] = [
    "GET /a?b=c HTTP/1.1",
    "GET /a HTTP/1.1",
    "DELETE /a HTTP/1.1",
    "POST /a HTTP/1.1",
    "HEAD /a HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "GET http://c/a HTTP/1.1",
    "GET /a HTTP/1.0",
    "GET /a HTTP/1.2",
    "GET /a",
    "GET a HTTP/1.1",
    "GET /\u{e4}<\"> HTTP/1.1",
    "CONNECT a:80 HTTP/1.1",
    "\r\nGET /a HTTP/1.1",
];

const BODIES: [&str; 5] = ["", "", "hello", "5\r\nhello\r\n0\r\n\r\n", "GET /b HTTP/1.1\r\nHost: a\r\n\r\n"];

fn requests() -> impl Strategy<Value = Vec<u8>> {
    let lines = proptest::collection::vec(select(&LINES[..]), 0..4);
    let end = select(&["\r\n", "\r\n", "\r\n", "\r\n", "\n"][..]);
    let host = select(&["Host: a", "Host: a", "Host: a", "Host: a", "Host: a b", "X-B: b"][..]);
    let whole = (select(&FIRSTS[..]), host, lines, end, select(&BODIES[..]));
    let whole = whole.prop_map(|(first, host, lines, end, body)| {
        let head: String =
            [first, host].into_iter().chain(lines).map(|line| format!("{line}{end}")).collect();
        format!("{head}{end}{body}").into_bytes()
    });
    (whole, proptest::option::weighted(0.1, (any::<Index>(), any::<u8>()))).prop_map(
        |(mut request, corruption)| {
            if let Some((at, byte)) = corruption {
                let at = at.index(request.len());
                request[at] = byte;
            }
            request
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn plain_requests_mean_the_same_to_hyper(
        request in requests(),
        cuts in proptest::collection::vec(any::<Index>(), 0..3),
        answer in select(&ANSWERS[..]),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|at| at.index(request.len() + 1)).collect();
        cuts.sort_unstable();
        let ends = cuts.iter().copied().chain([request.len()]);
        let begins = std::iter::once(0).chain(cuts.iter().copied());
        let pieces: Vec<Vec<u8>> = begins.zip(ends).map(|(begin, end)| request[begin..end].to_vec()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let description = request.escape_ascii().to_string();
        let [here, there] = LESS_AND_MORE.map(|lines| runtime.block_on(served(lines, &pieces, answer)));
        prop_assert_eq!(here, there, "{}", description);
    }
}
