//! Certificates that are asked for by themselves, at a real authority.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::authority::{Plan, files};
use crate::house::{House, Said, text, wait_until};

/// What curl gets from a host over TLS, trusting the authority alone; every host is 127.0.0.1.
fn curl(house: &House, host: &str, port: u16) -> Said {
    let mut call = Command::new("curl");
    call.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", "--ipv4", "--verbose"]);
    call.arg("--resolve").arg(format!("{host}:{port}:127.0.0.1")).arg("--cacert").arg(house.path("root.pem"));
    let output = call.arg(format!("https://{host}:{port}/")).stdin(Stdio::null()).output();
    let output = output.expect("curl is installed");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// The condition `Certificate` of a service or a route: its reason and its message.
fn certificate(house: &House, kind: &str, name: &str) -> (String, String) {
    let shown = house.ask(&["get", &format!("{kind}/{name}")]);
    let conditions = shown["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let own = conditions.iter().find(|condition| condition["type"] == "Certificate");
    let text = |field: &str| own.map_or(String::new(), |own| own[field].as_str().unwrap_or("").to_owned());
    (text("reason"), text("message"))
}

fn wait_for(house: &House, kind: &str, name: &str, reason: &str) -> String {
    wait_until(&format!("the certificate of {kind}/{name} is {reason}"), || {
        let (now, message) = certificate(house, kind, name);
        (now == reason).then_some(message)
    })
}

/// The end of the certificate of a service or a route in the metrics.
fn not_after(house: &House, label: &str) -> Option<f64> {
    let (_, metrics) = house.ask_api("/metrics");
    let start = format!("homeostat_certificate_not_after_seconds{{{label}}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok())
}

#[test]
fn a_certificate_is_asked_for_shown_and_renewed_and_its_key_is_its_owners_alone() {
    let mut house = House::new();
    let port = ports::free();
    let plan = Plan { seconds: 24, ..Plan::new(port, ports::free()) };
    plan.prepare(&house);
    let acme = format!(
        "{{directory: \"{}\", hosts: [shop.example.com], email: ops@example.com, caFile: ca.pem, renewBefore: 20s}}",
        plan.directory()
    );
    let expose = format!("  expose: {{listen: \"127.0.0.1:{port}\", port: http, tls: {{acme: {acme}}}}}\n");
    let manifest = house.write_service("web", &expose);
    house.write("root.pem", &fs::read_to_string(house.path("ca.pem")).unwrap());
    house.up(&["-f", text(&manifest)]);
    house.wait_for_ready("web", 1);

    // Nobody answers there yet: clients are refused, and it is said.
    let why = wait_for(&house, "service", "web", "NotIssued");
    for part in [
        "there is no certificate for shop.example.com",
        "could not connect to localhost:",
        "clients get a TLS alert",
    ] {
        assert!(why.contains(part), "{why}");
    }
    let refused = curl(&house, "shop.example.com", port);
    assert!(refused.code == Some(35) && refused.err.contains("alert"), "{refused:?}");
    assert_eq!(not_after(&house, "service=\"web\""), None);

    // It is tried again by itself.
    let _authority = plan.start(&house);
    let message = wait_for(&house, "service", "web", "Valid");
    assert!(message.contains("the certificate for shop.example.com is valid until"), "{message}");
    let answered = curl(&house, "shop.example.com", port);
    assert_eq!(answered.code, Some(0), "{answered:?}");
    let first = not_after(&house, "service=\"web\"").expect("there is one");

    // And renewed, at the middle of its short life; whoever asks meanwhile is answered.
    wait_until("it is renewed", || {
        let answered = curl(&house, "shop.example.com", port);
        assert_eq!(answered.code, Some(0), "{answered:?}");
        not_after(&house, "service=\"web\"").filter(|end| *end > first)
    });

    let kept = files(&house, "data/acme");
    assert_eq!(kept.len(), 2, "an account and a certificate: {kept:?}");
    assert!(kept.iter().all(|(_, mode, _)| *mode == 0o600), "{kept:?}");
    let folder = fs::metadata(house.path("data/acme")).unwrap().permissions().mode() & 0o777;
    assert_eq!(folder, 0o700);
    let (_, api) = house.ask_api("/v1/services/web");
    house.end(Signal::INT);
    for secret in secrets(&kept) {
        assert!(!house.log().contains(&secret) && !api.contains(&secret), "a key is told");
    }
}

/// The second line of each private key in PEM, and the private key of each account.
fn secrets(kept: &[(String, u32, Vec<u8>)]) -> Vec<String> {
    let secrets: Vec<String> = kept
        .iter()
        .map(|(_, _, content)| {
            let content = String::from_utf8_lossy(content);
            match serde_json::from_str::<Value>(&content) {
                Ok(account) => account["key_pkcs8"].as_str().expect("an account has a key").to_owned(),
                Err(_) => content.lines().nth(1).expect("a key has lines").to_owned(),
            }
        })
        .collect();
    assert!(secrets.iter().all(|secret| secret.len() > 30), "{secrets:?}");
    secrets
}

#[test]
fn hosts_of_a_route_are_shown_by_http_and_what_was_issued_outlives_a_restart() {
    let mut house = House::new();
    let (tls_port, http_port) = (ports::free(), ports::free());
    let plan = Plan::new(tls_port, http_port);
    plan.prepare(&house);
    let service = house.write_service("web", "");
    let acme = format!(
        "{{directory: \"{}\", hosts: [a.example.com, b.example.com], challenge: http, caFile: ca.pem}}",
        plan.directory()
    );
    let head = "apiVersion: homeostat/v1\nkind: Route\n";
    let redirect = "{filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]}";
    let routes = format!(
        "{head}metadata: {{name: plain}}\nspec: {{listen: \"127.0.0.1:{http_port}\", rules: [{redirect}]}}\n---\n\
         {head}metadata: {{name: door}}\nspec: {{listen: \"127.0.0.1:{tls_port}\", tls: {{acme: {acme}}}, rules: [{{backendRefs: [{{name: web}}]}}]}}\n"
    );
    let routes = house.write("routes.yaml", &routes);
    let authority = plan.start(&house);
    house.up(&["-f", text(&service), "-f", text(&routes)]);
    house.wait_for_ready("web", 1);
    let message = wait_for(&house, "route", "door", "Valid");
    assert!(message.contains("and is renewed at"), "{message}");
    for host in ["a.example.com", "b.example.com"] {
        let answered = curl(&house, host, tls_port);
        assert_eq!(answered.code, Some(0), "{answered:?}");
    }
    assert!(not_after(&house, "route=\"door\"").is_some());
    let kept = files(&house, "data/acme");
    house.end(Signal::INT);

    // Nobody is asked for what is there.
    drop(authority);
    house.up(&["-f", text(&service), "-f", text(&routes)]);
    house.wait_for_ready("web", 1);
    wait_for(&house, "route", "door", "Valid");
    assert_eq!(curl(&house, "a.example.com", tls_port).code, Some(0));
    assert_eq!(files(&house, "data/acme"), kept);
}

#[test]
fn what_an_authority_could_not_see_is_said_in_its_words() {
    let mut house = House::new();
    let port = ports::free();
    // It looks where nobody listens.
    let plan = Plan::new(ports::free(), ports::free());
    plan.prepare(&house);
    let acme = format!("{{directory: \"{}\", hosts: [shop.example.com], caFile: ca.pem}}", plan.directory());
    let expose = format!("  expose: {{listen: \"127.0.0.1:{port}\", port: http, tls: {{acme: {acme}}}}}\n");
    let manifest = house.write_service("web", &expose);
    let _authority = plan.start(&house);
    house.up(&["-f", text(&manifest)]);
    let why = wait_for(&house, "service", "web", "NotIssued");
    for part in
        ["was not shown that shop.example.com is ours", "Failed to connect", "port 443 of that address"]
    {
        assert!(why.contains(part), "{why}");
    }

    // Without the file by which the authority is believed it is not begun with.
    fs::remove_file(house.path("ca.pem")).unwrap();
    let refused = house.run(&["apply", "-f", text(&manifest)]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("service/web") && refused.err.contains("ca.pem"), "{refused:?}");
}
