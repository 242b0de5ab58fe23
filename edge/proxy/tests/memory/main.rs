//! The memory of idle connections, counted by the allocator.

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::time::Duration;

use proxy::{EndpointId, EndpointRoute, Proxy, ProxyConfig, ServiceRoute};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Two descriptors for each are within 1,024, the usual limit.
const CONNECTIONS: usize = 400;

/// What each may keep.
const BYTES_MAX: usize = 1024;

/// Longer than any wait of the test should last.
const DEADLINE: Duration = Duration::from_secs(30);

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Bytes that are allocated now.
fn kept() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Answers on every connection for as long as the test runs.
fn endpoint() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _peer)) = listener.accept() {
            std::thread::spawn(move || {
                let mut piece = [0; 4096];
                while stream.read(&mut piece).is_ok_and(|read| read > 0) {
                    stream.write_all(ANSWER).unwrap();
                }
            });
        }
    });
    address
}

fn send_request(stream: &mut TcpStream) {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut received = Vec::new();
    let mut piece = [0; 1024];
    while !received.ends_with(b"ok") {
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&received));
        received.extend_from_slice(&piece[..read]);
    }
}

#[test]
fn a_connection_that_waits_keeps_less_than_a_kibibyte_and_serves_on() {
    let config = ProxyConfig { workers: NonZeroUsize::new(2).unwrap(), seed: 7, ..ProxyConfig::default() };
    let proxy = Proxy::start(&config).unwrap();
    let mut route = ServiceRoute::new("shop", "127.0.0.1:0".parse().unwrap());
    route.endpoints = vec![EndpointRoute::new(EndpointId { ordinal: 0, incarnation: 1 }, endpoint())];
    let address = proxy.table().set_service(&route).unwrap().unwrap();
    let connect = || {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    };
    // What the first request needs is needed once.
    send_request(&mut connect());
    let before = kept();
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| connect()).collect();
    for requests in 1..=3 {
        clients.iter_mut().for_each(send_request);
        let of_each = least(|| kept().saturating_sub(before) / CONNECTIONS);
        assert!(of_each < BYTES_MAX, "{of_each} bytes of each are kept after {requests} requests");
    }
}

/// The first that is few enough, or what there is when there was time enough.
fn least(bytes: impl Fn() -> usize) -> usize {
    let pause = Duration::from_millis(5);
    for _ in 0..DEADLINE.as_millis() / pause.as_millis() {
        if bytes() < BYTES_MAX {
            break;
        }
        // tidy: pause between looks
        std::thread::sleep(pause);
    }
    bytes()
}
