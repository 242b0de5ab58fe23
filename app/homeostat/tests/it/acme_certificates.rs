//! Certificates that are ordered by ACME, from a real authority.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::authority::{AuthorityConfig, files};
use crate::instance::{CommandOutput, Instance, text, wait_until};

/// The output of curl for a host over TLS, which trusts the authority alone; every host is 127.0.0.1.
fn curl(instance: &Instance, host: &str, port: u16) -> CommandOutput {
    let mut call = Command::new("curl");
    call.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", "--ipv4", "--verbose"]);
    call.arg("--resolve")
        .arg(format!("{host}:{port}:127.0.0.1"))
        .arg("--cacert")
        .arg(instance.path("root.pem"));
    let output = call.arg(format!("https://{host}:{port}/")).stdin(Stdio::null()).output();
    let output = output.expect("curl is installed");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    CommandOutput { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// The condition `Certificate` of a service or a route: its reason and its message.
fn certificate(instance: &Instance, kind: &str, name: &str) -> (String, String) {
    let shown = instance.query(&["get", &format!("{kind}/{name}")]);
    let conditions = shown["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let own = conditions.iter().find(|condition| condition["type"] == "Certificate");
    let text = |field: &str| own.map_or(String::new(), |own| own[field].as_str().unwrap_or("").to_owned());
    (text("reason"), text("message"))
}

fn wait_for(instance: &Instance, kind: &str, name: &str, reason: &str) -> String {
    wait_until(&format!("the certificate of {kind}/{name} is {reason}"), || {
        let (now, message) = certificate(instance, kind, name);
        (now == reason).then_some(message)
    })
}

/// The end of the certificate of a service or a route in the metrics.
fn not_after(instance: &Instance, label: &str) -> Option<f64> {
    let (_, metrics) = instance.get_api("/metrics");
    let start = format!("homeostat_certificate_not_after_seconds{{{label}}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok())
}

#[test]
fn a_certificate_is_issued_presented_and_renewed_and_its_key_is_private() {
    let mut instance = Instance::new();
    let port = ports::free();
    let plan = AuthorityConfig { seconds: 24, ..AuthorityConfig::new(port, ports::free()) };
    plan.prepare(&instance);
    let acme = format!(
        "{{directory: \"{}\", hosts: [shop.example.com], email: ops@example.com, caFile: ca.pem, renewBefore: 20s}}",
        plan.directory()
    );
    let expose = format!("  expose: {{listen: \"127.0.0.1:{port}\", port: http, tls: {{acme: {acme}}}}}\n");
    let manifest = instance.write_service("web", &expose);
    instance.write("root.pem", &fs::read_to_string(instance.path("ca.pem")).unwrap());
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 1);

    // The authority does not respond yet: clients are refused, and the condition has the reason.
    let why = wait_for(&instance, "service", "web", "NotIssued");
    for part in [
        "there is no certificate for shop.example.com",
        "could not connect to localhost:",
        "clients get a TLS alert",
    ] {
        assert!(why.contains(part), "{why}");
    }
    let refused = curl(&instance, "shop.example.com", port);
    assert!(refused.code == Some(35) && refused.err.contains("alert"), "{refused:?}");
    assert_eq!(not_after(&instance, "service=\"web\""), None);

    // The order is retried.
    let _authority = plan.start(&instance);
    let message = wait_for(&instance, "service", "web", "Valid");
    assert!(message.contains("the certificate for shop.example.com is valid until"), "{message}");
    let answered = curl(&instance, "shop.example.com", port);
    assert_eq!(answered.code, Some(0), "{answered:?}");
    let first = not_after(&instance, "service=\"web\"").expect("there is one");

    // The certificate is renewed in the middle of its short life; requests are answered meanwhile.
    wait_until("it is renewed", || {
        let answered = curl(&instance, "shop.example.com", port);
        assert_eq!(answered.code, Some(0), "{answered:?}");
        not_after(&instance, "service=\"web\"").filter(|end| *end > first)
    });

    let kept = files(&instance, "data/acme");
    assert_eq!(kept.len(), 2, "an account and a certificate: {kept:?}");
    assert!(kept.iter().all(|(_, mode, _)| *mode == 0o600), "{kept:?}");
    let folder = fs::metadata(instance.path("data/acme")).unwrap().permissions().mode() & 0o777;
    assert_eq!(folder, 0o700);
    let (_, api) = instance.get_api("/v1/services/web");
    instance.end(Signal::INT);
    for secret in secrets(&kept) {
        assert!(!instance.log().contains(&secret) && !api.contains(&secret), "a key is exposed");
    }
}

#[test]
fn a_certificate_that_is_due_for_renewal_as_soon_as_it_is_issued_is_not_ordered_in_a_loop() {
    let mut instance = Instance::new();
    let port = ports::free();
    let plan = AuthorityConfig { seconds: 1, ..AuthorityConfig::new(port, ports::free()) };
    plan.prepare(&instance);
    let acme = format!("{{directory: \"{}\", hosts: [shop.example.com], caFile: ca.pem}}", plan.directory());
    let expose = format!("  expose: {{listen: \"127.0.0.1:{port}\", port: http, tls: {{acme: {acme}}}}}\n");
    let manifest = instance.write_service("web", &expose);
    let _authority = plan.start(&instance);
    instance.up(&["-f", text(&manifest)]);
    let why = wait_for(&instance, "service", "web", "NotRenewed");
    assert!(why.contains("is already due for renewal; check the clock of this machine"), "{why}");
    instance.end(Signal::INT);
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
fn hosts_of_a_route_are_validated_over_http_and_certificates_survive_a_restart() {
    let mut instance = Instance::new();
    let (tls_port, http_port) = (ports::free(), ports::free());
    let plan = AuthorityConfig::new(tls_port, http_port);
    plan.prepare(&instance);
    let service = instance.write_service("web", "");
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
    let routes = instance.write("routes.yaml", &routes);
    let authority = plan.start(&instance);
    instance.up(&["-f", text(&service), "-f", text(&routes)]);
    instance.wait_for_ready("web", 1);
    let message = wait_for(&instance, "route", "door", "Valid");
    assert!(message.contains("and is renewed at"), "{message}");
    for host in ["a.example.com", "b.example.com"] {
        let answered = curl(&instance, host, tls_port);
        assert_eq!(answered.code, Some(0), "{answered:?}");
    }
    assert!(not_after(&instance, "route=\"door\"").is_some());
    let kept = files(&instance, "data/acme");
    instance.end(Signal::INT);

    // A certificate that is in its file is not ordered again.
    drop(authority);
    instance.up(&["-f", text(&service), "-f", text(&routes)]);
    instance.wait_for_ready("web", 1);
    wait_for(&instance, "route", "door", "Valid");
    assert_eq!(curl(&instance, "a.example.com", tls_port).code, Some(0));
    assert_eq!(files(&instance, "data/acme"), kept);
}

#[test]
fn the_error_of_an_authority_is_shown() {
    let mut instance = Instance::new();
    let port = ports::free();
    // The authority validates at a port without a listener.
    let plan = AuthorityConfig::new(ports::free(), ports::free());
    plan.prepare(&instance);
    let acme = format!("{{directory: \"{}\", hosts: [shop.example.com], caFile: ca.pem}}", plan.directory());
    let expose = format!("  expose: {{listen: \"127.0.0.1:{port}\", port: http, tls: {{acme: {acme}}}}}\n");
    let manifest = instance.write_service("web", &expose);
    let _authority = plan.start(&instance);
    instance.up(&["-f", text(&manifest)]);
    let why = wait_for(&instance, "service", "web", "NotIssued");
    for part in
        ["could not validate control over shop.example.com", "Failed to connect", "port 443 of that address"]
    {
        assert!(why.contains(part), "{why}");
    }

    // Without the file of the authority's certificate a changed declaration is refused.
    fs::remove_file(instance.path("ca.pem")).unwrap();
    let manifest = instance.write_service("web", &expose.replace("hosts: [", "hosts: [www.example.com, "));
    let refused = instance.run(&["apply", "-f", text(&manifest)]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("service/web") && refused.err.contains("ca.pem"), "{refused:?}");
}
