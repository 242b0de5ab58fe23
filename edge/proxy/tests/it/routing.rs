//! One listener, several services: which request goes where, and what is changed on the way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response};
use proxy::{
    AttachedRoute, Balance, EndpointRoute, EndpointState, Gateway, NamedPort, Protocol, RouteTraffic,
    ServiceRoute, Table,
};
use serde_json::{Value, json};

use crate::kit::*;

/// A route by its name, host and rules.
fn route(name: &str, hostnames: &[&str], rules: Value) -> AttachedRoute {
    let mut spec = json!({"listen": "127.0.0.1:0", "hostnames": hostnames});
    spec["rules"] = rules;
    AttachedRoute { name: name.into(), created: 1, spec: Arc::new(serde_json::from_value(spec).unwrap()) }
}

fn set(fixture: &Fixture, routes: Vec<AttachedRoute>) -> SocketAddr {
    fixture.table.set_gateway(&Gateway { listen: any(), tls: None, routes }).unwrap()
}

fn set_service(table: &Table, name: &str, endpoints: &[SocketAddr]) {
    let mut service = ServiceRoute::without_listener(name);
    service.endpoints = (0..).zip(endpoints).map(|(i, &a)| EndpointRoute::new(id(i), a)).collect();
    service.timeouts.endpoint = Duration::from_millis(100);
    assert_eq!(table.set_service(&service).unwrap(), None);
}

fn counted(fixture: &Fixture, name: &str) -> RouteTraffic {
    fixture.table.route_traffic().into_iter().find(|it| &*it.route == name).expect("the route is there")
}

fn to(service: &str) -> Value {
    json!([{"name": service}])
}

fn ask(host: &str, path: &str) -> Request<Full<bytes::Bytes>> {
    let mut request = request("GET", path, "");
    request.headers_mut().insert("host", host.parse().unwrap());
    request
}

/// Answers with what came: its target, and the headers that the tests look at.
async fn echo_heads() -> Backend {
    Backend::http(|request| async move {
        let headers = request.headers();
        let of = |name: &str| {
            let all = headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned());
            all.collect::<Vec<_>>().join("+")
        };
        let description = format!(
            "{} host={} xfh={} a={} b={}",
            request.uri(),
            of("host"),
            of("x-forwarded-host"),
            of("a"),
            of("b")
        );
        Response::builder()
            .header("c", "1")
            .header("d", "1")
            .body(Full::new(bytes::Bytes::from(description)))
            .unwrap()
    })
    .await
}

#[tokio::test]
async fn hosts_and_paths_of_one_listener_are_routed_to_their_services() {
    let (pages, api) = (Backend::named("pages").await, Backend::named("api").await);
    let fixture = Fixture::new(&[]);
    set_service(&fixture.table, "pages", &[pages.address]);
    set_service(&fixture.table, "api", &[api.address]);
    let address = set(
        &fixture,
        vec![
            route(
                "web",
                &["shop.example"],
                json!([
                    {"backendRefs": to("pages")},
                    {"matches": [{"path": {"value": "/api"}}], "backendRefs": to("api")},
                ]),
            ),
            route(
                "beta",
                &["*.shop.example"],
                json!([{"matches": [{"headers": [{"name": "beta", "value": "1"}]}], "backendRefs": to("api")}]),
            ),
        ],
    );
    let mut client = Client::connect(address).await;
    for (host, path, answer) in [
        ("shop.example", "/", "pages"),
        ("SHOP.example:80", "/apis", "pages"),
        ("shop.example", "/api", "api"),
        ("shop.example", "/api/x?y", "api"),
    ] {
        assert_eq!(client.send(ask(host, path)).await.unwrap().body(), answer, "{host}{path}");
    }
    assert_eq!(client.send(ask("a.shop.example", "/")).await.unwrap().status(), 404);
    let mut beta = ask("a.shop.example", "/");
    beta.headers_mut().insert("Beta", "1".parse().unwrap());
    assert_eq!(client.send(beta).await.unwrap().body(), "api");
    let web = counted(&fixture, "web");
    assert_eq!((web.requests, web.status, web.latency.count()), (4, [0, 4, 0, 0, 0], 4));
    let of_api = fixture.table.traffic().into_iter().find(|it| &*it.service == "api").unwrap();
    assert_eq!(of_api.counts.requests, 3);
}

#[tokio::test]
async fn an_unknown_service_is_500_and_one_without_endpoints_503() {
    let backend = Backend::named("late").await;
    let fixture = Fixture::new(&[]);
    let address = set(&fixture, vec![route("web", &[], json!([{"backendRefs": to("late")}]))]);
    let mut client = Client::connect(address).await;
    assert_eq!(client.get("/").await.unwrap().status(), 500);
    set_service(&fixture.table, "late", &[]);
    assert_eq!(client.get("/").await.unwrap().status(), 503);
    set_service(&fixture.table, "late", &[backend.address]);
    assert_eq!(client.get("/").await.unwrap().body(), "late");
    assert!(fixture.table.remove_service("late"));
    assert_eq!(client.get("/").await.unwrap().status(), 500);
    assert_eq!(counted(&fixture, "web").status, [0, 1, 0, 0, 3]);
    assert!(fixture.table.remove_gateway(any()));
    // The listener is gone at once, and the connection once its worker has noticed.
    within(async { while client.get("/").await.is_ok() {} }).await;
}

fn named_port(name: &str, address: SocketAddr, protocol: Protocol) -> NamedPort {
    NamedPort { name: Arc::from(name), address, protocol }
}

/// A service of two replicas, each with a port of HTTP/1.1 that gets the requests and one of HTTP/2 that is called `admin`.
async fn set_service_of_two_ports(table: &Table, name: &str) -> [Backend; 4] {
    let of_http2 = |name: &'static str| {
        Backend::http2(100, move |_| async move { Response::new(Full::new(bytes::Bytes::from(name))) })
    };
    let (a, b) = (Backend::named("a").await, Backend::named("b").await);
    let (a_admin, b_admin) = (of_http2("a-admin").await, of_http2("b-admin").await);
    let mut service = ServiceRoute::without_listener(name);
    service.balance = Balance::RoundRobin;
    service.timeouts.endpoint = Duration::from_millis(100);
    for (i, main, admin) in [(0, &a, &a_admin), (1, &b, &b_admin)] {
        let ports = Arc::new([named_port("admin", admin.address, Protocol::Http2)]);
        service.endpoints.push(EndpointRoute { ports, ..EndpointRoute::new(id(i), main.address) });
    }
    table.set_service(&service).unwrap();
    [a, b, a_admin, b_admin]
}

#[tokio::test]
async fn a_port_that_a_rule_names_gets_its_requests_of_the_same_replicas() {
    let fixture = Fixture::with(&[], |config, _| config.workers = std::num::NonZeroUsize::MIN);
    let [_a, b, _a_admin, _b_admin] = set_service_of_two_ports(&fixture.table, "shop").await;
    let admin = json!([{"name": "shop", "port": "admin"}]);
    let address = set(
        &fixture,
        vec![route(
            "web",
            &[],
            json!([
                {"backendRefs": to("shop")},
                {"matches": [{"path": {"value": "/admin"}}], "backendRefs": admin},
                {"matches": [{"path": {"value": "/none"}}], "backendRefs": [{"name": "shop", "port": "none"}]},
            ]),
        )],
    );
    let mut client = Client::connect(address).await;
    let mut answers = Vec::new();
    for path in ["/", "/admin", "/", "/admin", "/admin", "/"] {
        answers.push(client.get(path).await.unwrap().into_body());
    }
    assert_eq!(
        answers,
        ["a", "b-admin", "a", "b-admin", "a-admin", "b"],
        "they take turns, whichever port gets the request"
    );
    let of_shop = || fixture.table.traffic().into_iter().find(|it| &*it.service == "shop").unwrap();
    assert_eq!(of_shop().counts.requests, 6);
    assert_eq!(of_shop().endpoints.iter().map(|it| it.counts.requests).collect::<Vec<_>>(), [3, 3]);
    assert_eq!(client.get("/none").await.unwrap().status(), 503, "no replica has such a port");
    // One of both is there no more: neither is its port.
    fixture.table.set_endpoint_state("shop", id(0), EndpointState::Draining).unwrap();
    for path in ["/admin", "/admin", "/"] {
        answers.push(client.get(path).await.unwrap().into_body());
    }
    assert_eq!(answers[6..], ["b-admin", "b-admin", "b"]);
    b.stop().await;
    assert_eq!(client.get("/admin").await.unwrap().body(), "b-admin");
}

#[tokio::test]
async fn a_rule_may_change_to_another_port_of_its_service() {
    let fixture = Fixture::new(&[]);
    let _backends = set_service_of_two_ports(&fixture.table, "shop").await;
    let admin = json!([{"backendRefs": [{"name": "shop", "port": "admin"}]}]);
    let main = json!([{"backendRefs": to("shop")}]);
    for (rules, answers) in [(main.clone(), ["a", "b"]), (admin, ["a-admin", "b-admin"]), (main, ["a", "b"])]
    {
        let address = set(&fixture, vec![route("web", &[], rules)]);
        let answer = Client::connect(address).await.get("/").await.unwrap();
        assert!(answers.iter().any(|name| answer.body() == name), "{answer:?}");
    }
}

#[tokio::test]
async fn replicas_without_the_port_are_skipped() {
    let (old, new) = (Backend::named("old").await, Backend::named("new").await);
    let fixture = Fixture::new(&[]);
    let mut service = ServiceRoute::without_listener("shop");
    service.endpoints = vec![EndpointRoute::new(id(0), old.address), EndpointRoute::new(id(1), old.address)];
    fixture.table.set_service(&service).unwrap();
    let rules = json!([{"backendRefs": [{"name": "shop", "port": "extra"}]}]);
    let address = set(&fixture, vec![route("web", &[], rules)]);
    let mut client = Client::connect(address).await;
    let pending = client.get("/");
    let rolled_out = async {
        until(|| fixture.table.load("shop").is_some_and(|load| load.waiting == 1)).await;
        service.endpoints[1].ports = Arc::new([named_port("extra", new.address, Protocol::Http1)]);
        fixture.table.set_service(&service).unwrap();
    };
    let (answer, ()) = tokio::join!(pending, rolled_out);
    assert_eq!(answer.unwrap().body(), "new", "it has waited for one that has it");
    for _ in 0..8 {
        assert_eq!(client.get("/").await.unwrap().body(), "new");
    }
}

#[tokio::test]
async fn a_changed_route_applies_to_existing_connections() {
    let (one, two) = (Backend::named("one").await, Backend::named("two").await);
    let fixture = Fixture::new(&[]);
    set_service(&fixture.table, "one", &[one.address]);
    set_service(&fixture.table, "two", &[two.address]);
    let to_one = |name: &str| vec![route("web", &[], json!([{"backendRefs": to(name)}]))];
    let address = set(&fixture, to_one("one"));
    let mut client = Client::connect(address).await;
    assert_eq!(client.get("/").await.unwrap().body(), "one");
    assert_eq!(set(&fixture, to_one("two")), address);
    assert_eq!(client.get("/").await.unwrap().body(), "two");
    assert_eq!(counted(&fixture, "web").requests, 2);
}

#[tokio::test]
async fn weights_are_exact_and_a_missing_service_keeps_its_share() {
    let (old, new) = (Backend::named("old").await, Backend::named("new").await);
    let fixture = Fixture::with(&[], |config, _| config.workers = std::num::NonZeroUsize::MIN);
    set_service(&fixture.table, "old", &[old.address]);
    set_service(&fixture.table, "new", &[new.address]);
    let refs = json!([{"name": "old", "weight": 6}, {"name": "new", "weight": 3}, {"name": "gone", "weight": 1}, {"name": "new", "weight": 0}]);
    let address = set(&fixture, vec![route("web", &[], json!([{"backendRefs": refs}]))]);
    let mut client = Client::connect(address).await;
    let mut counts = [0; 3];
    for _ in 0..50 {
        let response = client.get("/").await.unwrap();
        match (response.status().as_u16(), &response.body()[..]) {
            (200, b"old") => counts[0] += 1,
            (200, b"new") => counts[1] += 1,
            (500, _) => counts[2] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(counts, [30, 15, 5]);
}

#[tokio::test]
async fn heads_are_changed_as_the_filters_say() {
    let backend = echo_heads().await;
    let fixture = Fixture::new(&[]);
    set_service(&fixture.table, "shop", &[backend.address]);
    let filters = json!([
        {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "A", "value": "set"}], "add": [{"name": "b", "value": "added"}]}},
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["C"], "set": [{"name": "d", "value": "2"}]}},
        {"type": "URLRewrite", "urlRewrite": {"hostname": "inner.example", "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/v2"}}},
    ]);
    let rules =
        json!([{"matches": [{"path": {"value": "/v1"}}], "filters": filters, "backendRefs": to("shop")}]);
    let address = set(&fixture, vec![route("web", &[], rules)]);
    let mut request = ask("outer.example", "/v1/carts?x=%20");
    request.headers_mut().insert("a", "client".parse().unwrap());
    request.headers_mut().insert("b", "client".parse().unwrap());
    // What the proxy sets for the service, no client can have taken out as meant for the proxy only.
    request.headers_mut().insert("connection", "a".parse().unwrap());
    let response = Client::connect(address).await.send(request).await.unwrap();
    assert_eq!(response.body(), "/v2/carts?x=%20 host=inner.example xfh=outer.example a=set b=client+added");
    assert!(!response.headers().contains_key("c"));
    assert_eq!(response.headers()["d"], "2");
}

#[tokio::test]
async fn a_redirect_is_answered_without_a_service() {
    let fixture = Fixture::new(&[]);
    let redirect = |it: Value| json!([{"type": "RequestRedirect", "requestRedirect": it}]);
    let rules = json!([
        {"filters": redirect(json!({"scheme": "https", "statusCode": 301}))},
        {"matches": [{"path": {"value": "/old"}}], "filters": redirect(json!({"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"}}))},
    ]);
    let address = set(&fixture, vec![route("web", &[], rules)]);
    let mut client = Client::connect(address).await;
    let response = client.send(ask("shop.example:1", "/a?b")).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["location"]),
        (301, &"https://shop.example/a?b".parse().unwrap())
    );
    let response = client.send(ask("shop.example", "/old/a")).await.unwrap();
    let location = format!("http://shop.example:{}/new/a", address.port());
    assert_eq!(
        (response.status().as_u16(), response.headers()["location"].to_str().unwrap()),
        (302, &*location)
    );
    assert_eq!(counted(&fixture, "web").status, [0, 0, 2, 0, 0]);
}

#[tokio::test]
async fn a_request_that_times_out_is_504() {
    let silent = Backend::raw(|stream| async move {
        let _stream = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let fixture = Fixture::new(&[]);
    set_service(&fixture.table, "shop", &[silent.address]);
    let rule = |path: &str, timeouts: Value| json!({"matches": [{"path": {"value": path}}], "timeouts": timeouts, "backendRefs": to("shop")});
    let rules =
        json!([rule("/all", json!({"request": "50ms"})), rule("/try", json!({"backendRequest": "50ms"}))]);
    let address = set(&fixture, vec![route("web", &[], rules)]);
    let mut client = Client::connect(address).await;
    for path in ["/all", "/try"] {
        assert_eq!(client.get(path).await.unwrap().status(), 504, "{path}");
    }
    let of_shop = fixture.table.traffic().into_iter().find(|it| &*it.service == "shop").unwrap();
    assert_eq!(of_shop.counts.status, [0, 0, 0, 0, 2]);
}

#[tokio::test]
async fn a_path_with_dot_segments_is_refused() {
    let backend = Backend::named("shop").await;
    let fixture = Fixture::new(&[]);
    set_service(&fixture.table, "shop", &[backend.address]);
    let rules = json!([{"matches": [{"path": {"value": "/public"}}], "backendRefs": to("shop")}]);
    let address = set(&fixture, vec![route("web", &[], rules)]);
    for path in ["/public/../admin", "/public/%2e%2E/admin", "/public/."] {
        let received = send_raw(address, format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        assert!(received.starts_with("HTTP/1.1 400 "), "{received}");
    }
}

#[tokio::test]
async fn a_route_passes_bodies_and_tunnels() {
    let echo = Backend::http(|request: Request<hyper::body::Incoming>| async move {
        Response::new(Full::new(request.into_body().collect().await.unwrap().to_bytes()))
    })
    .await;
    let switch = Backend::raw(|mut stream| async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        read_head(&mut stream).await;
        let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
    })
    .await;
    let fixture = Fixture::new(&[]);
    set_service(&fixture.table, "echo", &[echo.address]);
    set_service(&fixture.table, "switch", &[switch.address]);
    let rules = json!([
        {"backendRefs": to("echo")},
        {"matches": [{"path": {"type": "Exact", "value": "/switch"}, "method": "GET"}], "backendRefs": to("switch")},
    ]);
    let address = set(&fixture, vec![route("web", &[], rules)]);
    let body = "x".repeat(200_000);
    assert_eq!(Client::connect(address).await.post("/switch", &body).await.unwrap().body(), &body);
    let received = send_raw(
        address,
        "GET /switch HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nping",
    )
    .await;
    assert!(received.starts_with("HTTP/1.1 101 ") && received.ends_with("ping"), "{received}");
}

/// Answers at once, and sends what it received through the channel.
async fn listening() -> (Backend, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let (sender, received) = tokio::sync::mpsc::unbounded_channel();
    let backend = Backend::http(move |request: Request<hyper::body::Incoming>| {
        let sender = sender.clone();
        async move {
            let head = format!("{} {} ", request.method(), request.uri());
            let body = request.into_body().collect().await.unwrap().to_bytes();
            sender.send(head + &String::from_utf8_lossy(&body)).unwrap();
            Response::new(Full::new(bytes::Bytes::from_static(b"not read by anybody")))
        }
    })
    .await;
    (backend, received)
}

fn mirrored(share: Value) -> Value {
    let mut mirror = json!({"backendRef": {"name": "shadow"}});
    let Value::Object(share) = share else { panic!("an object") };
    share.into_iter().for_each(|(key, value)| mirror[key] = value);
    json!([{"filters": [{"type": "RequestMirror", "requestMirror": mirror}], "backendRefs": to("shop")}])
}

#[tokio::test]
async fn a_mirrored_request_is_sent_to_the_other_service_and_its_answer_is_discarded() {
    let echo = Backend::http(|request: Request<hyper::body::Incoming>| async move {
        Response::new(Full::new(request.into_body().collect().await.unwrap().to_bytes()))
    })
    .await;
    let (shadow, mut received) = listening().await;
    let fixture = Fixture::new(&[]);
    set_service(&fixture.table, "shop", &[echo.address]);
    set_service(&fixture.table, "shadow", &[shadow.address]);
    let address = set(&fixture, vec![route("web", &[], mirrored(json!({})))]);
    let mut client = Client::connect(address).await;
    assert_eq!(client.post("/a?b", "carrot").await.unwrap().body(), "carrot");
    assert_eq!(within(received.recv()).await.unwrap(), "POST /a?b carrot");
    assert_eq!(client.get("/c").await.unwrap().body(), "");
    assert_eq!(within(received.recv()).await.unwrap(), "GET /c ");
    let long = "x".repeat(100_000);
    assert_eq!(client.post("/", &long).await.unwrap().body(), &long);
    let traffic = counted(&fixture, "web");
    assert_eq!((traffic.copies, traffic.copies_left_out), (2, 1), "a body that is not kept is not copied");
    let of_shadow = || fixture.table.traffic().into_iter().find(|it| &*it.service == "shadow").unwrap();
    until(|| of_shadow().endpoints[0].counts.status == [0, 2, 0, 0, 0]).await;
    assert_eq!(of_shadow().counts.requests, 0, "no client has sent it one");
}

#[tokio::test]
async fn a_mirrored_request_is_sent_to_the_port_that_its_rule_names() {
    let shop = Backend::named("shop").await;
    let (main, (port, mut received)) = (Backend::named("main").await, listening().await);
    let fixture = Fixture::new(&[]);
    set_service(&fixture.table, "shop", &[shop.address]);
    let mut shadow = ServiceRoute::without_listener("shadow");
    let ports = Arc::new([named_port("copies", port.address, Protocol::Http1)]);
    shadow.endpoints.push(EndpointRoute { ports, ..EndpointRoute::new(id(0), main.address) });
    fixture.table.set_service(&shadow).unwrap();
    let mut rules = mirrored(json!({}));
    rules[0]["filters"][0]["requestMirror"]["backendRef"]["port"] = "copies".into();
    let address = set(&fixture, vec![route("web", &[], rules)]);
    assert_eq!(Client::connect(address).await.get("/c").await.unwrap().body(), "shop");
    assert_eq!(within(received.recv()).await.unwrap(), "GET /c ");
}

#[tokio::test]
async fn a_share_of_copies_is_exact() {
    let shop = Backend::named("shop").await;
    let (shadow, mut received) = listening().await;
    let fixture = Fixture::with(&[], |config, _| config.workers = std::num::NonZeroUsize::MIN);
    set_service(&fixture.table, "shop", &[shop.address]);
    set_service(&fixture.table, "shadow", &[shadow.address]);
    let address = set(&fixture, vec![route("web", &[], mirrored(json!({"percent": 25})))]);
    let mut client = Client::connect(address).await;
    for n in 1..=8 {
        client.get(&format!("/{n}")).await.unwrap();
    }
    let mut copied = vec![within(received.recv()).await.unwrap(), within(received.recv()).await.unwrap()];
    copied.sort();
    // One of every four.
    assert!(["GET /1 ", "GET /2 ", "GET /3 ", "GET /4 "].contains(&copied[0].as_str()), "{copied:?}");
    assert!(["GET /5 ", "GET /6 ", "GET /7 ", "GET /8 "].contains(&copied[1].as_str()), "{copied:?}");
}

#[tokio::test]
async fn a_failing_mirror_neither_delays_nor_fails_a_request() {
    let shop = Backend::named("shop").await;
    let hangs = Backend::raw(|stream| async move {
        let _stream = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let fixture = Fixture::with(&[], |config, _| config.workers = std::num::NonZeroUsize::MIN);
    set_service(&fixture.table, "shop", &[shop.address]);
    let address = set(&fixture, vec![route("web", &[], mirrored(json!({})))]);
    let mut client = Client::connect(address).await;
    assert_eq!(client.get("/").await.unwrap().body(), "shop");
    for shadow in [unused_address(), hangs.address] {
        set_service(&fixture.table, "shadow", &[shadow]);
        for _ in 0..100 {
            assert_eq!(client.get("/").await.unwrap().body(), "shop");
        }
    }
    let traffic = counted(&fixture, "web");
    assert_eq!(traffic.status, [0, 201, 0, 0, 0]);
    assert!(traffic.copies_left_out >= 36, "no more than 64 are under way at once: {traffic:?}");
}

/// A route to the service `shop` with limits.
fn limited(limits: Value) -> Vec<AttachedRoute> {
    let mut spec = json!({"listen": "127.0.0.1:0", "rules": [{"backendRefs": to("shop")}]});
    spec["limits"] = limits;
    vec![AttachedRoute {
        name: "web".into(),
        created: 1,
        spec: Arc::new(serde_json::from_value(spec).unwrap()),
    }]
}

#[tokio::test]
async fn requests_over_the_rate_limit_get_retry_after() {
    let shop = Backend::named("shop").await;
    let fixture = Fixture::new(&[]);
    set_service(&fixture.table, "shop", &[shop.address]);
    for by in ["all", "client"] {
        // So slow that no second token comes while the test runs, on a machine however busy.
        let limits = json!({"requests": {"perSecond": 1, "burst": 3, "by": by}});
        let address = set(&fixture, limited(json!({})));
        set(&fixture, limited(limits.clone()));
        let mut statuses = Vec::new();
        // Every worker counts the same bucket.
        for _ in 0..8 {
            let response = Client::connect(address).await.get("/").await.unwrap();
            if response.status() == 429 {
                let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
                assert_eq!(wait, 1, "{by}");
            }
            statuses.push(response.status().as_u16());
        }
        assert_eq!(statuses[..3], [200; 3], "{by}");
        assert!(statuses.contains(&429), "{by}: {statuses:?}");
        // The same limit declared again keeps its bucket.
        let before = counted(&fixture, "web");
        set(&fixture, limited(limits));
        let refused = before.over_rate;
        assert_eq!(counted(&fixture, "web").over_rate, refused);
        assert_eq!(before.status[3], refused);
    }
}

#[tokio::test]
async fn a_body_that_is_too_long_is_413_announced_or_in_chunks() {
    let echo = Backend::http(|request: Request<hyper::body::Incoming>| async move {
        // An aborted answer to a copy is ignored.
        let body =
            request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        Response::new(Full::new(body))
    })
    .await;
    let fixture = Fixture::new(&[]);
    set_service(&fixture.table, "shop", &[echo.address]);
    let address = set(&fixture, limited(json!({"body": "1Ki"})));
    assert_eq!(Client::connect(address).await.post("/", &"x".repeat(1024)).await.unwrap().status(), 200);
    assert_eq!(Client::connect(address).await.post("/", &"x".repeat(1025)).await.unwrap().status(), 413);
    let chunk = |n: usize| format!("{n:x}\r\n{}\r\n", "x".repeat(n));
    let head = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let fits = send_raw(address, format!("{head}{}{}0\r\n\r\n", chunk(512), chunk(512))).await;
    assert!(fits.starts_with("HTTP/1.1 200 "), "{fits}");
    let too_long = send_raw(address, format!("{head}{}{}0\r\n\r\n", chunk(512), chunk(513))).await;
    assert!(too_long.starts_with("HTTP/1.1 413 "), "{too_long}");
    let of_shop = fixture.table.traffic().into_iter().find(|it| &*it.service == "shop").unwrap();
    assert_eq!(of_shop.endpoints[0].counts.failures, 0, "no endpoint is to blame");
}

#[tokio::test]
async fn connections_above_the_limit_wait_until_one_ends() {
    let shop = Backend::named("shop").await;
    let fixture = Fixture::new(&[]);
    set_service(&fixture.table, "shop", &[shop.address]);
    let address = set(&fixture, limited(json!({"connections": 2})));
    let (mut one, mut two) = (Client::connect(address).await, Client::connect(address).await);
    assert_eq!(one.get("/").await.unwrap().body(), "shop");
    assert_eq!(two.get("/").await.unwrap().body(), "shop");
    // The system accepts its connection, and no program reads from it.
    let mut three = Client::connect(address).await;
    let mut waiting = Box::pin(three.get("/"));
    let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
    assert!(early.is_err(), "{early:?}");
    drop(one);
    assert_eq!(waiting.await.unwrap().body(), "shop");
    let mut four = Client::connect(address).await;
    let mut waiting = Box::pin(four.get("/"));
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut waiting).await.is_err());
    set(&fixture, limited(json!({})));
    assert_eq!(waiting.await.unwrap().body(), "shop", "a limit that is lifted lets everybody in");
}

/// Unpacks an answer.
fn decompressed(bytes: &[u8]) -> String {
    use std::io::Read;
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text
}

/// Headers with digests of the bytes that an endpoint sends.
const DIGESTS: [&str; 4] = ["content-digest", "content-md5", "digest", "repr-digest"];

#[tokio::test]
async fn text_is_compressed_for_clients_that_accept_gzip() {
    let shop = Backend::http(|request: Request<hyper::body::Incoming>| async move {
        if request.uri().path() == "/same" {
            return Response::builder().status(304).body(Full::default()).unwrap();
        }
        let text =
            if request.uri().path() == "/short" { "short".to_owned() } else { "all work ".repeat(20_000) };
        let mut answer = Response::builder().header("etag", "\"1\"").header("accept-ranges", "bytes");
        for name in DIGESTS {
            answer = answer.header(name, "sha-256=:x:");
        }
        let answer = match request.uri().path() {
            "/part" => answer.status(206).header("content-type", "text/plain"),
            "/png" => answer.header("content-type", "image/png"),
            "/packed" => answer.header("content-type", "text/plain").header("content-encoding", "br"),
            "/as-is" => answer.header("content-type", "text/plain").header("cache-control", "no-transform"),
            _ => answer.header("content-type", "text/plain"),
        };
        answer.body(Full::new(bytes::Bytes::from(text))).unwrap()
    })
    .await;
    let fixture = Fixture::new(&[]);
    set_service(&fixture.table, "shop", &[shop.address]);
    let mut spec = json!({"listen": "127.0.0.1:0", "rules": [{"backendRefs": to("shop")}]});
    spec["compression"] = json!("gzip");
    let spec = Arc::new(serde_json::from_value(spec).unwrap());
    let address = set(&fixture, vec![AttachedRoute { name: "web".into(), created: 1, spec }]);
    let mut client = Client::connect(address).await;
    let with = |path: &str, encoding: &'static str| {
        let mut request = request("GET", path, "");
        request.headers_mut().insert("accept-encoding", encoding.parse().unwrap());
        request
    };
    let packed = client.send(with("/", "br, gzip")).await.unwrap();
    let header = |response: &Response<bytes::Bytes>, name: &str| {
        response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(header(&packed, "content-encoding").as_deref(), Some("gzip"));
    assert_eq!(header(&packed, "vary").as_deref(), Some("accept-encoding"));
    assert_eq!(header(&packed, "etag").as_deref(), Some("W/\"1\""));
    assert_eq!((header(&packed, "content-length"), header(&packed, "accept-ranges")), (None, None));
    assert_eq!(DIGESTS.map(|name| header(&packed, name)), [const { None }; 4], "they are of other bytes");
    assert!(packed.body().len() < 10_000, "{}", packed.body().len());
    assert_eq!(decompressed(packed.body()), "all work ".repeat(20_000));
    let plain = client.send(with("/", "br")).await.unwrap();
    assert_eq!((header(&plain, "content-encoding"), plain.body().len()), (None, 180_000));
    assert_eq!(header(&plain, "vary").as_deref(), Some("accept-encoding"), "a cache has to know");
    assert!(DIGESTS.iter().all(|name| header(&plain, name).is_some()), "{plain:?}");
    let mut head = with("/", "gzip");
    *head.method_mut() = Method::HEAD;
    let head = client.send(head).await.unwrap();
    assert_eq!(
        (header(&head, "content-encoding"), header(&head, "vary").as_deref()),
        (None, Some("accept-encoding"))
    );
    for path in ["/part", "/same"] {
        let unchanged = client.send(with(path, "gzip")).await.unwrap();
        assert_eq!(header(&unchanged, "content-encoding"), None, "{path}");
        assert_eq!(header(&unchanged, "vary").as_deref(), Some("accept-encoding"), "{path}");
    }
    for (path, encoding) in [("/png", None), ("/packed", Some("br")), ("/as-is", None), ("/short", None)] {
        let unchanged = client.send(with(path, "gzip")).await.unwrap();
        assert_eq!(header(&unchanged, "content-encoding").as_deref(), encoding, "{path}");
        assert_eq!(header(&unchanged, "etag").as_deref(), Some("\"1\""), "{path}");
    }
}

#[tokio::test]
async fn a_digest_in_the_trailers_of_a_compressed_answer_is_removed() {
    let shop = Backend::http(|_request: Request<hyper::body::Incoming>| async {
        let trailers = [("content-digest", "sha-256=:x:"), ("x-end", "1")];
        let trailers = trailers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let frames = [
            hyper::body::Frame::data(bytes::Bytes::from("all work ".repeat(100))),
            hyper::body::Frame::trailers(trailers.into_iter().collect()),
        ];
        let body = futures_util::stream::iter(frames.map(Ok::<_, std::convert::Infallible>));
        let answer = Response::builder()
            .header("content-type", "text/plain")
            .header("trailer", "content-digest, x-end");
        answer.body(http_body_util::StreamBody::new(body)).unwrap()
    })
    .await;
    let fixture = Fixture::new(&[]);
    set_service(&fixture.table, "shop", &[shop.address]);
    let mut spec = json!({"listen": "127.0.0.1:0", "rules": [{"backendRefs": to("shop")}]});
    spec["compression"] = json!("gzip");
    let spec = Arc::new(serde_json::from_value(spec).unwrap());
    let address = set(&fixture, vec![AttachedRoute { name: "web".into(), created: 1, spec }]);
    let head =
        "GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nTE: trailers\r\nConnection: te, close\r\n\r\n";
    let received = send_raw(address, head).await;
    let trailers = received.rsplit_once("\r\n0\r\n").expect("it ends with a last chunk").1;
    assert!(received.contains("content-encoding: gzip"), "{received}");
    assert_eq!(trailers, "x-end: 1\r\n\r\n");
}

#[tokio::test]
async fn a_streamed_answer_stays_streamed_when_compressed() {
    let (next, steps) = tokio::sync::watch::channel(1);
    let shop = Backend::http(move |_request: Request<hyper::body::Incoming>| {
        let steps = steps.clone();
        async move {
            let ticks = futures_util::stream::unfold((0, steps), |(n, mut steps)| async move {
                steps.wait_for(|may| *may > n).await.ok()?;
                let tick = bytes::Bytes::from(format!("data: {n}\n\n"));
                Some((Ok::<_, std::io::Error>(hyper::body::Frame::data(tick)), (n + 1, steps)))
            });
            let body = http_body_util::StreamBody::new(Box::pin(ticks));
            Response::builder().header("content-type", "text/event-stream").body(body).unwrap()
        }
    })
    .await;
    let fixture = Fixture::new(&[]);
    set_service(&fixture.table, "shop", &[shop.address]);
    let mut spec = json!({"listen": "127.0.0.1:0", "rules": [{"backendRefs": to("shop")}]});
    spec["compression"] = json!("gzip");
    let spec = Arc::new(serde_json::from_value(spec).unwrap());
    let address = set(&fixture, vec![AttachedRoute { name: "web".into(), created: 1, spec }]);
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    // HTTP/1.0 has no chunks: what follows the head is the body alone.
    stream.write_all(b"GET / HTTP/1.0\r\nhost: a\r\naccept-encoding: gzip\r\n\r\n").await.unwrap();
    let mut received = Vec::new();
    for n in 0..3 {
        next.send(n + 1).unwrap();
        let expected: String = (0..=n).map(|n| format!("data: {n}\n\n")).collect();
        // The next one is not sent before this one has come.
        within(async {
            loop {
                let at = received.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
                if at.is_some_and(|at| decompressed_part(&received[at..]) == expected) {
                    return;
                }
                assert!(stream.read_buf(&mut received).await.unwrap() > 0, "it ended early");
            }
        })
        .await;
    }
}

/// What can be decompressed of a body that has not ended.
fn decompressed_part(bytes: &[u8]) -> String {
    use std::io::Read;
    let mut text = Vec::new();
    // The body is aborted, and what was received before is there.
    let _ = flate2::read::GzDecoder::new(bytes).read_to_end(&mut text);
    String::from_utf8(text).unwrap()
}
