//! Hedging: a request that hangs at one replica is answered by another.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use crate::instance::{Instance, get, pid_of, text, wait_until};

#[test]
fn a_request_to_a_stalled_replica_is_hedged_to_another() {
    let mut instance = Instance::new();
    let port = ports::free();
    // No probe makes the replica unready during the test.
    let more = format!(
        "  scale: {{replicas: 2}}\n  expose: {{listen: \"127.0.0.1:{port}\", port: http, balance: roundRobin, hedge: {{after: 20ms}}}}\n"
    );
    let manifest = instance.write_service("web", &more);
    let probed = fs::read_to_string(&manifest).expect("it was written");
    let patient = probed.replace("timeout: 5s", "timeout: 60s");
    assert_ne!(patient, probed);
    fs::write(&manifest, patient).expect("the folder is writable");
    instance.up(&["-f", text(&manifest)]);
    let replicas = instance.wait_for_ready("web", 2);
    let pids = ["web-0", "web-1"].map(|name| pid_of(&replicas[name]));
    let url = format!("http://127.0.0.1:{port}/");
    wait_until("both are in the traffic", || {
        let answers = [(); 2].map(|()| get(&url).unwrap_or_default());
        (answers[0] != answers[1]).then_some(())
    });

    let first = Halted::new(pids[0]);
    let other = pids[1].as_raw_nonzero().to_string();
    for _ in 0..4 {
        assert_eq!(get(&url).expect("the other answers"), other);
    }
    let proxied = instance.query(&["get", "service/web"])["status"]["proxy"].clone();
    let counts = ["hedges", "hedgesWon"].map(|field| proxied[field].as_u64().expect("a count"));
    assert!(counts[0] >= counts[1] && counts[1] >= 1, "{proxied}");
    let described = instance.run(&["describe", "service/web"]).out;
    let line = format!("also sent to a second replica: {}, which answered first: {}", counts[0], counts[1]);
    assert!(described.contains(&line), "{described}");
    let (_, metrics) = instance.get_api("/metrics");
    let line = format!("homeostat_request_hedges_won_total{{service=\"web\"}} {}", counts[1]);
    assert!(metrics.contains(&line), "{metrics}");
    drop(first);
}

/// A stopped process, which goes on when this is dropped.
struct Halted(Pid);

impl Halted {
    /// The signal is only noticed by a thread when it gets a turn, and until then others of the process may answer.
    fn new(pid: Pid) -> Self {
        kill_process(pid, Signal::STOP).expect("it runs");
        let halted = Self(pid);
        wait_until("no thread of it runs", || halted.is_still().then_some(()));
        halted
    }

    fn is_still(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.0)).expect("it exists");
        threads.map(|thread| fs::read_to_string(thread.expect("it is read").path().join("stat"))).all(
            |stat| {
                // The name comes before the state, in brackets, and may hold any sign.
                stat.is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
            },
        )
    }
}

impl Drop for Halted {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}
