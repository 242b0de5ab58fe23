//! External endpoints beside the replicas of `homeostat up`, and the preferred zone.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::instance::{Instance, get, text, wait_until};
use crate::replica;

/// Answers every request with its name, one for each connection, until the tests end.
fn other(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the system gives a port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || answer(&stream.expect("it goes on"), name));
        }
    });
    address
}

fn answer(mut stream: &TcpStream, name: &str) {
    let mut lines = BufReader::new(stream).lines();
    while let Some(Ok(line)) = lines.next() {
        if line.is_empty() {
            let head =
                format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", name.len());
            // The client may have disconnected.
            let _ = stream.write_all(format!("{head}{name}").as_bytes());
            return;
        }
    }
}

/// A service `web` whose replica N is not ready while the file `ill-N` exists.
fn manifest(instance: &Instance, port: u16, scale: &str, more: &str) -> std::path::PathBuf {
    let program = std::env::current_exe().expect("this program has a path");
    let arguments: Vec<String> = replica::ARGUMENTS.iter().map(|argument| format!("{argument:?}")).collect();
    let text = format!(
        "apiVersion: homeostat/v1\nkind: Service\nmetadata: {{name: web}}\nspec:\n  run:\n    \
         command: [{:?}, {}]\n    env: {{{}: \"$(PORT_HTTP)\", {}}}\n  ports: [{{name: http}}]\n  \
         probes: {{readiness: {{command: [sh, -c, \"test ! -e ill-${{HOMEOSTAT_REPLICA#web-}}\"], every: 100ms, failures: 1}}}}\n  \
         scale: {scale}\n  \
         expose:\n    listen: 127.0.0.1:{port}\n    port: http\n{more}",
        program.display().to_string(),
        arguments.join(", "),
        replica::PORT,
        instance.mark(),
    );
    instance.write("web.yaml", &text)
}

/// How many of so many requests were answered elsewhere; every one is answered.
fn elsewhere(port: u16, requests: usize) -> usize {
    let url = format!("http://127.0.0.1:{port}/");
    let answer = |_| get(&url).expect("every request is answered");
    (0..requests).map(answer).filter(|answer| answer == "elsewhere").count()
}

fn endpoints(instance: &Instance) -> Vec<Value> {
    let service = instance.query(&["get", "service/web"]);
    service["status"]["endpoints"].as_array().expect("it has some").clone()
}

#[test]
fn requests_prefer_their_zone_spill_over_and_use_external_endpoints_without_replicas() {
    let (mut instance, port) = (Instance::new(), ports::free());
    let (other, dead) = (other("elsewhere"), ports::free());
    let more = format!(
        "    trafficDistribution: PreferSameZone\n    endpoints:\n      - {{address: \"{other}\", zone: b, weight: 2}}\n      \
         - {{address: \"127.0.0.1:{dead}\", zone: b}}\n"
    );
    let file = manifest(&instance, port, "{replicas: 4}", &more);
    instance.up(&["-f", text(&file), "--zone", "a"]);
    instance.wait_for_ready("web", 4);
    wait_until("the proxy has all of them", || (elsewhere(port, 20) == 0).then_some(()));

    let ready = |ready: u64| {
        wait_until("the probes have failed", || {
            let status = instance.query(&["get", "service/web"])["status"].clone();
            (status["readyReplicas"] == ready).then_some(status)
        })
    };
    instance.write("ill-0", "");
    instance.write("ill-1", "");
    let status = ready(2);
    assert_eq!(status["zone"], serde_json::json!({"name": "a", "share": 0.7}));
    let spilled = elsewhere(port, 400);
    assert!((70..170).contains(&spilled), "{spilled} of 400, where 30 % are to leave");

    // Requests to external endpoints are not load of the replicas, and the dead endpoint is ejected by its failures.
    let described = wait_until("the dead one is ejected", || {
        elsewhere(port, 20);
        let described = instance.run(&["describe", "service/web"]).out;
        described.contains("requests to it kept failing, 5 in a row").then_some(described)
    });
    let line = |address: &str| {
        let found = described.lines().find(|line| line.starts_with(address));
        found.unwrap_or_else(|| panic!("{address} in {described}")).to_owned()
    };
    assert!(line(&format!("127.0.0.1:{dead} ")).contains("Ejected"), "{described}");
    assert!(line(&format!("{other} ")).contains("Serving"), "{described}");
    assert!(described.contains("70.00 % of the requests stay in zone a"), "{described}");
    let listed = instance.run(&["get", "service/web"]).out;
    assert!(listed.contains("ELSEWHERE") && listed.contains("Ejected"), "{listed}");
    let (status, metrics) = instance.get_api("/metrics");
    assert_eq!(status, 200);
    let ejected =
        format!("homeostat_endpoint_ejected{{service=\"web\",endpoint=\"127.0.0.1:{dead}\",zone=\"b\"}} 1");
    assert!(metrics.contains(&ejected), "{metrics}");

    std::fs::remove_file(instance.path("ill-0")).expect("it was written");
    std::fs::remove_file(instance.path("ill-1")).expect("it was written");
    ready(4);
    wait_until("all requests stay in the zone again", || (elsewhere(port, 20) == 0).then_some(()));

    let none = manifest(&instance, port, "{replicas: 0}", &more);
    assert_eq!(instance.run(&["apply", "-f", text(&none)]).code, Some(0));
    wait_until("no replica is left", || instance.replicas("web").is_empty().then_some(()));
    assert_eq!(elsewhere(port, 20), 20);
    let known = endpoints(&instance);
    assert_eq!(known.iter().map(|it| &it["zone"]).collect::<Vec<_>>(), ["b", "b"]);
}

#[test]
fn requests_at_external_endpoints_do_not_scale_the_service() {
    let (mut instance, port) = (Instance::new(), ports::free());
    let other = other("elsewhere");
    let scale = "{min: 1, max: 5, metrics: [{type: Pods, pods: {metric: {name: http_requests_per_second}, \
                 target: {type: AverageValue, averageValue: 30}}}]}";
    let more = format!("    endpoints: [{{address: \"{other}\", weight: 256}}]\n    balance: weighted\n");
    let file = manifest(&instance, port, scale, &more);
    instance.up(&["-f", text(&file)]);
    instance.wait_for_ready("web", 1);
    // Counted as load of the replicas, they would cause a scale-out within a second.
    let began = os::since_boot();
    let mut sent = 0;
    while os::since_boot() - began < Duration::from_secs(4) {
        sent += 100;
        assert!(elsewhere(port, 100) >= 99);
    }
    let status = instance.query(&["get", "service/web"])["status"].clone();
    assert_eq!(status["desiredReplicas"], 1, "after {sent} requests: {status}");
    let answered = endpoints(&instance)[0]["responses"]["2xx"].as_u64().expect("it is counted");
    assert!((sent - sent / 100..=sent).contains(&answered), "{answered} of {sent}");
    let rate = status["traffic"]["requestsPerSecond"].as_f64().expect("it is measured");
    assert!(rate < 30.0, "{rate}");
}
