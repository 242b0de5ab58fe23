//! A Homeostat replaces another one on the same data folder, as for an upgrade.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::instance::{Instance, get, pid_of, text, wait_until};

/// An instance with two replicas of `web`, ready behind the address that is returned.
fn served() -> (Instance, String) {
    let mut instance = Instance::new();
    let address = format!("127.0.0.1:{}", ports::free());
    let more = format!("  scale: {{replicas: 2}}\n  expose: {{listen: \"{address}\", port: http}}\n");
    let manifest = instance.write_service("web", &more);
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 2);
    wait_until("the proxy answers", || get(&format!("http://{address}/")).ok());
    (instance, address)
}

/// A client that sends requests over new connections until it is stopped, and counts the answers.
struct Visitors {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    visitor: JoinHandle<Result<(), String>>,
}

impl Visitors {
    fn begin(address: &str) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count, address) = (Arc::clone(&stop), Arc::clone(&answered), address.to_owned());
        let visitor = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let mut stream = TcpStream::connect(&address).map_err(|error| format!("refused: {error}"))?;
                let answer = send_request(&mut stream, "close");
                if !answer.starts_with("HTTP/1.1 200 ") {
                    return Err(answer);
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        Self { stop, answered, visitor }
    }

    fn wait_for_more(&self) {
        let before = self.answered.load(Ordering::Relaxed);
        wait_until("more visitors are answered", || {
            (self.visitor.is_finished() || self.answered.load(Ordering::Relaxed) > before + 20).then_some(())
        });
    }

    fn assert_all_answered(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.visitor.join().expect("it does not panic").expect("every visitor is answered");
    }
}

/// Sends a request, and reads until the connection ends.
fn send_request(stream: &mut TcpStream, connection: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: web.example\r\nConnection: {connection}\r\n\r\n");
    let mut answer = String::new();
    match stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer)) {
        Ok(_) => answer,
        Err(error) => format!("broken off: {error} after {answer:?}"),
    }
}

/// Begins so many requests a second over kept connections.
fn begin_load(instance: &Instance, address: &str, seconds: u32) -> Child {
    let url = format!("http://{address}/");
    let duration = format!("{seconds}s");
    let mut load = instance.command(&["load", &url, "--rate", "100", "--duration", &duration, "-o", "json"]);
    load.stdout(Stdio::piped()).spawn().expect("the binary was built")
}

fn assert_none_failed(load: Child) {
    let ended = load.wait_with_output().expect("it is a child");
    let report: Value = serde_json::from_slice(&ended.stdout).expect("a report");
    assert_eq!(report["failed"].as_u64(), Some(0), "{report}");
    assert!(report["requests"].as_u64() > Some(500), "{report}");
}

#[test]
fn no_request_is_lost_during_repeated_takeovers() {
    let (mut instance, address) = served();
    let replicas = instance.wait_for_ready("web", 2);
    let load = begin_load(&instance, &address, 12);
    let visitors = Visitors::begin(&address);
    for _ in 0..3 {
        visitors.wait_for_more();
        // Open before, and silent until the other one serves.
        let mut idle = TcpStream::connect(&address).expect("it listens");
        instance.take_over(&["--linger", "30s"]);
        visitors.wait_for_more();
        let answer = send_request(&mut idle, "keep-alive");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        instance.wait_until_left();
    }
    visitors.wait_for_more();
    assert_none_failed(load);
    visitors.assert_all_answered();
    for (name, status) in instance.wait_for_ready("web", 2) {
        assert_eq!(status["pid"], replicas[&name]["pid"], "{name} is the same process");
        assert_eq!(status["restarts"], 0, "{status}");
    }
    assert_eq!(instance.end(Signal::INT).code(), Some(0), "{}", instance.log());
    assert!(TcpStream::connect(&address).is_err(), "nobody has the socket any more");
}

#[test]
fn a_successor_that_cannot_start_leaves_the_predecessor_serving_and_the_next_one_succeeds() {
    let (mut instance, address) = served();
    let replicas = instance.wait_for_ready("web", 2);
    let (load, visitors) = (begin_load(&instance, &address, 12), Visitors::begin(&address));
    let manifest = instance.write_service(
        "shop",
        "  expose: {listen: \"127.0.0.1:0\", port: http, tls: {certificates: [{certificate: none.pem, key: none.key}]}}\n",
    );
    let failed = instance.run(&[
        "up",
        "--data",
        "data",
        "--listen",
        "127.0.0.1:0",
        "--take-over",
        "-f",
        text(&manifest),
    ]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.err.contains("could not apply service/shop"), "{failed:?}");
    visitors.wait_for_more();
    wait_until("the first one is back", || {
        let log = instance.log();
        log.contains("successor_failed").then_some(())
    });
    assert!(instance.log().contains("it ended before it served"), "{}", instance.log());
    // Its API is the same one, and answers again.
    assert_eq!(instance.wait_for_ready("web", 2)["web-0"]["pid"], replicas["web-0"]["pid"]);
    visitors.wait_for_more();

    instance.take_over(&[]);
    visitors.wait_for_more();
    instance.wait_until_left();
    assert_none_failed(load);
    visitors.assert_all_answered();
    for (name, status) in instance.wait_for_ready("web", 2) {
        assert_eq!(
            (&status["pid"], &status["restarts"]),
            (&replicas[&name]["pid"], &Value::from(0)),
            "{name}"
        );
    }
}

#[test]
fn a_successor_that_dies_after_the_handover_leaves_the_predecessor_serving() {
    let (instance, address) = served();
    let replicas = instance.wait_for_ready("web", 2);
    let visitors = Visitors::begin(&address);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let found = succession::Predecessor::connect(&instance.path("data"), std::time::Duration::ZERO).await;
        let mut before = found.expect("the predecessor accepts connections").expect("one runs");
        let handover = before.receive().await.expect("it hands over");
        assert_eq!(handover.sockets.len(), 2, "that of the API, and that of the service: {handover:?}");
        assert_eq!(handover.serving["web"], 2);
    });
    // A replica that dies while no loop runs gets no more requests, and is replaced afterwards.
    kill_process(pid_of(&replicas["web-1"]), Signal::KILL).expect("it runs");
    let after = wait_until("the killed replica is replaced", || {
        let now = instance.wait_for_ready("web", 2);
        (now["web-1"]["pid"] != replicas["web-1"]["pid"]).then_some(now)
    });
    assert_eq!(after["web-0"]["pid"], replicas["web-0"]["pid"]);
    visitors.wait_for_more();
    visitors.assert_all_answered();
}

#[test]
fn a_signal_ends_a_process_whose_successor_does_not_read() {
    /// Their sockets are more than a Unix socket queues.
    const SERVICES: usize = 500;
    let mut instance = Instance::new();
    let service = |n| {
        format!(
            "---\napiVersion: homeostat/v1\nkind: Service\nmetadata: {{name: s{n}}}\nspec:\n  run: {{command: [x]}}\n  \
             ports: [{{name: http}}]\n  scale: {{replicas: 0}}\n  expose: {{listen: \"127.0.0.1:0\", port: http}}\n"
        )
    };
    let manifest = instance.write("many.yaml", &(0..SERVICES).map(service).collect::<String>());
    instance.up(&["-f", text(&manifest)]);
    wait_until("all services are exposed", || {
        (instance.log().matches(" exposed ").count() == SERVICES).then_some(())
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let data = instance.path("data");
    let connected = succession::Predecessor::connect(&data, std::time::Duration::ZERO);
    let silent = runtime.block_on(connected).expect("the predecessor accepts connections");
    wait_until("it hands over", || instance.log().contains("handing_over").then_some(()));
    assert_eq!(instance.end(Signal::TERM).code(), Some(0), "{}", instance.log());
    drop(silent);
}

/// An instance whose successor has received the handover and does not serve: the replicas, which are returned, answer no probe.
fn during_a_takeover() -> (Instance, Vec<Pid>) {
    let (mut instance, _) = served();
    let replicas: Vec<Pid> = instance.wait_for_ready("web", 2).values().map(pid_of).collect();
    signal_all(&replicas, Signal::STOP);
    instance.begin_take_over(&[]);
    wait_until("the successor has adopted the replicas", || {
        (instance.log().matches(" adopted ").count() == 2).then_some(())
    });
    (instance, replicas)
}

fn signal_all(processes: &[Pid], signal: Signal) {
    for process in processes {
        kill_process(*process, signal).expect("it runs");
    }
}

fn wait_until_logged(instance: &Instance, event: &str) {
    wait_until(event, || instance.log().contains(event).then_some(()));
}

#[test]
fn sigterm_to_the_old_process_during_a_takeover_stops_both_and_the_replicas() {
    let (mut instance, replicas) = during_a_takeover();
    kill_process(instance.before(), Signal::TERM).expect("it runs");
    wait_until_logged(&instance, "stopping_during_handover");
    signal_all(&replicas, Signal::CONT);
    instance.wait_until_left();
    assert_eq!(instance.ended().code(), Some(0), "{}", instance.log());
    assert!(instance.log().contains("takeover_cancelled"), "{}", instance.log());
    assert_eq!(instance.processes(), [], "{}", instance.log());
}

#[test]
fn a_second_signal_to_the_old_process_during_a_takeover_kills_a_successor_that_hangs() {
    let (mut instance, replicas) = during_a_takeover();
    instance.signal(Signal::STOP);
    kill_process(instance.before(), Signal::TERM).expect("it runs");
    wait_until_logged(&instance, "stopping_during_handover");
    kill_process(instance.before(), Signal::TERM).expect("it runs");
    signal_all(&replicas, Signal::CONT);
    assert_eq!(instance.ended().signal(), Some(Signal::KILL.as_raw()), "{}", instance.log());
    instance.wait_until_left();
    assert_eq!(instance.processes(), [], "{}", instance.log());
}

#[test]
fn sigterm_to_the_new_process_before_it_serves_leaves_the_old_one_serving() {
    let (mut instance, replicas) = during_a_takeover();
    assert_eq!(instance.end(Signal::TERM).code(), Some(0), "{}", instance.log());
    assert!(instance.log().contains("takeover_cancelled"), "{}", instance.log());
    signal_all(&replicas, Signal::CONT);
    instance.resume_before();
    let after: Vec<Pid> = instance.wait_for_ready("web", 2).values().map(pid_of).collect();
    assert_eq!(after, replicas);
    assert_eq!(instance.end(Signal::TERM).code(), Some(0), "{}", instance.log());
    assert_eq!(instance.processes(), [], "{}", instance.log());
}

#[test]
fn a_successor_whose_predecessor_is_killed_does_not_wait_for_all_replicas() {
    let (mut instance, replicas) = during_a_takeover();
    kill_process(instance.before(), Signal::KILL).expect("it runs");
    wait_until_logged(&instance, "predecessor_ended");
    instance.wait_until_up();
    signal_all(&replicas, Signal::CONT);
    instance.wait_for_ready("web", 2);
}

#[test]
fn a_successor_whose_predecessor_is_killed_before_the_handover_starts_by_itself() {
    let (mut instance, address) = served();
    let replicas: Vec<Pid> = instance.wait_for_ready("web", 2).values().map(pid_of).collect();
    // It does not answer the request of its successor.
    instance.signal(Signal::STOP);
    instance.begin_take_over(&[]);
    wait_until_logged(&instance, "taking_over");
    kill_process(instance.before(), Signal::KILL).expect("it runs");
    instance.wait_until_up();
    assert!(instance.log().contains("predecessor_ended"), "{}", instance.log());
    let adopted: Vec<Pid> = instance.wait_for_ready("web", 2).values().map(pid_of).collect();
    assert_eq!(adopted, replicas);
    wait_until("the proxy answers", || get(&format!("http://{address}/")).ok());
}

#[test]
fn a_takeover_without_a_predecessor_is_a_start_and_a_second_process_is_refused() {
    let (mut instance, address) = served();
    let refused = instance.run(&["up", "--data", "data", "--listen", "127.0.0.1:0"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("--take-over"), "it says what else could be done: {refused:?}");
    // As while another process takes over.
    std::fs::remove_file(instance.path("data/successor.sock")).expect("it listens there");
    let refused = instance.run(&["up", "--data", "data", "--listen", "127.0.0.1:0", "--take-over"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("try again in a moment"), "{refused:?}");
    instance.end(Signal::KILL);

    instance.up(&["--take-over"]);
    instance.wait_for_ready("web", 2);
    wait_until("the proxy answers", || get(&format!("http://{address}/")).ok());
}

fn wait_for_one(instance: &Instance) {
    wait_until("a request is under way", || {
        let now = instance.query(&["get", "service/web"])["status"]["traffic"]["inFlight"].as_u64();
        (now >= Some(1)).then_some(())
    });
}

#[test]
fn clients_beyond_the_linger_time_are_disconnected_and_a_signal_does_not_wait_for_them() {
    let (mut instance, address) = served();
    let hold = || {
        let mut stream = TcpStream::connect(&address).expect("it listens");
        stream.write_all(b"GET /hold HTTP/1.1\r\nHost: web.example\r\n\r\n").expect("it reads");
        stream
    };
    let held = hold();
    wait_for_one(&instance);
    instance.take_over(&["--linger", "100ms"]);
    instance.wait_until_left();
    assert!(instance.log().contains("connections_cut=1"), "{}", instance.log());
    drop(held);

    let held = hold();
    wait_for_one(&instance);
    instance.take_over(&["--linger", "1h"]);
    kill_process(instance.before(), Signal::TERM).expect("it runs");
    instance.wait_until_left();
    drop(held);
    assert_eq!(instance.wait_for_ready("web", 2).len(), 2, "the replicas are the other one's");
}
