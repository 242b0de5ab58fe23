//! Services that share a listener by routes, with curl as the client.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::instance::{Instance, pid_of, text, wait_until};
use crate::replica;

/// What curl printed: the answer's body, and behind it its status and where it leads.
fn curl(arguments: &[&str]) -> (String, u16, String) {
    let mut command = Command::new("curl");
    command.args(["-s", "--max-time", "60", "-w", "\n%{http_code} %{redirect_url}"]).args(arguments);
    let output = command.output().expect("the tests need curl");
    let result = String::from_utf8(output.stdout).expect("it is text");
    let (body, rest) = result.rsplit_once('\n').expect("curl prints a last line");
    let (status, location) = rest.split_once(' ').expect("a status and a location");
    (body.to_owned(), status.parse().expect("a status"), location.to_owned())
}

fn write_route(instance: &Instance, address: &str, rules: &str) -> PathBuf {
    let head = "apiVersion: homeostat/v1\nkind: Route\nmetadata: {name: shop}\nspec:\n";
    instance.write(
        "route.yaml",
        &format!("{head}  listen: {address:?}\n  hostnames: [shop.test]\n  rules:\n{rules}"),
    )
}

const RULES: &str = "    - backendRefs: [{name: pages}]\n    \
     - matches: [{path: {value: /api}}]\n      backendRefs: [{name: api}]\n    \
     - matches: [{path: {type: Exact, value: /old}}]\n      filters:\n        \
     - {type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /new}}}\n";

/// The condition of a route of that type: its status and its reason.
fn condition(instance: &Instance, kind: &str) -> (String, String) {
    let route = instance.query(&["get", "route/shop"]);
    let conditions = route["status"]["conditions"].as_array().expect("it has conditions");
    let found = conditions.iter().find(|it| it["type"] == kind).expect("it has this one");
    let text = |field: &str| found[field].as_str().expect("a text").to_owned();
    (text("status"), text("reason"))
}

#[test]
fn two_services_behind_one_address_survive_a_killed_homeostat() {
    let mut instance = Instance::new();
    let address = format!("127.0.0.1:{}", ports::free());
    let (pages, api) = (instance.write_service("pages", ""), instance.write_service("api", ""));
    let route = write_route(&instance, &address, RULES);
    let url = |path: &str| format!("http://{address}{path}");
    let send_request = |path: &str| curl(&["-H", "Host: shop.test", &url(path)]);
    instance.up(&[]);

    let applied = instance.run(&["apply", "-f", text(&route)]);
    assert_eq!((applied.code, applied.out.as_str()), (Some(0), "route/shop created\n"), "{applied:?}");
    assert!(
        applied
            .err
            .contains("warning: route/shop: spec.rules[0].backendRefs[0].name: there is no service pages"),
        "{applied:?}"
    );
    wait_until("the proxy listens", || TcpStream::connect(&address).ok());
    assert_eq!(send_request("/").1, 500, "its service is not there");
    assert_eq!(condition(&instance, "ResolvedRefs"), ("False".into(), "BackendNotFound".into()));

    instance.run(&["apply", "-f", text(&pages), "-f", text(&api)]);
    let pid = |service: &str, instance: &Instance| {
        let replicas = instance.wait_for_ready(service, 1);
        pid_of(&replicas[&format!("{service}-0")]).as_raw_nonzero().get().to_string()
    };
    let pids = [pid("pages", &instance), pid("api", &instance)];
    let answers = || [send_request("/").0, send_request("/api/carts").0];
    assert_eq!(answers(), pids);
    let http2 = ["--http2-prior-knowledge", "-H", "Host: shop.test", &url("/api")];
    assert_eq!(curl(&http2).0, pids[1], "clients of HTTP/2 are distinguished as well");
    assert_eq!(
        send_request("/old"),
        (
            send_request("/old").0,
            302,
            format!("http://shop.test:{}/new", address.rsplit(':').next().unwrap())
        )
    );
    assert_eq!(curl(&[&url("/")]).1, 404, "no route is for this host");
    assert_eq!(condition(&instance, "ResolvedRefs"), ("True".into(), "ResolvedRefs".into()));
    let described = instance.run(&["describe", "route/shop"]).out;
    assert!(described.contains("pages") && described.contains("100.00 %"), "{described}");
    assert_eq!(instance.run(&["diff", "-f", text(&route)]).code, Some(0));

    instance.end(Signal::KILL);
    instance.up(&[]);
    wait_until("the same replicas answer over the same address", || (answers() == pids).then_some(()));

    assert_eq!(instance.run(&["delete", "route/shop"]).out, "route/shop deleted\n");
    wait_until("the port is closed", || TcpStream::connect(&address).is_err().then_some(()));
    assert_eq!(instance.run(&["get", "route/shop"]).code, Some(1));
}

#[test]
fn a_rule_routes_to_the_port_that_it_names_and_an_unknown_port_is_refused() {
    let mut instance = Instance::new();
    let address = format!("127.0.0.1:{}", ports::free());
    let manifest = instance.write_service("pages", "  scale: {replicas: 2}\n");
    let declared = fs::read_to_string(&manifest).expect("it was written");
    let ports = "[{name: http, protocol: http}, {name: admin}]";
    let declared = declared.replace("[{name: http, protocol: http}]", ports);
    let variable = format!("env: {{{}: \"$(PORT_ADMIN)\", ", replica::ADMIN_PORT);
    let pages = instance.write("pages.yaml", &declared.replace("env: {", &variable));
    let to = |port: &str| {
        format!(
            "    - backendRefs: [{{name: pages}}]\n    \
             - matches: [{{path: {{value: /admin}}}}]\n      backendRefs: [{{name: pages, port: {port}}}]\n"
        )
    };
    let route = write_route(&instance, &address, &to("admin"));
    instance.up(&["-f", text(&pages), "-f", text(&route)]);
    let replicas = instance.wait_for_ready("pages", 2);
    wait_until("the proxy listens", || TcpStream::connect(&address).ok());
    let send_request = |path: &str| curl(&["-H", "Host: shop.test", &format!("http://{address}{path}")]).0;
    let pids: BTreeSet<_> =
        replicas.values().map(|status| pid_of(status).as_raw_nonzero().to_string()).collect();
    let of_admin: BTreeSet<_> = pids.iter().map(|pid| format!("admin of {pid}")).collect();
    assert!((0..20).all(|_| pids.contains(&send_request("/"))));
    assert!((0..20).all(|_| of_admin.contains(&send_request("/admin"))));
    let described = instance.run(&["describe", "route/shop"]).out;
    assert!(described.contains("pages:admin"), "{described}");

    let wrong = write_route(&instance, &address, &to("admn"));
    let refused = instance.run(&["apply", "-f", text(&wrong)]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.err.contains(
            "spec.rules[1].backendRefs[0].port: service pages has no port admn; those that take requests are http, admin"
        ),
        "{refused:?}"
    );
    assert!(of_admin.contains(&send_request("/admin")), "what was there goes on");
}

#[test]
fn a_replica_behind_a_route_finishes_its_request_before_it_is_stopped() {
    let mut instance = Instance::new();
    let address = format!("127.0.0.1:{}", ports::free());
    let pages = instance.write_service("pages", "  stop: {drain: 1h}\n");
    let route = write_route(&instance, &address, "    - backendRefs: [{name: pages}]\n");
    instance.up(&["-f", text(&pages), "-f", text(&route)]);
    instance.wait_for_ready("pages", 1);
    let mut held = wait_until("the proxy listens", || TcpStream::connect(&address).ok());
    held.write_all(b"GET /hold HTTP/1.1\r\nHost: shop.test\r\n\r\n").expect("it listens");
    let traffic =
        |instance: &Instance| instance.query(&["get", "service/pages"])["status"]["traffic"].clone();
    wait_until("the replica has the request", || (traffic(&instance)["inFlight"] == 1).then_some(()));

    assert_eq!(instance.run(&["delete", "service/pages"]).code, Some(0));
    wait_until("it drains", || {
        let replicas = instance.replicas("pages");
        (replicas.get("pages-0").map(|status| &status["phase"]) == Some(&Value::from("Draining")))
            .then_some(())
    });
    assert_eq!(
        curl(&["-H", "Host: shop.test", &format!("http://{address}/")]).1,
        503,
        "it has nobody for new requests"
    );
    assert_eq!(
        instance.replicas("pages")["pages-0"]["phase"],
        "Draining",
        "the one that is there is waited for"
    );
    drop(held);
    wait_until("it is gone", || instance.replicas("pages").is_empty().then_some(()));
    let send_request = || curl(&["-H", "Host: shop.test", &format!("http://{address}/")]).1;
    wait_until("new requests are answered with 500", || (send_request() == 500).then_some(()));
}

#[test]
fn an_address_in_use_is_reported_and_taken_once_it_is_free() {
    let mut instance = Instance::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let pages = instance.write_service("pages", "");
    let route = write_route(&instance, &address, "    - backendRefs: [{name: pages}]\n");
    instance.up(&["-f", text(&pages), "-f", text(&route)]);
    wait_until("it is reported", || {
        (condition(&instance, "Programmed") == ("False".into(), "AddressNotUsable".into())).then_some(())
    });
    drop(taken);
    wait_until("it listens", || (condition(&instance, "Programmed").0 == "True").then_some(()));
    instance.wait_for_ready("pages", 1);
    assert_eq!(curl(&["-H", "Host: shop.test", &format!("http://{address}/")]).1, 200);
}
