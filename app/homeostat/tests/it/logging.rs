//! Requests that are logged, over a service's own listener and over a route.

use std::fs;

use serde_json::Value;

use crate::instance::{Instance, get, text, wait_until};

#[test]
fn requests_are_logged_to_the_declared_file() {
    let mut instance = Instance::new();
    let (own, shared) = (ports::free(), ports::free());
    let expose =
        format!("  expose: {{listen: \"127.0.0.1:{own}\", port: http, accessLog: {{file: own.log}}}}\n");
    let service = instance.write_service("web", &expose);
    let route = instance.write(
        "route.yaml",
        &format!(
            "apiVersion: homeostat/v1\nkind: Route\nmetadata: {{name: all}}\nspec:\n  listen: \"127.0.0.1:{shared}\"\n  \
             rules: [{{backendRefs: [{{name: web}}]}}]\n  accessLog: {{file: routes.log, format: combined}}\n"
        ),
    );
    instance.up(&["-f", text(&service), "-f", text(&route)]);
    instance.wait_for_ready("web", 1);
    let read = |name: &str| fs::read_to_string(instance.path(name)).unwrap_or_default();
    for port in [own, shared] {
        wait_until("it answers", || get(&format!("http://127.0.0.1:{port}/asked?by=us")).ok());
    }
    let line = wait_until("it is logged", || read("own.log").lines().last().map(str::to_owned));
    let line: Value = serde_json::from_str(&line).expect("it is JSON");
    assert_eq!((&line["path"], &line["status"]), (&Value::from("/asked?by=us"), &Value::from(200)), "{line}");
    assert_eq!((&line["replica"], &line["route"]), (&Value::from("web-0"), &Value::Null), "{line}");
    let combined = wait_until("it is logged", || read("routes.log").lines().last().map(str::to_owned));
    assert!(combined.contains("\"GET /asked?by=us HTTP/1.1\" 200 "), "{combined}");
    let (_, metrics) = instance.get_api("/metrics");
    let counted = |line: &&str| {
        line.starts_with("homeostat_access_log_lines_total") && line.contains("result=\"written\"")
    };
    assert_eq!(metrics.lines().filter(counted).count(), 2, "{metrics}");
}
