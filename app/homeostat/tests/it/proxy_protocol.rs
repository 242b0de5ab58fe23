//! Clients behind a TCP proxy that sends their addresses by the PROXY protocol.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::instance::{Instance, text};

fn exchange(port: u16, data: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the proxy listens");
    stream.write_all(data.as_bytes()).expect("it listens");
    let mut received = String::new();
    // A refused connection may be reset before all data is sent.
    let _ = stream.read_to_string(&mut received);
    received
}

#[test]
fn the_client_address_is_taken_from_the_proxy_protocol_header() {
    let mut instance = Instance::new();
    let port = ports::free();
    let expose =
        format!("  expose: {{listen: \"127.0.0.1:{port}\", port: http, proxyProtocol: {{accept: true}}}}\n");
    let manifest = instance.write_service("web", &expose);
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 1);

    let request = "GET /whose HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = exchange(port, &format!("PROXY TCP4 203.0.113.7 192.0.2.1 4000 443\r\n{request}"));
    assert!(answer.ends_with("203.0.113.7"), "{answer}");
    assert_eq!(exchange(port, request), "");

    let mut curl = Command::new("curl");
    curl.args(["--silent", "--max-time", "20", "--noproxy", "*", "--haproxy-protocol"]);
    let output = curl.arg(format!("http://127.0.0.1:{port}/whose")).stdin(Stdio::null()).output();
    assert_eq!(output.expect("curl is installed").stdout, b"127.0.0.1");
}

#[test]
fn sending_a_header_on_shared_connections_is_refused() {
    let instance = Instance::new();
    let expose = "  expose: {listen: \"127.0.0.1:1\", port: http, proxyProtocol: {send: v2}}\n";
    let manifest = instance.write_service("web", expose);
    let declared = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, declared.replace("protocol: http", "protocol: grpc")).unwrap();
    let refused = instance.run(&["validate", "-f", text(&manifest)]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("shared by all clients"), "{refused:?}");
}
