//! Replicas that speak HTTP/2 behind one address.

use std::fs;
use std::process::{Command, Stdio};

use rustix::process::{Signal, kill_process};

use crate::instance::{Instance, pid_of, text, wait_until};

/// What curl gets over HTTP/2, without TLS.
fn send_request(port: u16, path: &str) -> Option<String> {
    let mut call = Command::new("curl");
    call.args(["--silent", "--fail", "--max-time", "20", "--noproxy", "*", "--http2-prior-knowledge"]);
    let output = call.arg(format!("http://127.0.0.1:{port}{path}")).stdin(Stdio::null()).output();
    let output = output.expect("curl is installed");
    output.status.success().then(|| String::from_utf8(output.stdout).expect("the output is UTF-8"))
}

#[test]
fn a_killed_http2_replica_costs_no_request() {
    let mut instance = Instance::new();
    let port = ports::free();
    let more = format!("  scale: {{replicas: 2}}\n  expose: {{listen: \"127.0.0.1:{port}\", port: http}}\n");
    let manifest = instance.write_service("web", &more);
    let declared = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, declared.replace("protocol: http", "protocol: http2")).unwrap();
    instance.up(&["-f", text(&manifest)]);
    let pids: Vec<_> = instance.wait_for_ready("web", 2).values().map(pid_of).collect();
    let is_old = |answer: &str| pids.iter().any(|pid| pid.as_raw_nonzero().to_string() == answer);
    assert_eq!(send_request(port, "/version").unwrap(), "HTTP/2.0");

    kill_process(pids[0], Signal::KILL).unwrap();
    for _ in 0..30 {
        send_request(port, "/").expect("each request is answered");
    }
    wait_until("the successor serves", || send_request(port, "/").filter(|answer| !is_old(answer)));
}
