//! Scale to zero: a service has no replicas without requests, and starts one for the next request.

use rustix::process::Signal;

use crate::instance::{Instance, get, text, wait_until};

fn resting_instance() -> (Instance, String) {
    let mut instance = Instance::new();
    let port = ports::free();
    let manifest = instance.write_service(
        "web",
        &format!(
            "  scale: {{replicas: 2, toZero: {{after: 1s, wait: 30s}}}}\n  expose: {{listen: \"127.0.0.1:{port}\", port: http}}\n"
        ),
    );
    instance.up(&["-f", text(&manifest)]);
    (instance, format!("http://127.0.0.1:{port}/"))
}

fn wait_for_rest(instance: &Instance) {
    wait_until("it rests", || instance.replicas("web").is_empty().then_some(()));
}

#[test]
fn concurrent_requests_to_a_service_at_zero_are_all_answered() {
    let (instance, url) = resting_instance();
    for _ in 0..3 {
        wait_for_rest(&instance);
        let askers: Vec<_> = (0..20)
            .map(|_| {
                let url = url.clone();
                std::thread::spawn(move || get(&url))
            })
            .collect();
        for asker in askers {
            asker.join().expect("it does not panic").expect("it is answered");
        }
    }
    let reasons = instance.run(&["events", "service/web"]).out;
    assert!(reasons.contains("the service has had no requests since"), "{reasons}");
    assert!(reasons.contains("requests arrive again"), "{reasons}");
}

#[test]
fn a_service_behind_a_route_scales_to_zero_and_is_started_by_a_request() {
    let mut instance = Instance::new();
    let port = ports::free();
    let manifest = instance.write_service("web", "  scale: {replicas: 2, toZero: {after: 1s, wait: 30s}}\n");
    let route = instance.write(
        "route.yaml",
        &format!(
            "apiVersion: homeostat/v1\nkind: Route\nmetadata: {{name: front}}\nspec:\n  listen: \"127.0.0.1:{port}\"\n  \
             rules: [{{backendRefs: [{{name: web}}]}}]\n"
        ),
    );
    let alone = instance.run(&["validate", "-f", text(&manifest)]);
    assert!(alone.err.contains("it is never scaled to zero"), "{alone:?}");
    instance.up(&["-f", text(&manifest), "-f", text(&route)]);
    let url = format!("http://127.0.0.1:{port}/");
    for _ in 0..2 {
        wait_for_rest(&instance);
        get(&url).expect("it is answered");
        instance.wait_for_ready("web", 2);
    }
    // It works after a restart, too: the route is set before the first request arrives.
    wait_for_rest(&instance);
    instance.end(Signal::KILL);
    instance.up(&[]);
    get(&url).expect("it is answered");
    instance.wait_for_ready("web", 2);
}

#[test]
fn a_service_at_zero_stays_there_after_a_restart_and_is_started_by_a_request() {
    let (mut instance, url) = resting_instance();
    wait_for_rest(&instance);
    instance.end(Signal::KILL);
    instance.up(&[]);
    wait_until("its size is decided on again", || {
        let status = &instance.query(&["get", "service/web"])["status"];
        (status["desiredReplicas"] == 0).then_some(())
    });
    assert!(instance.replicas("web").is_empty());
    get(&url).expect("it is answered");
    instance.wait_for_ready("web", 2);
}
