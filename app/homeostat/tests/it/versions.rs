//! A declaration that changes how replicas are reached: those of the earlier version are reached as before until they are replaced.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};

use rustix::process::Signal;

use crate::instance::{Instance, get, pid_of, text, wait_until};
use crate::replica;

/// The process ids of all replicas of `web`, as they answer requests.
fn pids(instance: &Instance) -> BTreeSet<String> {
    instance.replicas("web").values().map(|status| pid_of(status).as_raw_nonzero().to_string()).collect()
}

/// Declares a version with a `missing` program, and waits until its start has failed.
fn apply_broken(instance: &Instance, declared: &str, missing: &str) {
    let program = std::env::current_exe().expect("this program has a path");
    let broken = declared.replace(text(&program), missing);
    assert_ne!(broken, declared);
    let manifest = instance.write("broken.yaml", &broken);
    let applied = instance.run(&["apply", "-f", text(&manifest)]);
    assert_eq!(applied.code, Some(0), "{applied:?}");
    wait_until("the new version fails to start", || {
        instance.run(&["events"]).out.contains(missing).then_some(())
    });
}

/// A service `web` of so many replicas, ready and exposed on a port; and its manifest.
fn exposed_web(replicas: usize) -> (Instance, u16, String) {
    let mut instance = Instance::new();
    let port = ports::free();
    let more = format!(
        "  scale: {{replicas: {replicas}}}\n  expose: {{listen: \"127.0.0.1:{port}\", port: http}}\n"
    );
    let manifest = instance.write_service("web", &more);
    let declared = fs::read_to_string(&manifest).expect("it was written");
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", replicas);
    (instance, port, declared)
}

/// The same declaration with a second port `admin`.
fn with_admin_port(declared: &str) -> String {
    let variable = format!("env: {{{}: \"$(PORT_ADMIN)\", ", replica::ADMIN_PORT);
    let ports = ("[{name: http, protocol: http}]", "[{name: http, protocol: http}, {name: admin}]");
    declared.replace("env: {", &variable).replace(ports.0, ports.1)
}

#[test]
fn replicas_serve_on_the_port_of_their_version_until_the_one_with_the_renamed_port_is_ready() {
    let (mut instance, port, declared) = exposed_web(2);
    let old = pids(&instance);
    let answer = || get(&format!("http://127.0.0.1:{port}/"));

    let renamed = [("PORT_HTTP", "PORT_WEB"), ("name: http", "name: web"), ("port: http", "port: web")];
    let renamed = renamed.iter().fold(declared, |text, (from, to)| text.replace(from, to));
    apply_broken(&instance, &renamed, "/no-such-program");
    assert!((0..20).all(|_| old.contains(&answer().expect("the old version answers"))));

    instance.end(Signal::KILL);
    instance.up(&[]);
    let is_old = |answer: &String| old.contains(answer);
    wait_until("the old version answers after a restart", || answer().ok().filter(is_old));

    let manifest = instance.write("web.yaml", &renamed);
    assert_eq!(instance.run(&["apply", "-f", text(&manifest)]).code, Some(0));
    wait_until("the new version has replaced the old one", || {
        let answer = answer().expect("every request is answered");
        (!old.contains(&answer) && pids(&instance).is_disjoint(&old)).then_some(())
    });
}

#[test]
fn another_exposed_port_of_the_same_version_gets_requests_at_once() {
    let mut instance = Instance::new();
    let port = ports::free();
    let more = format!("  expose: {{listen: \"127.0.0.1:{port}\", port: http}}\n");
    let manifest = instance.write_service("web", &more);
    let declared = with_admin_port(&fs::read_to_string(&manifest).expect("it was written"));
    fs::write(&manifest, &declared).expect("the folder is writable");
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 1);
    let old = pids(&instance);
    let of_old = |answer: &String| old.iter().any(|pid| *answer == format!("admin of {pid}"));
    let answer = || get(&format!("http://127.0.0.1:{port}/")).ok();

    let declared = declared.replace("port: http}", "port: admin}");
    let manifest = instance.write("web.yaml", &declared);
    assert_eq!(instance.run(&["apply", "-f", text(&manifest)]).code, Some(0));
    wait_until("requests go to the other port", || answer().filter(of_old));

    let renamed = declared.replace("PORT_ADMIN", "PORT_BACK").replace("admin", "back");
    apply_broken(&instance, &renamed, "/no-such-program");
    assert!((0..20).all(|_| answer().is_some_and(|answer| of_old(&answer))), "it stays the exposed one");
}

#[test]
fn replicas_with_several_ports_are_reached_after_a_restart_during_a_rollout_that_is_stuck() {
    let mut instance = Instance::new();
    let port = ports::free();
    let manifest =
        instance.write_service("web", &format!("  expose: {{listen: \"127.0.0.1:{port}\", port: admin}}\n"));
    let declared = with_admin_port(&fs::read_to_string(&manifest).expect("it was written"));
    fs::write(&manifest, &declared).expect("the folder is writable");
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 1);
    let old = pids(&instance);
    let of_old = |answer: &String| old.iter().any(|pid| *answer == format!("admin of {pid}"));
    let answer = || get(&format!("http://127.0.0.1:{port}/")).ok();
    wait_until("it answers", || answer().filter(of_old));

    let renamed = declared.replace("PORT_ADMIN", "PORT_BACK").replace("admin", "back");
    let renamed = renamed.replace("PORT_HTTP", "PORT_WEB").replace("name: http", "name: web");
    apply_broken(&instance, &renamed, "/no-such-program");
    instance.end(Signal::KILL);
    instance.up(&[]);
    wait_until("the old version answers after a restart", || answer().filter(of_old));
    assert!((0..20).all(|_| answer().is_some_and(|answer| of_old(&answer))));
}

#[test]
fn replicas_are_spoken_to_as_their_version_declares_until_they_are_replaced() {
    let (mut instance, port, declared) = exposed_web(1);
    let old = pids(&instance);
    let answer = |path: &str| get(&format!("http://127.0.0.1:{port}{path}"));
    let assert_unchanged = |after: &str| {
        for _ in 0..5 {
            assert!(old.contains(&answer("/").expect("the old version answers")), "{after}");
            assert_eq!(answer("/version").expect("it answers"), "HTTP/1.1", "{after}");
            assert_eq!(answer("/whose").expect("requests are parsed"), "127.0.0.1", "{after}");
        }
    };
    let changes = [
        ("protocol: http}", "protocol: http2}"),
        ("protocol: http}", "protocol: tcp}"),
        ("port: http}", "port: http, proxyProtocol: {send: v1}}"),
    ];
    for (before, after) in changes {
        let missing = format!("/no-such-program-{}", after.len());
        apply_broken(&instance, &declared.replace(before, after), &missing);
        assert_unchanged(after);
    }
    instance.end(Signal::KILL);
    instance.up(&[]);
    wait_until("the old version answers after a restart", || answer("/").ok());
    assert_unchanged("restart");

    for (protocol, version) in [("http2", "HTTP/2.0"), ("tcp", "HTTP/1.1")] {
        let before = answer("/").expect("it answers");
        let changed = declared.replace("protocol: http}", &format!("protocol: {protocol}}}"));
        let manifest = instance.write("web.yaml", &changed);
        assert_eq!(instance.run(&["apply", "-f", text(&manifest)]).code, Some(0));
        wait_until("the new version has replaced the old one", || {
            let answer = answer("/").expect("every request is answered");
            (answer != before && instance.replicas("web").len() == 1).then_some(())
        });
        assert_eq!(answer("/version").expect("it answers"), version);
    }
    assert!(answer("/whose").is_err(), "connections are relayed: no header says whose they are");
}

#[test]
fn a_header_that_is_declared_for_the_same_version_is_sent_at_once() {
    let (instance, port, declared) = exposed_web(1);
    let answer = || get(&format!("http://127.0.0.1:{port}/"));
    let old = answer().expect("it answers");

    let sends = declared.replace("port: http}", "port: http, proxyProtocol: {send: v1}}");
    let sends = instance.write("sends.yaml", &sends);
    assert_eq!(instance.run(&["apply", "-f", text(&sends)]).code, Some(0));
    wait_until("the replica, which expects no header, refuses it", || answer().is_err().then_some(()));
    let before = instance.write("web.yaml", &declared);
    assert_eq!(instance.run(&["apply", "-f", text(&before)]).code, Some(0));
    let again = wait_until("no header is sent", || answer().ok());
    assert_eq!(again, old, "no replica was replaced");
}

#[test]
fn a_listener_changes_from_http_to_udp_with_the_first_replica_that_is_ready_for_it() {
    let (instance, port, declared) = exposed_web(1);
    let old = pids(&instance);

    let variable = format!("env: {{{}: \"$(PORT_DNS)\", ", replica::UDP_PORT);
    let changed = declared.replace("env: {", &variable).replace("port: http}", "port: dns}");
    let changed = changed.replace("protocol: http}]", "protocol: http}, {name: dns, protocol: udp}]");
    apply_broken(&instance, &changed, "/no-such-program");
    for _ in 0..5 {
        assert!(old.contains(&get(&format!("http://127.0.0.1:{port}/")).expect("the old version answers")));
    }

    let manifest = instance.write("web.yaml", &changed);
    assert_eq!(instance.run(&["apply", "-f", text(&manifest)]).code, Some(0));
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    socket.connect((Ipv4Addr::LOCALHOST, port)).expect("a local address");
    socket.set_nonblocking(true).expect("it is a socket");
    let answer = wait_until("the new version answers datagrams", || {
        // Refused as long as nothing listens.
        let _ = socket.send(b"hello");
        let mut received = [0; 16];
        let size = socket.recv(&mut received).ok()?;
        Some(String::from_utf8_lossy(&received[..size]).into_owned())
    });
    assert!(!old.contains(&answer), "{answer}");
}
