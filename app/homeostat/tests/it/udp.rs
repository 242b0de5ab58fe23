//! UDP behind one address.

use std::collections::BTreeSet;
use std::fs;
use std::net::UdpSocket;
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::instance::{Instance, pid_of, text, wait_until};
use crate::replica;

/// A client with an address of its own.
struct Client(UdpSocket);

impl Client {
    fn of(port: u16) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.connect(("127.0.0.1", port)).expect("an address");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a time");
        Self(socket)
    }

    /// Sends one datagram; returns the process id of the replica that answers.
    fn send_request(&self) -> i32 {
        self.0.send(b"who?").expect("it is sent");
        let mut received = [0; 64];
        let size = self.0.recv(&mut received).expect("it is answered");
        std::str::from_utf8(&received[..size]).expect("a number").parse().expect("a number")
    }
}

/// Each gets one datagram, and answers once.
fn ask_all(clients: &[Client]) {
    clients.iter().for_each(|client| assert!(client.send_request() > 0));
}

/// An instance with so many replicas of a service of UDP.
fn start(port: u16, replicas: usize) -> Instance {
    let instance = asked_as(port, &format!("{{replicas: {replicas}}}"), "60s");
    instance.wait_for_ready("web", replicas);
    instance
}

/// An instance with a service scaled by `scale`, whose sessions end after `idle`.
fn asked_as(port: u16, scale: &str, idle: &str) -> Instance {
    let mut instance = Instance::new();
    let more = format!(
        "  scale: {scale}\n  stop: {{drain: 20s}}\n  \
         expose: {{listen: \"127.0.0.1:{port}\", port: ask, balance: roundRobin, timeouts: {{idle: {idle}}}}}\n"
    );
    let manifest = instance.write_service("web", &more);
    let declared = fs::read_to_string(&manifest).unwrap();
    let ports = "[{name: ask, protocol: udp}, {name: http, protocol: http}]";
    let declared = declared.replace("[{name: http, protocol: http}]", ports);
    let declared = declared.replace("env: {", &format!("env: {{{}: \"$(PORT_ASK)\", ", replica::UDP_PORT));
    fs::write(&manifest, declared).unwrap();
    instance.up(&["-f", text(&manifest)]);
    instance
}

fn proxied(instance: &Instance) -> Value {
    instance.query(&["describe", "service/web"])["service"]["status"]["proxy"].clone()
}

#[test]
fn sessions_are_balanced_and_move_when_their_replica_is_killed_or_removed() {
    let port = ports::free();
    let instance = start(port, 3);
    let pids: BTreeSet<i32> =
        instance.replicas("web").values().map(|status| pid_of(status).as_raw_nonzero().get()).collect();
    let clients: Vec<(Client, i32)> = (0..9)
        .map(|_| {
            let client = Client::of(port);
            let home = client.send_request();
            (client, home)
        })
        .collect();
    assert_eq!(clients.iter().map(|(_, home)| *home).collect::<BTreeSet<_>>(), pids);
    for (client, home) in &clients {
        assert_eq!(client.send_request(), *home);
    }

    let killed = clients[0].1;
    kill_process(rustix::process::Pid::from_raw(killed).unwrap(), Signal::KILL).unwrap();
    // Its socket is closed when it has exited, which takes a moment after the signal.
    wait_until("it has ended", || {
        instance.replicas("web").values().all(|it| it["pid"] != killed).then_some(())
    });
    for (client, home) in &clients {
        let now = client.send_request();
        assert!(now == *home || *home == killed, "only sessions of the killed one move");
        assert_ne!(now, killed);
    }

    instance.wait_for_ready("web", 3);
    instance.query(&["scale", "service/web", "--replicas", "1"]);
    let answers = || clients.iter().map(|(client, _)| client.send_request()).collect::<BTreeSet<_>>();
    // Sessions are active all the time, and all datagrams are answered; no session delays the removal of a replica.
    wait_until("one is left", || (answers().len() == 1 && instance.replicas("web").len() == 1).then_some(()));

    let status = proxied(&instance);
    let datagrams = &status["datagrams"];
    assert_eq!((&datagrams["dropped"], &datagrams["sessions"]), (&0.into(), &9.into()), "{status}");
    assert_eq!(datagrams["received"], datagrams["sent"], "{status}");
    let described = instance.run(&["describe", "service/web"]).out;
    assert!(described.contains(" from clients ") && described.contains("sessions now: 9"), "{described}");
    let metrics = instance.get_api("/metrics").1;
    assert!(metrics.contains("homeostat_datagrams_dropped_total{service=\"web\"} 0"), "{metrics}");
    assert!(metrics.contains("homeostat_datagram_sessions{service=\"web\"} 9"), "{metrics}");
}

#[test]
fn no_datagram_is_lost_during_a_takeover() {
    let port = ports::free();
    let mut instance = start(port, 2);
    let clients: Vec<Client> = (0..4).map(|_| Client::of(port)).collect();
    for _ in 0..2 {
        ask_all(&clients);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                // For longer than the removal takes; each datagram is answered once.
                (0..200).for_each(|_| {
                    ask_all(&clients);
                    // tidy: pause between looks
                    std::thread::sleep(Duration::from_millis(10));
                });
            });
            instance.take_over(&["--linger", "30s"]);
            asking.join().expect("every datagram is answered");
        });
        instance.wait_until_left();
    }
    ask_all(&clients);
}

#[test]
fn a_service_at_zero_is_started_by_a_datagram_and_answers_it() {
    let port = ports::free();
    let instance = asked_as(port, "{replicas: 2, toZero: {after: 1s, wait: 30s}}", "300ms");
    for _ in 0..3 {
        wait_until("it rests", || instance.replicas("web").is_empty().then_some(()));
        let clients: Vec<Client> = (0..5).map(|_| Client::of(port)).collect();
        ask_all(&clients);
        instance.wait_for_ready("web", 2);
    }
    let datagrams = &proxied(&instance)["datagrams"];
    assert_eq!((&datagrams["dropped"], &datagrams["received"]), (&0.into(), &15.into()), "{datagrams}");
}
