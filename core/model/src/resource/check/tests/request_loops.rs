use super::*;

/// A service that listens on a port of loopback, with endpoints elsewhere.
fn sending(name: &str, listen: &str, endpoints: &[&str]) -> Resource {
    let endpoints: Vec<Value> = endpoints.iter().map(|address| json!({"address": address})).collect();
    let expose = json!({"listen": listen, "port": "http", "endpoints": endpoints});
    service(
        name,
        json!({"ports": [{"name": "http"}], "probes": {"readiness": {"http": {}}}, "expose": expose}),
    )
}

#[test]
fn services_that_forward_requests_to_each_other_are_refused() {
    let two = [
        sending("a", "127.0.0.1:81", &["10.0.0.7:80", "127.0.0.1:82"]),
        sending("b", "0.0.0.0:82", &["[::ffff:127.0.0.1]:81"]),
    ];
    assert_eq!(
        problems_of(&two),
        [
            "0 spec.expose.endpoints[1].address: service b of this Homeostat listens on 127.0.0.1:82, and the requests that it forwards \
             come back: they would loop",
            "1 spec.expose.endpoints[0].address: service a of this Homeostat listens on 127.0.0.1:81, and the requests that it forwards \
             come back: they would loop",
        ]
    );
    let three = [
        sending("a", "127.0.0.1:81", &["127.0.0.1:82"]),
        sending("b", "127.0.0.1:82", &["127.0.0.1:83"]),
        sending("c", "127.0.0.1:83", &["127.0.0.1:81", "127.0.0.1:84"]),
        sending("d", "127.0.0.1:84", &["10.0.0.7:80"]),
    ];
    assert_eq!(
        problems_of(&three).len(),
        3,
        "the last one is not part of the loop: {:#?}",
        problems_of(&three)
    );
}

#[test]
fn a_chain_of_services_is_not_a_loop() {
    let chain = [
        sending("a", "127.0.0.1:81", &["127.0.0.1:82", "127.0.0.1:83"]),
        sending("b", "127.0.0.1:82", &["127.0.0.1:83"]),
        sending("c", "127.0.0.1:83", &["10.0.0.7:81", "10.0.0.7:82"]),
    ];
    assert_eq!(problems_of(&chain), [""; 0]);
    // Nobody can tell whether another address of this machine is meant.
    let away = [sending("a", "0.0.0.0:81", &["10.0.0.7:82"]), sending("b", "0.0.0.0:82", &["10.0.0.7:81"])];
    assert_eq!(problems_of(&away), [""; 0]);
}

#[test]
fn a_route_that_leads_back_is_a_warning() {
    let to = |service: &str| {
        let spec = json!({"listen": "127.0.0.1:90", "rules": [{"backendRefs": [{"name": service}]}]});
        resource("homeostat/v1", "Route", "web", &spec)
    };
    let set = |to: Resource| {
        [sending("a", "127.0.0.1:81", &["127.0.0.1:90"]), sending("b", "127.0.0.1:82", &["10.0.0.7:80"]), to]
    };
    let found = check(&set(to("a")), Severity::Error);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].resource, found[0].severity), (0, Severity::Warning));
    assert!(
        found[0].problem.to_string().contains("route web of this Homeostat listens on 127.0.0.1:90"),
        "{found:#?}"
    );
    assert_eq!(problems_of(&set(to("b"))), [""; 0]);
}

#[test]
fn a_route_that_leads_back_over_another_service_is_a_warning() {
    let route = |name: &str, listen: &str, service: &str| {
        let spec = json!({"listen": listen, "rules": [{"backendRefs": [{"name": service}]}]});
        resource("homeostat/v1", "Route", name, &spec)
    };
    let warned = |set: &[Resource]| -> Vec<(usize, Severity, String)> {
        let found = check(set, Severity::Error).into_iter();
        found.map(|it| (it.resource, it.severity, it.problem.to_string())).collect()
    };
    let comes_back = |resource: usize, route: &str, address: &str| {
        let text = format!(
            "spec.expose.endpoints[0].address: route {route} of this Homeostat listens on {address}, and routes to services that \
             forward requests back: such requests would loop"
        );
        (resource, Severity::Warning, text)
    };
    // a, the route, b, and a again.
    let one = |last: &str| {
        [
            sending("a", "127.0.0.1:81", &["127.0.0.1:90"]),
            sending("b", "127.0.0.1:82", &[last]),
            route("web", "127.0.0.1:90", "b"),
        ]
    };
    assert_eq!(warned(&one("127.0.0.1:81")), [comes_back(0, "web", "127.0.0.1:90")]);
    assert_eq!(warned(&one("10.0.0.7:81")), []);
    // By two routes.
    let two = [
        sending("a", "127.0.0.1:81", &["127.0.0.1:90"]),
        sending("b", "127.0.0.1:82", &["127.0.0.1:91"]),
        route("web", "127.0.0.1:90", "b"),
        route("way", "127.0.0.1:91", "a"),
    ];
    assert_eq!(warned(&two), [comes_back(0, "web", "127.0.0.1:90"), comes_back(1, "way", "127.0.0.1:91")]);
}

#[test]
fn the_same_address_in_another_notation_is_recognized() {
    let twice = sending("a", "127.0.0.1:81", &["10.0.0.7:80", "[::ffff:10.0.0.7]:80"]);
    has(&[twice], "0 spec.expose.endpoints[1].address: 10.0.0.7:80 is given twice");
    for listen in ["127.0.0.1:81", "0.0.0.0:81", "[::]:81", "[::ffff:127.0.0.1]:81"] {
        let own = sending("a", listen, &["[::ffff:127.0.0.1]:81"]);
        has(&[own], "0 spec.expose.endpoints[0].address: the proxy itself listens on 127.0.0.1:81");
    }
}
