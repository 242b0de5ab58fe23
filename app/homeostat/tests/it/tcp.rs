//! Plain TCP behind one address.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::{Signal, kill_process};

use crate::instance::{Instance, pid_of, text, wait_until};

/// The answer on a new connection; empty when it is closed without one.
fn send_request(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the proxy listens");
    stream.write_all(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n").expect("it listens");
    let mut received = String::new();
    let _ = stream.read_to_string(&mut received);
    received.rsplit("\r\n").next().unwrap_or_default().to_owned()
}

#[test]
fn connections_are_balanced_over_replicas_and_a_dead_one_gets_none() {
    let mut instance = Instance::new();
    let port = ports::free();
    let more = format!(
        "  scale: {{replicas: 3}}\n  expose: {{listen: \"127.0.0.1:{port}\", port: http, balance: roundRobin}}\n"
    );
    let manifest = instance.write_service("web", &more);
    let declared = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, declared.replace("protocol: http", "protocol: tcp")).unwrap();
    instance.up(&["-f", text(&manifest)]);
    let pids: Vec<_> = instance.wait_for_ready("web", 3).values().map(pid_of).collect();
    let names: BTreeSet<String> = pids.iter().map(|pid| pid.as_raw_nonzero().to_string()).collect();
    let answered: BTreeSet<String> = (0..30).map(|_| send_request(port)).collect();
    assert_eq!(answered, names);

    kill_process(pids[0], Signal::KILL).unwrap();
    let dead = pids[0].as_raw_nonzero().to_string();
    wait_until("the dead one gets no connections", || {
        (0..6).all(|_| send_request(port) != dead).then_some(())
    });
    for _ in 0..30 {
        assert_ne!(send_request(port), "");
    }
    let status = instance.query(&["get", "service/web"]);
    assert!(status.to_string().contains("requestsPerSecond"), "connections count as requests: {status}");
}
