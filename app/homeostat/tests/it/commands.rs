//! The commands against a running Homeostat.

use std::fs::File;
use std::io::Write;
use std::net::TcpStream;
use std::process::Child;

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::instance::{Instance, get, pid_of, text, wait_until};

#[test]
fn a_service_is_applied_scaled_by_hand_and_deleted() {
    let mut instance = Instance::new();
    instance.up(&[]);
    let manifest = instance.write_service("web", "  scale: {replicas: 1}\n");
    let apply = |more: &[&str]| instance.run(&[&["apply", "-f", text(&manifest)], more].concat()).out;

    assert_eq!(apply(&["--dry-run"]), "service/web created (dry run)\n");
    assert_eq!(
        instance.query(&["get", "services"])["items"],
        Value::Array(Vec::new()),
        "a dry run keeps nothing"
    );
    assert_eq!(instance.run(&["diff", "-f", text(&manifest)]).code, Some(1));
    assert_eq!(apply(&[]), "service/web created\n");
    assert_eq!(apply(&[]), "service/web unchanged\n");
    assert_eq!(instance.run(&["diff", "-f", text(&manifest)]).code, Some(0));
    instance.wait_for_ready("web", 1);

    let held = instance.query(&["scale", "service/web", "--replicas", "3", "--for", "10m"]);
    assert_eq!((&held["target"], &held["hold"]["replicas"]), (&"service/web".into(), &3.into()));
    instance.wait_for_ready("web", 3);
    let explanation = instance.query(&["explain", "service/web"]);
    assert_eq!(
        (&explanation["desired"], &explanation["policy"]),
        (&3.into(), &"hold".into()),
        "{explanation}"
    );
    instance.query(&["scale", "service/web", "--auto"]);
    instance.wait_for_ready("web", 1);

    assert_eq!(instance.run(&["delete", "service/web"]).out, "service/web deleted\n");
    wait_until("it is gone", || (instance.run(&["get", "service/web"]).code == Some(1)).then_some(()));
    assert_eq!(instance.replicas("web").len(), 0);
}

/// Sends a request that is never answered, and returns once a replica has it.
fn hold(instance: &Instance, service: &str, address: &str) -> TcpStream {
    let mut held = wait_until("the proxy listens", || TcpStream::connect(address).ok());
    held.write_all(b"GET /hold HTTP/1.1\r\nHost: web\r\n\r\n").expect("it listens");
    wait_until("a replica has the request", || {
        (instance.query(&["get", service])["status"]["traffic"]["inFlight"] == 1).then_some(())
    });
    held
}

#[test]
fn a_deleted_replica_stops_only_after_its_last_request() {
    let mut instance = Instance::new();
    let address = format!("127.0.0.1:{}", ports::free());
    let more = format!(
        "  scale: {{replicas: 2}}\n  stop: {{drain: 1h}}\n  expose: {{listen: {address:?}, port: http}}\n"
    );
    let manifest = instance.write_service("web", &more);
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 2);
    let held = hold(&instance, "service/web", &address);

    assert_eq!(instance.run(&["delete", "service/web"]).code, Some(0));

    wait_until("connections are refused", || TcpStream::connect(&address).is_err().then_some(()));
    wait_until("the one with nothing to answer is gone", || {
        (instance.replicas("web").len() == 1).then_some(())
    });
    let result = instance.run(&["events", "service/web"]).out;
    assert!(result.contains("it has answered its last request") && !result.contains("open"), "{result}");
    drop(held);
    wait_until("it is gone", || (instance.run(&["get", "service/web"]).code == Some(1)).then_some(()));
}

#[test]
fn declaring_a_deleted_service_again_waits_for_its_requests_in_flight() {
    let mut instance = Instance::new();
    let address = format!("127.0.0.1:{}", ports::free());
    let more = format!("  stop: {{drain: 1h}}\n  expose: {{listen: {address:?}, port: http}}\n");
    let manifest = instance.write_service("web", &more);
    instance.up(&["-f", text(&manifest)]);
    let before = pid_of(&instance.wait_for_ready("web", 1)["web-0"]);
    let held = hold(&instance, "service/web", &address);

    assert_eq!(instance.run(&["delete", "service/web"]).code, Some(0));
    assert_eq!(instance.run(&["apply", "-f", text(&manifest)]).code, Some(0));

    let url = format!("http://{address}/");
    let answered = wait_until("another one answers", || get(&url).ok());
    assert_ne!(answered, before.as_raw_nonzero().to_string());
    wait_until("it is counted", || {
        get(&url).expect("it answers");
        instance.query(&["get", "replica/web-1"])["status"]["traffic"]["requestsPerSecond"]
            .as_f64()
            .filter(|rate| *rate > 0.0)
    });
    let result = instance.run(&["events", "service/web"]).out;
    assert!(result.contains("Draining") && !result.contains("Stopping"), "{result}");
    drop(held);
    wait_until("the one before is gone", || (!instance.replicas("web").contains_key("web-0")).then_some(()));
}

#[test]
fn a_deleted_service_is_shown_as_terminating_until_its_last_replica_is_gone() {
    let mut instance = Instance::new();
    let address = format!("127.0.0.1:{}", ports::free());
    let more = format!("  stop: {{drain: 1h}}\n  expose: {{listen: {address:?}, port: http}}\n");
    let manifest = instance.write_service("web", &more);
    instance.up(&["-f", text(&manifest)]);
    let pid = pid_of(&instance.wait_for_ready("web", 1)["web-0"]);
    // A request that is never answered keeps the replica draining.
    let _held = hold(&instance, "service/web", &address);

    assert_eq!(instance.run(&["delete", "service/web"]).code, Some(0));
    let service = instance.query(&["get", "service/web"]);
    let first = &service["status"]["conditions"][0];
    assert_eq!(
        (&first["type"], &first["status"], &service["status"]["desiredReplicas"]),
        (&"Terminating".into(), &"True".into(), &0.into()),
        "{service}"
    );
    assert_eq!(service["spec"]["stop"]["drain"], "1h", "{service}");
    assert_eq!(instance.query(&["get", "services"])["items"][0]["metadata"]["name"], "web");
    for verb in [&["get", "services"][..], &["describe", "service/web"], &["top"]] {
        let result = instance.run(verb);
        assert!(result.code == Some(0) && result.out.contains("Terminating"), "{result:?}");
    }
    assert_eq!(instance.run(&["diff", "-f", text(&manifest)]).out, "+ service/web is new\n");

    kill_process(pid, Signal::KILL).expect("it still runs");
    wait_until("it is gone", || (instance.run(&["get", "service/web"]).code == Some(1)).then_some(()));
    assert_eq!(instance.query(&["get", "services"])["items"], Value::Array(Vec::new()));
}

#[test]
fn resources_are_deleted_in_the_order_of_their_dependencies() {
    let mut instance = Instance::new();
    let manifests = [("base", ""), ("web", "  dependsOn: [{service: base}]\n")];
    let [base, web] = manifests.map(|(name, more)| instance.write_service(name, more));
    instance.up(&["-f", text(&base), "-f", text(&web)]);
    let alone = instance.run(&["delete", "service/base"]);
    assert!(alone.code == Some(1) && alone.err.contains("Service/web needs it"), "{alone:?}");
    let both = instance.run(&["delete", "service/base", "service/web"]);
    assert_eq!((both.code, &*both.out), (Some(0), "service/web deleted\nservice/base deleted\n"), "{both:?}");
}

#[test]
fn errors_are_counted_for_the_service_and_for_its_replicas() {
    let mut instance = Instance::new();
    let address = format!("127.0.0.1:{}", ports::free());
    let more = format!("  expose: {{listen: {address:?}, port: http}}\n");
    let manifest = instance.write_service("web", &more);
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 1);
    wait_until("the proxy answers", || get(&format!("http://{address}/")).ok());
    let errors = |what: &str| instance.query(&["get", what])["status"]["traffic"]["errorsPerSecond"].as_f64();
    wait_until("an answer is no error", || (errors("service/web") == Some(0.0)).then_some(()));

    // Every check follows a failure, so the failure is never too old to be counted.
    wait_until("failures are seen of both", || {
        get(&format!("http://{address}/fail")).expect_err("it answers 500");
        let is_seen = |what: &str| errors(what).is_some_and(|rate| rate > 0.0);
        (is_seen("service/web") && is_seen("replica/web-0")).then_some(())
    });
    let frame = instance.run(&["top"]).out;
    assert_eq!(frame.matches("ERR/S").count(), 2, "{frame}");
}

#[test]
fn json_output_has_the_documented_fields() {
    let mut instance = Instance::new();
    let manifest = instance.write_service("web", "");
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 1);

    let service = instance.query(&["get", "service/web"]);
    for pointer in [
        "/apiVersion",
        "/kind",
        "/metadata/name",
        "/spec/run/command",
        "/status/desiredReplicas",
        "/status/replicas",
        "/status/readyReplicas",
        "/status/conditions/0/type",
        "/status/conditions/0/status",
        "/status/conditions/0/reason",
        "/status/conditions/0/message",
        "/status/conditions/0/since",
    ] {
        assert!(service.pointer(pointer).is_some(), "{pointer} is missing in {service}");
    }
    let replica = instance.query(&["get", "replica/web-0"]);
    for field in ["service", "node", "pid", "ports", "phase", "ready", "restarts", "startedAt"] {
        assert!(!replica["status"][field].is_null(), "{field} is missing in {replica}");
    }
    let explanation = instance.query(&["explain", "service/web"]);
    for field in
        ["target", "at", "desired", "previous", "policy", "metrics", "limits", "guard", "reasons", "summary"]
    {
        assert!(explanation.get(field).is_some(), "{field} is missing in {explanation}");
    }
    let overview = instance.query(&["get"]);
    let kinds: Vec<&Value> =
        overview["items"].as_array().expect("a list").iter().map(|it| &it["kind"]).collect();
    assert_eq!(kinds, ["Service", "Replica"]);
}

#[test]
fn tables_logs_and_a_frame_of_top_are_printed() {
    let mut instance = Instance::new();
    let manifest = instance.write_service("web", "");
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 1);

    for (arguments, parts) in [
        (&["get"][..], &["NAME", "web", "web-0", "Running"][..]),
        (&["get", "nodes"], &["READY", "yes"]),
        (&["describe", "service/web"], &["conditions", "Available", "web-0", "the last decision"]),
        (&["explain", "web", "--why-not"], &["service/web"]),
        (&["events"], &["Starting", "replica/web-0", "Ready"]),
        (&["top"], &["homeostat at http://127.0.0.1:", "web-0"]),
        (&["get", "service/web", "-o", "yaml"], &["kind: Service", "readyReplicas: 1"]),
    ] {
        let result = instance.run(arguments);
        assert_eq!(result.code, Some(0), "{arguments:?}: {result:?}");
        assert!(!result.out.contains('\x1b'), "no colours where nobody looks: {result:?}");
        for part in parts {
            assert!(result.out.contains(part), "{arguments:?}: {part:?} is missing: {result:?}");
        }
    }
    let printed = wait_until("the log has the address", || {
        let result = instance.run(&["logs", "service/web"]);
        result.out.contains("serving on").then_some(result.out)
    });
    assert!(printed.lines().all(|line| line.starts_with("web-0 | ")), "{printed}");
    let absent = instance.run(&["logs", "service/absent"]);
    assert_eq!(absent.code, Some(1), "{absent:?}");
    assert!(absent.err.contains("could not find service/absent"), "{absent:?}");
}

#[test]
fn the_reason_why_a_replica_does_not_run_is_shown() {
    let mut instance = Instance::new();
    let manifest = instance.write(
        "bad.yaml",
        "apiVersion: homeostat/v1\nkind: Service\nmetadata: {name: bad}\nspec:\n  run: {command: [./no-such-program]}\n\
         ---\napiVersion: homeostat/v1\nkind: Service\nmetadata: {name: short}\nspec:\n  run: {command: [sh, -c, exit 3]}\n",
    );
    instance.up(&["-f", text(&manifest)]);
    for (replica, part) in
        [("replica/bad-0", "no-such-program does not exist"), ("replica/short-0", "code 3")]
    {
        wait_until(&format!("the log of {replica} has {part}"), || {
            let result = instance.run(&["get", replica]);
            (result.code == Some(0) && result.out.contains(part)).then_some(())
        });
    }
}

#[test]
fn events_of_an_unknown_service_are_refused_and_those_of_a_deleted_one_are_shown() {
    let mut instance = Instance::new();
    let manifest = instance.write_service("web", "");
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 1);
    let result = instance.run(&["events", "service/wed"]);
    assert!(result.code == Some(1) && result.err.contains("could not find service/wed"), "{result:?}");

    instance.run(&["delete", "service/web"]);
    wait_until("it is gone", || (instance.run(&["get", "service/web"]).code == Some(1)).then_some(()));
    let result = instance.run(&["events", "service/web"]);
    assert!(result.code == Some(0) && result.out.contains("Gone"), "{result:?}");
}

#[test]
fn watches_and_followed_logs_show_changes() {
    let mut instance = Instance::new();
    let manifest = instance.write_service("web", "  scale: {replicas: 1}\n");
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 1);
    let watches = [
        (&["get", "replicas", "-w", "-o", "json"][..], "\"web-1\""),
        (&["get", "replicas", "-w"], "web-1"),
        (&["get", "-w"], "web-1"),
        (&["get", "--watch", "-o", "json"], "\"desiredReplicas\":2"),
        (&["events", "-w"], "replica/web-1"),
        (&["events", "-w", "-o", "json"], "\"web-1\""),
        (&["logs", "-f", "replica/web-0"], "serving on"),
    ];
    let watchers = watches.map(|(arguments, part)| (arguments, part, Watcher::start(&instance, arguments)));

    instance.query(&["scale", "service/web", "--replicas", "2"]);

    for (arguments, part, watcher) in &watchers {
        wait_until(&format!("{arguments:?} shows {part}"), || {
            watcher.seen(&instance).contains(part).then_some(())
        });
    }
}

/// A command that goes on until it is dropped.
struct Watcher {
    command: Child,
    output: String,
}

impl Watcher {
    fn start(instance: &Instance, arguments: &[&str]) -> Self {
        let output = format!("{}.out", arguments.join("-").replace('/', "-"));
        let file = File::create(instance.path(&output)).expect("the folder is writable");
        let command = instance.command(arguments).stdout(file).spawn().expect("the binary was built");
        Self { command, output }
    }

    fn seen(&self, instance: &Instance) -> String {
        std::fs::read_to_string(instance.path(&self.output)).expect("it exists")
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Fails when it has ended already.
        let _ = self.command.kill();
        let _ = self.command.wait();
    }
}

#[test]
fn a_past_decision_is_explained_from_the_journal() {
    let mut instance = Instance::new();
    let manifest = instance.write_service("web", "  scale: {replicas: 1}\n");
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 1);
    let first = instance.query(&["explain", "service/web"]);
    let at = first["at"].as_str().expect("a time").to_owned();
    instance.query(&["scale", "service/web", "--replicas", "2"]);
    instance.wait_for_ready("web", 2);

    let then = instance.query(&["explain", "service/web", "--at", &at]);
    assert_eq!((&then["desired"], &then["at"]), (&1.into(), &first["at"]), "{then}");
    assert_eq!(instance.query(&["explain", "service/web"])["desired"], 2);
}

#[test]
fn schemas_and_completions_need_no_server() {
    let instance = Instance::new();
    let schema = instance.run(&["schema", "service"]).json();
    assert_eq!(schema["title"], "Service");
    assert!(instance.run(&["schema"]).json()["HorizontalPodAutoscaler"].is_object());
    for shell in ["bash", "zsh", "fish"] {
        let result = instance.run(&["completions", shell]);
        assert!(result.code == Some(0) && result.out.contains("homeostat"), "{shell}");
    }
    assert_eq!(instance.run(&["version"]).out, format!("homeostat {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_api_refuses_web_pages_of_other_origins() {
    let mut instance = Instance::new();
    instance.up(&[]);
    let log = instance.log();
    let address =
        log.split("api=").nth(1).and_then(|rest| rest.split(' ').next()).expect("the log has the address");
    assert_eq!(get(&format!("{address}/healthz")).expect("it answers"), "ok\n");
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let response = agent.get(format!("{address}/v1/services")).header("Origin", "http://evil.example").call();
    assert_eq!(response.expect("it answers").status(), 403);
}
