//! What a service manager is told, over a socket as systemd has it.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::process::Signal;

use crate::house::{House, pid_of, text};

/// What is told next.
fn hear(manager: &UnixDatagram) -> String {
    let mut said = [0; 256];
    let length = manager.recv(&mut said).expect("something is told");
    String::from_utf8_lossy(&said[..length]).into_owned()
}

#[test]
fn a_service_manager_hears_when_it_serves_who_follows_and_when_it_stops() {
    let mut house = House::new();
    let socket = house.path("manager.sock");
    let manager = UnixDatagram::bind(&socket).expect("the folder is ours");
    manager.set_read_timeout(Some(Duration::from_secs(60))).expect("it is a socket");
    house.have_manager(&socket);
    let manifest = house.write_service("web", "");
    house.up(&["-f", text(&manifest)]);
    assert_eq!(hear(&manager), format!("READY=1\nMAINPID={}\n", house.pid()));

    // It is ours alone: a replica that spoke there would speak for all.
    let replicas = house.wait_for_ready("web", 1);
    let replica = pid_of(replicas.values().next().expect("there is one"));
    let path = format!("/proc/{}/environ", replica.as_raw_nonzero());
    let environment = fs::read(path).expect("it runs");
    assert!(!String::from_utf8_lossy(&environment).contains("NOTIFY_SOCKET"));

    // The one before names the next one, which speaks for itself as well.
    house.take_over(&["--linger", "1s"]);
    let mut heard = [hear(&manager), hear(&manager)];
    heard.sort();
    let next = house.pid();
    assert_eq!(heard, [format!("MAINPID={next}\n"), format!("READY=1\nMAINPID={next}\n")]);
    house.wait_until_left();
    house.end(Signal::TERM);
    assert_eq!(hear(&manager), "STOPPING=1\n", "and nothing was told in between: {}", house.log());
}
