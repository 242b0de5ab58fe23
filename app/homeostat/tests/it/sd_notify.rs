//! Notifications to a service manager, over a socket as systemd's (sd_notify(3)).

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::process::Signal;

use crate::instance::{Instance, pid_of, text};

/// The next notification.
fn receive(manager: &UnixDatagram) -> String {
    let mut message = [0; 256];
    let length = manager.recv(&mut message).expect("it is notified");
    String::from_utf8_lossy(&message[..length]).into_owned()
}

#[test]
fn a_service_manager_is_notified_of_the_start_of_successors_and_of_the_stop() {
    let mut instance = Instance::new();
    let socket = instance.path("manager.sock");
    let manager = UnixDatagram::bind(&socket).expect("the folder is writable");
    manager.set_read_timeout(Some(Duration::from_secs(60))).expect("it is a socket");
    instance.set_service_manager(&socket);
    let manifest = instance.write_service("web", "");
    instance.up(&["-f", text(&manifest)]);
    assert_eq!(receive(&manager), format!("READY=1\nMAINPID={}\n", instance.pid()));

    // Replicas do not get the socket: their notifications would count as Homeostat's.
    let replicas = instance.wait_for_ready("web", 1);
    let replica = pid_of(replicas.values().next().expect("there is one"));
    let path = format!("/proc/{}/environ", replica.as_raw_nonzero());
    let environment = fs::read(path).expect("it runs");
    assert!(!String::from_utf8_lossy(&environment).contains("NOTIFY_SOCKET"));

    // The predecessor announces the successor, which also announces itself.
    instance.take_over(&["--linger", "1s"]);
    let mut received = [receive(&manager), receive(&manager)];
    received.sort();
    let next = instance.pid();
    assert_eq!(received, [format!("MAINPID={next}\n"), format!("READY=1\nMAINPID={next}\n")]);
    instance.wait_until_left();
    instance.end(Signal::TERM);
    assert_eq!(receive(&manager), "STOPPING=1\n", "and nothing in between: {}", instance.log());
}
