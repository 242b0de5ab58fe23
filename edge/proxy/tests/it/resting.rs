//! Clients that ask nothing for a while keep their connection, and lose nothing of what they ask then.
//!
//! A worker keeps some connections ready; a crowd is more than that, so that most are taken apart as soon as they have their first answer.

use std::num::NonZeroUsize;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, Response};
use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::kit::*;

const CROWD: usize = 100;

/// Says what it was asked and told.
async fn echo() -> Backend {
    Backend::http(|request: Request<Incoming>| async move {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let said = format!("{path} {};", String::from_utf8_lossy(&body));
        Response::new(http_body_util::Full::new(bytes::Bytes::from(said)))
    })
    .await
}

fn one_worker(config: &mut proxy::ProxyConfig) {
    config.workers = NonZeroUsize::MIN;
}

/// Connections that have asked once.
async fn crowd(stand: &Stand) -> Vec<TcpStream> {
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let mut stream = TcpStream::connect(stand.address).await.unwrap();
        ask(&mut stream, "/first").await;
        crowd.push(stream);
    }
    crowd
}

async fn ask(stream: &mut TcpStream, path: &str) {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
    hear(stream, &format!("{path} ;")).await;
}

/// Reads one answer whose body is `expected`, and no more; answers its head.
async fn hear(stream: &mut TcpStream, expected: &str) -> String {
    let mut heard = Vec::new();
    while !heard.ends_with(b";") {
        let mut byte = [0];
        let read = within(stream.read(&mut byte)).await.unwrap();
        assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&heard));
        heard.push(byte[0]);
    }
    let heard = String::from_utf8(heard).unwrap();
    let (head, body) = heard.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, expected);
    head.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_of_requests_that_come_in_pieces_while_connections_are_taken_apart() {
    /// Who goes on asking is not taken apart any more, so that more crowds say more than longer ones.
    const CROWDS: u64 = 10;
    const ROUNDS: u64 = 4;
    let backend = echo().await;
    let stand = Stand::with(&[backend.address], |config, _| one_worker(config));
    for number in 0..CROWDS {
        let mut clients = JoinSet::new();
        for (seed, stream) in (number * CROWD as u64..).zip(crowd(&stand).await) {
            clients.spawn(ask_in_pieces(stream, seed, ROUNDS));
        }
        while let Some(client) = clients.join_next().await {
            client.unwrap();
        }
    }
    assert_eq!(stand.traffic().counts.requests, CROWDS * CROWD as u64 * (ROUNDS + 1));
}

/// Asks so many times, for bodies of any length, and hears all that it asked for.
async fn ask_in_pieces(mut stream: TcpStream, seed: u64, rounds: u64) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut expected = Vec::new();
    let mut said = Vec::new();
    for round in 0..rounds {
        let body = "x".repeat((rng.next_u64() % 3000) as usize);
        let path = format!("/{seed}/{round}");
        let length = body.len();
        let request = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}");
        said.extend_from_slice(request.as_bytes());
        expected.push(format!("{path} {body};"));
        if rng.next_u64().is_multiple_of(2) {
            continue;
        }
        // A part of the last one comes with those before it, and the rest once their answers were heard.
        let cut = rng.next_u64() as usize % request.len();
        let rest = said.split_off(said.len() - cut);
        stream.write_all(&said).await.unwrap();
        said = rest;
        let whole = expected.len() - usize::from(!said.is_empty());
        for expected in expected.drain(..whole) {
            hear(&mut stream, &expected).await;
        }
        for _ in 0..rng.next_u64() % 20 {
            tokio::task::yield_now().await;
        }
    }
    stream.write_all(&said).await.unwrap();
    for expected in expected {
        hear(&mut stream, &expected).await;
    }
}

#[tokio::test]
async fn clients_at_rest_have_their_places_and_the_next_one_comes_in_when_one_leaves() {
    let backend = echo().await;
    let stand = Stand::with(&[backend.address], |config, _| {
        one_worker(config);
        config.connections_max = CROWD;
    });
    let mut crowd = crowd(&stand).await;
    let mut next = TcpStream::connect(stand.address).await.unwrap();
    next.write_all(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    ask(&mut crowd[CROWD - 1], "/again").await;
    assert_eq!(stand.traffic().counts.requests, CROWD as u64 + 1);
    drop(crowd.pop());
    hear(&mut next, "/next ;").await;
}

#[tokio::test]
async fn clients_at_rest_are_let_go_when_their_time_is_over_and_those_who_only_begin_to_ask_too() {
    let backend = echo().await;
    let stand = Stand::with(&[backend.address], |config, route| {
        one_worker(config);
        route.timeouts.client_idle = Duration::from_secs(1);
        route.timeouts.request_head = Duration::from_millis(100);
    });
    let mut crowd = crowd(&stand).await;
    // Its time of idleness would be longer.
    crowd[CROWD - 1].write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    for stream in &mut crowd {
        assert_eq!(within(stream.read(&mut [0])).await.unwrap_or(0), 0);
    }
}

/// Such an answer is hyper's to write, which reads the request once more for it.
#[tokio::test]
async fn who_got_an_answer_without_a_body_may_rest_as_long_as_others() {
    let backend = Backend::http(|request: Request<Incoming>| async move {
        empty(request.uri().path()[1..].parse().unwrap())
    })
    .await;
    let stand = Stand::with(&[backend.address], |config, route| {
        one_worker(config);
        route.timeouts.request_head = Duration::from_millis(100);
    });
    for status in [204, 304] {
        let mut stream = TcpStream::connect(stand.address).await.unwrap();
        for _ in 0..2 {
            let request = format!("GET /{status} HTTP/1.1\r\nHost: a\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let head = read_head(&mut stream).await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head:?}");
            // tidy: slow on purpose
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

#[tokio::test]
async fn clients_at_rest_are_told_to_leave_when_the_proxy_stops() {
    let backend = echo().await;
    let stand = Stand::with(&[backend.address], |config, _| one_worker(config));
    let mut crowd = crowd(&stand).await;
    let mut ending = JoinSet::new();
    ending.spawn(stand.proxy.shutdown(DEADLINE));
    for stream in &mut crowd {
        assert_eq!(within(stream.read(&mut [0])).await.unwrap(), 0, "closed, and not reset");
    }
    assert_eq!(within(ending.join_next()).await.unwrap().unwrap().connections_cut, 0);
}

#[tokio::test]
async fn clients_at_rest_may_ask_once_more_when_another_proxy_takes_over() {
    let backend = echo().await;
    let stand = Stand::with(&[backend.address], |config, _| one_worker(config));
    let mut crowd = crowd(&stand).await;
    let mut leaving = JoinSet::new();
    let address = stand.address;
    leaving.spawn(stand.proxy.hand_over(DEADLINE));
    // Until the worker has heard of it, answers do not say so.
    within(async { while TcpStream::connect(address).await.is_ok() {} }).await;
    for stream in &mut crowd {
        stream.write_all(b"GET /last HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let head = hear(stream, "/last ;").await;
        assert!(head.contains("connection: close"), "{head}");
        assert_eq!(within(stream.read(&mut [0])).await.unwrap(), 0);
    }
    assert_eq!(within(leaving.join_next()).await.unwrap().unwrap().connections_cut, 0);
}

/// What it says later belongs to its first request, however much it looks like another one.
#[tokio::test]
async fn a_client_that_was_answered_before_it_had_said_all_is_not_heard_for_another_request() {
    let backend = Backend::raw(|mut stream| async move {
        while read_head(&mut stream).await.contains("\r\n\r\n") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n/first ;").await;
        }
    })
    .await;
    let stand = Stand::with(&[backend.address], |config, _| one_worker(config));
    let mut crowd = crowd(&stand).await;
    for (stream, framing) in crowd.iter_mut().zip(["Content-Length: 1000", "Transfer-Encoding: chunked"]) {
        let head = format!("POST /first HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n5\r\nabcde\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        hear(stream, "/first ;").await;
        // It may be closed already.
        let _ = stream.write_all(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(within(stream.read(&mut [0])).await.unwrap_or(0), 0);
    }
    assert_eq!(stand.traffic().counts.requests, CROWD as u64 + 2);
}

/// Of some of these lengths the system takes so much that the rest is for us to keep, though it is all there.
#[tokio::test]
async fn clients_that_take_their_answers_late_get_all_of_them() {
    const STEP: usize = 200 * 1024;
    let backend = Backend::http(|request: Request<Incoming>| async move {
        let steps: usize = request.uri().path()[1..].parse().unwrap();
        Response::new(http_body_util::Full::new(bytes::Bytes::from(vec![b'x'; steps * STEP])))
    })
    .await;
    let stand = Stand::with(&[backend.address], |config, _| one_worker(config));
    let mut late = Vec::new();
    for steps in 0..30 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(stand.address).await.unwrap();
        stream.write_all(format!("GET /{steps} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        late.push(stream);
    }
    // Until nothing moves any more: not even what rests for long, and would be taken apart.
    let mut passed = (0, Instant::now());
    until(|| {
        let traffic = stand.traffic();
        let now = traffic.counts.status[1];
        if passed.0 != now {
            passed = (now, Instant::now());
        }
        now > 0 && passed.1.elapsed() > Duration::from_secs(1)
    })
    .await;
    for (steps, mut stream) in late.into_iter().enumerate() {
        let mut heard = vec![0; 64 * 1024];
        let (mut head, mut length) = (Vec::new(), None);
        while length != Some(steps * STEP) {
            let read = within(stream.read(&mut heard)).await.unwrap();
            assert!(read > 0, "closed after {length:?} of {}", steps * STEP);
            if let Some(length) = &mut length {
                *length += read;
            } else {
                head.extend_from_slice(&heard[..read]);
                let end = head.windows(4).position(|window| window == b"\r\n\r\n");
                length = end.map(|end| head.len() - end - 4);
            }
        }
        // Nor was it told to go meanwhile.
        stream.write_all(b"GET /0 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let head = within(read_head(&mut stream)).await;
        assert!(head.starts_with("HTTP/1.1 200 ") && !head.contains("connection: close"), "{head}");
    }
}
