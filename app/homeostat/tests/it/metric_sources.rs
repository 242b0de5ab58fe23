//! Services that are scaled by metrics from external sources.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde_json::Value;

use crate::instance::{Instance, text, wait_until};
use crate::prometheus::Prometheus;

/// Scales by a queue outside, ten jobs for each replica, without waiting for it to stay so.
const BY_QUEUE: &str = "  scale:
    min: 1
    max: 6
    behavior: {scaleDown: {stabilizationWindowSeconds: 0}}
    metrics:
      - type: External
        external:
          metric: {name: queue_length, selector: {matchLabels: {queue: mail}}}
          target: {type: AverageValue, averageValue: 10}
";

/// A source of the queue's length; `from` is where it comes from.
fn write_source(instance: &Instance, metric: &str, from: &str) -> String {
    let name = metric.replace('_', "-");
    let manifest = format!(
        "apiVersion: homeostat/v1\nkind: MetricSource\nmetadata: {{name: {name}}}\nspec:\n  metric: {metric}\n  \
         from: {from}\n  every: 250ms\n  timeout: 2s\n"
    );
    text(&instance.write(&format!("{name}.yaml"), &manifest)).to_owned()
}

/// Answers every connection with `answer`, on a thread of its own that ends with the process.
pub(crate) fn serve(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || {
                let mut request = [0; 4096];
                let _ = socket.read(&mut request);
                answer(socket);
            });
        }
    });
    port
}

pub(crate) fn page(mut socket: TcpStream, media: &str, body: &str) {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {media}\r\nconnection: close\r\n");
    let _ = write!(socket, "{head}content-length: {}\r\n\r\n{body}", body.len());
}

/// A page of metrics with a queue of so many jobs.
fn serve_queue(length: &Arc<AtomicU64>) -> u16 {
    let length = Arc::clone(length);
    serve(move |socket| {
        let jobs = length.load(Ordering::SeqCst);
        let body = format!(
            "# TYPE jobs_waiting gauge\njobs_waiting{{queue=\"mail\"}} {jobs}\njobs_waiting{{queue=\"print\"}} 900\n"
        );
        page(socket, "text/plain; version=0.0.4", &body);
    })
}

fn source(instance: &Instance, name: &str) -> Value {
    instance.query(&["get", &format!("metricsource/{name}")])["status"].clone()
}

#[test]
fn a_service_follows_a_query_to_a_real_prometheus() {
    let mut instance = Instance::new();
    let length = Arc::new(AtomicU64::new(35));
    let prometheus = Prometheus::reading(&instance, serve_queue(&length));
    let manifest = instance.write_service("worker", BY_QUEUE);
    let url = prometheus.url();
    let from = format!("{{prometheus: {{url: {url:?}, query: sum by (queue) (jobs_waiting)}}}}");
    let queue = write_source(&instance, "queue_length", &from);
    instance.up(&["-f", text(&manifest), "-f", &queue]);

    // Of the two queues only the one that is selected counts: it would be six otherwise.
    instance.wait_for_ready("worker", 4);
    let output = instance.run(&["explain", "service/worker"]).out;
    assert!(output.contains("from 1 to 4: queue_length at 35, target 10"), "{output}");
    let described = instance.run(&["describe", "metricsource/queue-length"]).out;
    for part in ["queue=mail", "35", "queue=print", "900", "services scaled by it: worker"] {
        assert!(described.contains(part), "{part} is missing in {described}");
    }

    length.store(5, Ordering::SeqCst);
    instance.wait_for_ready("worker", 1);

    // The source does not respond: the size does not change, and the reason is reported.
    length.store(75, Ordering::SeqCst);
    instance.wait_for_ready("worker", 6);
    drop(prometheus);
    let why = wait_until("the measurement is too old", || {
        let output = instance.run(&["explain", "service/worker"]).out;
        output.contains("reading it failed").then_some(output)
    });
    assert!(why.contains("could not connect to 127.0.0.1"), "{why}");
    instance.wait_for_ready("worker", 6);
}

#[test]
fn sources_that_hang_or_send_invalid_data_scale_nothing_and_are_reported() {
    let mut instance = Instance::new();
    let mut manifests = vec![text(&instance.write_service("worker", BY_QUEUE)).to_owned()];
    let hangs = serve(|mut socket| {
        // Waits until the client closes.
        let _ = socket.read(&mut [0; 1]);
    });
    let lies = serve(|socket| page(socket, "text/html", "<html><body>502</body></html>"));
    let endless = serve(|mut socket| {
        let mut written = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n");
        while written.is_ok() {
            written = socket.write_all(&[b' '; 64 * 1024]);
        }
    });
    let no_number = serve(|socket| page(socket, "application/json", "{\"length\": \"NaN\"}"));
    let wrong = [
        ("queue_length", hangs, "did not answer within 2s"),
        ("lies", lies, "is not JSON (text/html)"),
        ("endless", endless, "longer than 4194304 bytes"),
        ("no_number", no_number, "NaN is not a number"),
    ];
    for (metric, port, _) in wrong {
        let from = format!("{{http: {{url: \"http://127.0.0.1:{port}/\", value: $.length}}}}");
        manifests.push(write_source(&instance, metric, &from));
    }
    let arguments: Vec<&str> = manifests.iter().flat_map(|manifest| ["-f", manifest]).collect();
    instance.up(&arguments);
    instance.wait_for_ready("worker", 1);
    for (metric, _, why) in wrong {
        let result = wait_until("the reason is reported", || {
            source(&instance, &metric.replace('_', "-"))["lastError"].as_str().map(str::to_owned)
        });
        assert!(result.contains(why), "{metric}: {result}");
    }
    wait_until("the decision has the reason", || {
        let output = instance.run(&["explain", "service/worker"]).out;
        output.contains("queue_length gives no number, because reading it failed").then_some(())
    });
    assert_eq!(instance.replicas("worker").len(), 1);
}

#[test]
fn a_service_scales_by_a_metric_of_its_replicas_and_keeps_its_size_over_a_crash() {
    let mut instance = Instance::new();
    let manifest = instance.write_service(
        "worker",
        "  scale:\n    min: 1\n    max: 3\n    metrics:\n      - type: Pods\n        pods: {metric: {name: jobs}, \
         target: {type: AverageValue, averageValue: 10}}\n",
    );
    let from = "{replicas: {service: worker, series: jobs_running}}";
    let jobs = write_source(&instance, "jobs", from);
    instance.up(&["-f", text(&manifest), "-f", &jobs]);
    // Each replica reports 20.
    instance.wait_for_ready("worker", 3);
    let described = wait_until("all three are scraped", || {
        let described = instance.run(&["describe", "metricsource/jobs"]).out;
        described.contains("worker-2").then_some(described)
    });
    assert!(described.contains("worker-0") && described.contains("Measured"), "{described}");

    instance.end(rustix::process::Signal::KILL);
    instance.up(&[]);
    wait_until("it measures again", || (source(&instance, "jobs")["series"] == 3).then_some(()));
    instance.wait_for_ready("worker", 3);
    let needed = instance.run(&["delete", "service/worker"]);
    assert!(needed.err.contains("MetricSource/jobs needs it"), "{needed:?}");
    assert_eq!(instance.run(&["delete", "metricsource/jobs"]).code, Some(0));
    wait_until("the loop reports the missing source", || {
        instance.run(&["explain", "service/worker"]).out.contains("no source measures it").then_some(())
    });
}

const QUEUE_REDIS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/scaling/queue-redis/service.yaml");

#[test]
fn workers_scale_with_a_queue_in_a_real_redis_and_stay_when_it_is_killed() {
    let mut instance = Instance::new();
    // The manifest of the example, with a free port, workers that take no jobs, and a Redis without persistence.
    let port = ports::free().to_string();
    let manifest = fs::read_to_string(QUEUE_REDIS).expect("the example");
    let manifest = manifest.replace("6390", &port).replace("BLPOP mails", "BLPOP nothing");
    // Setting a process title would overwrite the mark by which the instance finds its processes.
    let manifest = manifest.replace("--save", "--set-proc-title, \"no\", --save");
    let manifest =
        manifest.replace("run: {command:", &format!("run: {{env: {{{}}}, command:", instance.mark()));
    let manifest = manifest.replace("stabilizationWindowSeconds: 30", "stabilizationWindowSeconds: 0");
    instance.up(&["-f", text(&instance.write("service.yaml", &manifest))]);
    instance.wait_for_ready("worker", 1);
    let redis = |command: &[&str]| {
        let done = Command::new("redis-cli").args(["-e", "-p", &port]).args(command).output();
        assert!(done.expect("redis-cli is installed; `cargo xtask test` sees to it").status.success());
    };

    let mails: Vec<String> = (0..70).map(|mail| mail.to_string()).collect();
    let mails: Vec<&str> = mails.iter().map(String::as_str).collect();
    redis(&[&["RPUSH", "mails"], mails.as_slice()].concat());
    instance.wait_for_ready("worker", 4);
    let output = instance.run(&["explain", "service/worker"]).out;
    assert!(
        output.contains("from 1 to 4: mails_waiting at 70, target 20: 70 shared by 1 replica"),
        "{output}"
    );
    assert_eq!(source(&instance, "mails")["value"], 70.0);
    redis(&["DEL", "mails"]);
    instance.wait_for_ready("worker", 1);

    // Somebody else has the key: it is no queue any more. Nothing is known of its length, which is not zero.
    redis(&[&["RPUSH", "mails"], mails.as_slice()].concat());
    instance.wait_for_ready("worker", 4);
    redis(&["SET", "mails", "many"]);
    let why = wait_until("the measurement is too old", || {
        let output = instance.run(&["explain", "service/worker"]).out;
        output.contains("reading it failed").then_some(output)
    });
    assert!(why.contains("WRONGTYPE"), "{why}");
    assert_eq!(instance.replicas("worker").len(), 4);
}

#[test]
fn the_replica_with_the_lowest_removal_cost_is_removed_first() {
    let mut instance = Instance::new();
    let scale =
        |replicas: u32| format!("  scale: {{replicas: {replicas}, remove: {{cheapest: sessions}}}}\n");
    let manifest = instance.write_service("worker", &scale(3));
    let sessions = write_source(&instance, "sessions", "{replicas: {service: worker}}");
    instance.up(&["-f", text(&manifest), "-f", &sessions]);
    let all = instance.wait_for_ready("worker", 3);
    wait_until("all three are scraped", || (source(&instance, "sessions")["series"] == 3).then_some(()));
    // Each replica reports its process id.
    let (cheapest, _) = all.iter().min_by_key(|(_, status)| status["pid"].as_i64()).expect("there are three");

    assert_eq!(
        instance.run(&["apply", "-f", text(&instance.write_service("worker", &scale(2)))]).code,
        Some(0)
    );
    let left = instance.wait_for_ready("worker", 2);
    assert!(!left.contains_key(cheapest), "{cheapest} is left of {left:?}");
    let output = instance.run(&["events", "service/worker"]).out;
    assert!(output.contains("those with the least sessions are removed first"), "{output}");
    let described = instance.run(&["describe", "metricsource/sessions"]).out;
    assert!(described.contains("services scaled by it: worker"), "{described}");
}

#[test]
fn a_replica_that_reports_protection_is_not_removed() {
    let mut instance = Instance::new();
    let scale = |replicas: u32, more: &str| format!("  scale: {{replicas: {replicas}{more}}}\n");
    let needed = ", protect: sessions";
    let manifest = instance.write_service("worker", &scale(2, needed));
    let sessions = write_source(&instance, "sessions", "{replicas: {service: worker}}");
    instance.up(&["-f", text(&manifest), "-f", &sessions]);
    instance.wait_for_ready("worker", 2);
    // Each replica reports its process id.
    wait_until("both are scraped", || (source(&instance, "sessions")["series"] == 2).then_some(()));

    assert_eq!(
        instance.run(&["apply", "-f", text(&instance.write_service("worker", &scale(1, needed)))]).code,
        Some(0)
    );
    let output = wait_until("the reason is reported", || {
        let output = instance.run(&["explain", "service/worker"]).out;
        output.contains("it is not removed while its metric sessions is above 0").then_some(output)
    });
    assert_eq!(instance.replicas("worker").len(), 2, "{output}");
    assert_eq!(
        instance.run(&["apply", "-f", text(&instance.write_service("worker", &scale(1, "")))]).code,
        Some(0)
    );
    instance.wait_for_ready("worker", 1);
}
