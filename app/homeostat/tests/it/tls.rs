//! Clients over TLS: a declared certificate is used, replaced without a restart, and its key is copied nowhere.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::instance::{CommandOutput, Instance, text, wait_until};

/// Writes a new certificate for `localhost` and its key to the files of the manifest; returns the key in PEM.
fn renew(instance: &Instance, certificate: &str) -> String {
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let key = pair.signing_key.serialize_pem();
    instance.write("tls.key", &key);
    instance.write(certificate, &pair.cert.pem());
    key
}

/// The output of curl for `localhost` over TLS, with only the certificates in `trusted`.
fn curl(instance: &Instance, port: u16, trusted: &str) -> CommandOutput {
    let mut call = Command::new("curl");
    call.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", "--tlsv1.3", "--ipv4"]);
    call.arg("--cacert").arg(instance.path(trusted)).arg(format!("https://localhost:{port}/"));
    let output = call.stdin(Stdio::null()).output().expect("curl is installed");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    CommandOutput { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Whether a file within a folder holds these bytes.
fn is_held(folder: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return is_held(&path, bytes);
        }
        is_in(&path, bytes)
    })
}

fn is_in(path: &Path, bytes: &[u8]) -> bool {
    fs::read(path).is_ok_and(|content| content.windows(bytes.len()).any(|window| window == bytes))
}

#[test]
fn a_certificate_is_presented_reloaded_and_reported_when_missing() {
    let mut instance = Instance::new();
    let port = ports::free();
    let expose = format!(
        "  expose: {{listen: \"127.0.0.1:{port}\", port: http, tls: {{certificate: tls.pem, key: tls.key}}}}\n"
    );
    let manifest = instance.write_service("web", &expose);

    // Without its files the declaration is refused.
    let refused = instance.run(&["up", "--data", "data", "--listen", "127.0.0.1:0", "-f", text(&manifest)]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.err.contains("could not apply service/web") && refused.err.contains("tls.pem"),
        "{refused:?}"
    );

    let first_key = renew(&instance, "tls.pem");
    fs::copy(instance.path("tls.pem"), instance.path("first.pem")).unwrap();
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 1);
    let answered = curl(&instance, port, "first.pem");
    assert_eq!((answered.code, answered.err.as_str()), (Some(0), ""));
    let described = instance.run(&["describe", "service/web"]);
    assert!(described.out.contains("the certificate for localhost is valid until"), "{described:?}");

    let second_key = renew(&instance, "tls.pem");
    wait_until("the new certificate is shown", || {
        (curl(&instance, port, "tls.pem").code == Some(0)).then_some(())
    });
    assert_ne!(curl(&instance, port, "first.pem").code, Some(0), "the old one is not shown any more");

    // A certificate without its key: the previous pair stays in use, and the error is reported.
    fs::copy(instance.path("tls.pem"), instance.path("second.pem")).unwrap();
    fs::copy(instance.path("first.pem"), instance.path("tls.pem")).unwrap();
    let message = "tls.key is not the one of the certificate in";
    wait_until("the error is reported", || {
        instance.run(&["describe", "service/web"]).out.contains(message).then_some(())
    });
    assert_eq!(curl(&instance, port, "second.pem").code, Some(0));
    let changed = fs::read_to_string(&manifest).unwrap().replace("tls.pem", "first.pem");
    let changed = instance.write("web.yaml", &changed);
    let refused = instance.run(&["apply", "-f", text(&changed)]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains(message), "{refused:?}");
    assert_eq!(curl(&instance, port, "second.pem").code, Some(0));

    let (_, metrics) = instance.get_api("/metrics");
    assert!(metrics.contains("homeostat_certificate_not_after_seconds{service=\"web\"}"), "{metrics}");
    let (_, api) = instance.get_api("/v1/services/web");
    instance.end(Signal::INT);
    for key in [first_key, second_key] {
        let line = key.lines().nth(1).expect("a key has lines");
        assert!(!instance.log().contains(line) && !api.contains(line) && !metrics.contains(line));
        assert!(!is_held(&instance.path("data"), line.as_bytes()), "a key is kept");
    }
}

#[test]
fn a_certificate_that_became_unusable_does_not_keep_up_from_starting() {
    let mut instance = Instance::new();
    let tls = format!(
        "  expose: {{listen: \"127.0.0.1:{}\", port: http, tls: {{certificate: tls.pem, key: tls.key}}}}\n",
        ports::free()
    );
    renew(&instance, "tls.pem");
    let manifest = instance.write_service("web", &tls);
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 1);
    instance.write("tls.pem", "garbage");
    assert_eq!(instance.run(&["apply", "-f", text(&manifest)]).out, "service/web unchanged\n");
    instance.end(Signal::INT);

    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 1);
    let changed = fs::read_to_string(&manifest).unwrap().replace("tls.pem", "other.pem");
    instance.write("other.pem", "garbage");
    let refused = instance.run(&["apply", "-f", text(&instance.write("web.yaml", &changed))]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("could not apply service/web: spec.expose.tls: "), "{refused:?}");
    assert_eq!(
        refused.err.matches("holds no certificate").count(),
        1,
        "the error is given once: {refused:?}"
    );
}

#[test]
fn a_route_presents_its_certificate_and_shows_its_validity() {
    let mut instance = Instance::new();
    let port = ports::free();
    let service = instance.write_service("web", "");
    let spec = format!("listen: \"127.0.0.1:{port}\", tls: {{certificate: tls.pem, key: tls.key}}");
    let rules = "rules: [{backendRefs: [{name: web}]}]";
    let route = format!(
        "apiVersion: homeostat/v1\nkind: Route\nmetadata: {{name: door}}\nspec: {{{spec}, {rules}}}\n"
    );
    let route = instance.write("route.yaml", &route);
    instance.up(&["-f", text(&service)]);
    instance.wait_for_ready("web", 1);

    let refused = instance.run(&["apply", "-f", text(&route)]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("route/door") && refused.err.contains("tls.pem"), "{refused:?}");

    renew(&instance, "tls.pem");
    instance.query(&["apply", "-f", text(&route)]);
    wait_until("it is answered over TLS", || {
        (curl(&instance, port, "tls.pem").code == Some(0)).then_some(())
    });
    let described = instance.run(&["describe", "route/door"]);
    assert!(described.out.contains("the certificate for localhost is valid until"), "{described:?}");
}

/// The files within a folder that hold these bytes and that others than their owner can read.
fn readable_by_others(folder: &Path, bytes: &[u8]) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .expect("the folder is writable")
        .map(|entry| entry.expect("the folder is writable").path());
    let others = |path: &Path| path.metadata().is_ok_and(|found| found.permissions().mode() & 0o077 != 0);
    entries
        .filter(|path| others(path))
        .flat_map(|path| match path.is_dir() {
            true => readable_by_others(&path, bytes),
            false => Some(path).filter(|path| is_in(path, bytes)).into_iter().collect(),
        })
        .collect()
}

#[test]
fn environments_of_replicas_are_private_in_a_data_folder_that_others_may_read() {
    let mut instance = Instance::new();
    let manifest = instance.write_service("web", "");
    // With the mode that a service manager or an earlier version gives it.
    for name in ["data", "data/journal", "data/history"] {
        fs::create_dir(instance.path(name)).unwrap();
        fs::set_permissions(instance.path(name), Permissions::from_mode(0o755)).unwrap();
    }

    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 1);

    let mark = instance.mark().into_bytes();
    let secret = &mark[mark.iter().position(|byte| *byte == b'"').unwrap() + 1..mark.len() - 1];
    assert!(is_held(&instance.path("data"), secret), "the environment of the replica is kept");
    assert_eq!(readable_by_others(&instance.path("data"), secret), [] as [PathBuf; 0]);
    let logs = fs::metadata(instance.path("data/logs")).unwrap().permissions().mode();
    assert_eq!(logs & 0o077, 0, "what a replica prints is nobody else's either");
}
