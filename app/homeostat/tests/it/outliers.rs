//! A replica whose probes succeed, but which is far slower than the others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::instance::{Instance, get, text, wait_until};

#[test]
fn a_slow_replica_is_ejected_and_the_reason_is_shown() {
    let mut instance = Instance::new();
    let port = ports::free();
    let more = format!(
        "  scale: {{replicas: 3}}\n  expose:\n    {{listen: \"127.0.0.1:{port}\", port: http, balance: roundRobin,\n    \
         outliers: {{ejection: 1m, slow: {{window: 1s, atLeast: 30ms, answers: 5}}}}}}\n"
    );
    let manifest = instance.write_service("web", &more);
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 3);
    let url = format!("http://127.0.0.1:{port}/uneven");
    wait_until("it is in the traffic", || get(&url).ok());
    let is_over = AtomicBool::new(false);
    let described = thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    assert_eq!(get(&url).expect("every request is answered"), "done");
                }
            });
        }
        let found = wait_until("the slow one is ejected", || {
            let described = instance.run(&["describe", "service/web"]).out;
            described.contains("it was slow, with half of its answers taking").then_some(described)
        });
        is_over.store(true, Ordering::Relaxed);
        found
    });
    let line = described.lines().find(|line| line.contains("it was slow")).expect("it was there");
    assert!(line.starts_with("web-1") && line.contains("Ejected"), "{line}");
    assert!(line.ends_with("ejection 1 of this replica"), "{line}");
    assert_eq!(described.matches("Ejected").count(), 1, "{described}");
    let ejected = wait_until("an event says so", || {
        let events = instance.run(&["events", "service/web"]).out;
        events.lines().find(|line| line.contains("Ejected")).map(str::to_owned)
    });
    assert!(ejected.contains("web-1") && ejected.contains("; it gets no requests until"), "{ejected}");
    let page = instance.run(&["top", "service/web", "--traffic"]).out;
    let line = |name: &str| page.lines().find(|line| line.starts_with(name)).expect("it has a line");
    assert!(line("web generation 1").contains("3 replicas serving"), "{page}");
    assert!(line("web-1").contains("Ejected: it was slow"), "{page}");
}
