//! A declaration that changes how replicas are reached: those of the earlier version are reached as before until they are replaced.

use std::collections::BTreeSet;
use std::fs;

use rustix::process::Signal;

use crate::instance::{Instance, get, pid_of, text, wait_until};
use crate::replica;

/// The process ids of all replicas of `web`, as they answer requests.
fn pids(instance: &Instance) -> BTreeSet<String> {
    instance.replicas("web").values().map(|status| pid_of(status).as_raw_nonzero().to_string()).collect()
}

/// Declares a version with a `missing` program, and waits until its start has failed.
fn apply_broken(instance: &Instance, declared: &str, missing: &str) {
    let program = std::env::current_exe().expect("this program has a path");
    let broken = declared.replace(text(&program), missing);
    assert_ne!(broken, declared);
    let manifest = instance.write("broken.yaml", &broken);
    let applied = instance.run(&["apply", "-f", text(&manifest)]);
    assert_eq!(applied.code, Some(0), "{applied:?}");
    wait_until("the new version fails to start", || {
        instance.run(&["events"]).out.contains(missing).then_some(())
    });
}

#[test]
fn replicas_serve_on_the_port_of_their_version_until_the_one_with_the_renamed_port_is_ready() {
    let mut instance = Instance::new();
    let port = ports::free();
    let more = format!("  scale: {{replicas: 2}}\n  expose: {{listen: \"127.0.0.1:{port}\", port: http}}\n");
    let manifest = instance.write_service("web", &more);
    let declared = fs::read_to_string(&manifest).expect("it was written");
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 2);
    let old = pids(&instance);
    let answer = || get(&format!("http://127.0.0.1:{port}/"));

    let renamed = [("PORT_HTTP", "PORT_WEB"), ("name: http", "name: web"), ("port: http", "port: web")];
    let renamed = renamed.iter().fold(declared, |text, (from, to)| text.replace(from, to));
    apply_broken(&instance, &renamed, "/no-such-program");
    assert!((0..20).all(|_| old.contains(&answer().expect("the old version answers"))));

    instance.end(Signal::KILL);
    instance.up(&[]);
    let is_old = |answer: &String| old.contains(answer);
    wait_until("the old version answers after a restart", || answer().ok().filter(is_old));

    let manifest = instance.write("web.yaml", &renamed);
    assert_eq!(instance.run(&["apply", "-f", text(&manifest)]).code, Some(0));
    wait_until("the new version has replaced the old one", || {
        let answer = answer().expect("every request is answered");
        (!old.contains(&answer) && pids(&instance).is_disjoint(&old)).then_some(())
    });
}

#[test]
fn another_exposed_port_of_the_same_version_gets_requests_at_once() {
    let mut instance = Instance::new();
    let port = ports::free();
    let more = format!("  expose: {{listen: \"127.0.0.1:{port}\", port: http}}\n");
    let manifest = instance.write_service("web", &more);
    let variable = format!("env: {{{}: \"$(PORT_ADMIN)\", ", replica::ADMIN_PORT);
    let declared = fs::read_to_string(&manifest).expect("it was written").replace("env: {", &variable);
    let declared =
        declared.replace("[{name: http, protocol: http}]", "[{name: http, protocol: http}, {name: admin}]");
    fs::write(&manifest, &declared).expect("the folder is writable");
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 1);
    let old = pids(&instance);
    let of_old = |answer: &String| old.iter().any(|pid| *answer == format!("admin of {pid}"));
    let answer = || get(&format!("http://127.0.0.1:{port}/")).ok();

    let declared = declared.replace("port: http}", "port: admin}");
    let manifest = instance.write("web.yaml", &declared);
    assert_eq!(instance.run(&["apply", "-f", text(&manifest)]).code, Some(0));
    wait_until("requests go to the other port", || answer().filter(of_old));

    let renamed = declared.replace("PORT_ADMIN", "PORT_BACK").replace("admin", "back");
    apply_broken(&instance, &renamed, "/no-such-program");
    assert!((0..20).all(|_| answer().is_some_and(|answer| of_old(&answer))), "it stays the exposed one");
}
