//! The table compared with a slow reference that follows the specification sentence by sentence.

use model::resource::route::{
    BackendRef, HeaderMatch, HeaderName, Hostname, Method, PathMatch, QueryParamMatch, RouteLimits,
    RouteRule, UrlPath,
};
use model::resource::{ListenAddress, RouteSpec};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

#[derive(Clone, Debug)]
struct Request {
    host: String,
    method: &'static str,
    path: String,
    query: String,
    headers: Vec<(&'static str, &'static str)>,
}

impl Head for Request {
    fn host(&self) -> &str {
        &self.host
    }

    fn method(&self) -> &str {
        self.method
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn query(&self) -> &str {
        &self.query
    }

    fn has_header(&self, name: &str, matches: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.headers.iter().any(|(key, value)| key.eq_ignore_ascii_case(name) && matches(value.as_bytes()))
    }
}

#[derive(Clone, Debug)]
struct NamedRoute {
    name: &'static str,
    created: u64,
    spec: RouteSpec,
}

fn lookup(routes: &[NamedRoute], request: &Request) -> Option<RuleMatch> {
    let entries: Vec<RouteEntry<'_>> = routes
        .iter()
        .map(|route| RouteEntry { name: route.name, created: route.created, spec: &route.spec })
        .collect();
    Table::compile(&entries).unwrap().lookup(request)
}

/// "Hostnames that are prefixed with a wildcard label (`*.`) are interpreted as a suffix match."
fn host_matches(declared: &str, host: &str) -> bool {
    let host = host.split(':').next().unwrap().to_ascii_lowercase();
    match declared.strip_prefix("*.") {
        None => host == declared,
        Some(parent) => host
            .strip_suffix(parent)
            .and_then(|rest| rest.strip_suffix('.'))
            .is_some_and(|label| !label.is_empty()),
    }
}

/// "Matches based on a URL path prefix split by `/` ... on a path element by element basis ... a trailing `/` is ignored."
/// And of `/`: "which has the effect of matching every HTTP request".
fn prefix_matches(prefix: &str, path: &str) -> bool {
    if prefix == "/" {
        return true;
    }
    let elements = |text: &str| -> Vec<String> {
        let text = text.strip_suffix('/').unwrap_or(text);
        text.split('/').map(str::to_owned).collect()
    };
    let (prefix, path) = (elements(prefix), elements(path));
    path.len() >= prefix.len() && path[..prefix.len()] == prefix[..]
}

fn match_holds(route_match: &RouteMatch, request: &Request) -> bool {
    let path = match route_match.path.kind {
        PathMatchType::Exact => request.path == route_match.path.value.as_str(),
        PathMatchType::PathPrefix => prefix_matches(route_match.path.value.as_str(), &request.path),
    };
    let value_matches = |kind: ValueMatchType, declared: &str, value: &str| match kind {
        ValueMatchType::Exact => declared == value,
        ValueMatchType::RegularExpression => {
            Regex::new(&format!("^({declared})$")).unwrap().is_match(value.as_bytes())
        }
    };
    path && route_match.method.is_none_or(|method| method.as_str() == request.method)
        && route_match.headers.iter().all(|header| {
            request.headers.iter().any(|(name, value)| {
                name.eq_ignore_ascii_case(header.name.as_str())
                    && value_matches(header.kind, &header.value, value)
            })
        })
        && route_match.query_params.iter().all(|param| {
            let pairs = request.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            let value = pairs.into_iter().find(|(name, _)| *name == param.name);
            value.is_some_and(|(_, value)| value_matches(param.kind, &param.value, value))
        })
}

/// The match to which "precedence must be given": the largest rank, whose parts are compared in this order.
fn reference(routes: &[NamedRoute], request: &Request) -> Option<(usize, usize)> {
    let mut ranked = Vec::new();
    for (r, route) in routes.iter().enumerate() {
        let hosts: Vec<&str> = route.spec.hostnames.iter().map(Hostname::as_str).collect();
        let hosts = if hosts.is_empty() { vec![""] } else { hosts };
        for host in hosts.into_iter().filter(|host| host.is_empty() || host_matches(host, &request.host)) {
            let exact_len = if host.starts_with('*') { 0 } else { host.len() };
            for (i, rule) in route.spec.rules.iter().enumerate() {
                let match_all = vec![RouteMatch::default()];
                let matches = if rule.matches.is_empty() { &match_all } else { &rule.matches };
                for found in matches.iter().filter(|route_match| match_holds(route_match, request)) {
                    let value = found.path.value.as_str();
                    let is_exact = found.path.kind == PathMatchType::Exact;
                    let prefix = value.strip_suffix('/').unwrap_or(value).len();
                    let rank = (
                        (exact_len, host.len()),
                        is_exact,
                        if is_exact { 0 } else { prefix },
                        found.method.is_some(),
                        found.headers.len(),
                        found.query_params.len(),
                        Reverse((route.created, route.name, i)),
                    );
                    ranked.push((rank, (r, i)));
                }
            }
        }
    }
    ranked.into_iter().max().map(|(_, found)| found)
}

fn value_match() -> impl Strategy<Value = (ValueMatchType, String)> {
    // Few expressions, because compiling them takes most of the time of these tests.
    let exact = select(vec!["1", "2", "22"]).prop_map(|value| (ValueMatchType::Exact, value.to_owned()));
    let expressions = select(vec!["1|22", "[12]", "2+"]);
    let expression = expressions.prop_map(|value| (ValueMatchType::RegularExpression, value.to_owned()));
    prop_oneof![6 => exact, 1 => expression]
}

fn header_match() -> impl Strategy<Value = HeaderMatch> {
    (select(vec!["x", "Y"]), value_match()).prop_map(|(name, (kind, value))| HeaderMatch {
        kind,
        name: HeaderName::parse(name).unwrap(),
        value,
    })
}

fn param_match() -> impl Strategy<Value = QueryParamMatch> {
    (select(vec!["p", "q"]), value_match()).prop_map(|(name, (kind, value))| QueryParamMatch {
        kind,
        name: name.to_owned(),
        value,
    })
}

fn path_match() -> impl Strategy<Value = PathMatch> {
    let kinds = select(vec![PathMatchType::Exact, PathMatchType::PathPrefix, PathMatchType::PathPrefix]);
    let paths = select(vec!["/", "/a", "/a/", "/a/b", "/a/b/", "/ab", "/a/b/c"]);
    (kinds, paths).prop_map(|(kind, path)| PathMatch { kind, value: UrlPath::parse(path).unwrap() })
}

fn route_match() -> impl Strategy<Value = RouteMatch> {
    let methods = of(select(vec![Method::Get, Method::Post]));
    (path_match(), vec(header_match(), 0..3), vec(param_match(), 0..3), methods).prop_map(
        |(path, mut headers, mut query_params, method)| {
            headers.dedup_by(|a, b| a.name == b.name);
            query_params.dedup_by(|a, b| a.name == b.name);
            RouteMatch { path, headers, query_params, method }
        },
    )
}

fn routes() -> impl Strategy<Value = Vec<NamedRoute>> {
    let hosts = select(vec!["a.b", "x.a.b", "*.b", "*.a.b", "*.x.a.b"]);
    let hosts = vec(hosts.prop_map(|host| Hostname::parse(host).unwrap()), 0..3);
    let rules = vec(vec(route_match(), 0..3), 1..4);
    vec((hosts, rules, 0u64..3), 1..5).prop_map(|routes| {
        let names = ["d", "b", "c", "a"];
        let named = routes.into_iter().zip(names).map(|((hostnames, rules, created), name)| {
            let rules =
                rules.into_iter().map(|matches| RouteRule { matches, ..RouteRule::default() }).collect();
            let listen = ListenAddress::parse("127.0.0.1:80").unwrap();
            NamedRoute {
                name,
                created,
                spec: RouteSpec {
                    listen,
                    tls: None,
                    hostnames,
                    rules,
                    limits: RouteLimits::default(),
                    compression: None,
                    access_log: None,
                },
            }
        });
        named.collect()
    })
}

/// Routes whose rules all match [`fixed_request`], so that only precedence decides.
fn competing_routes() -> impl Strategy<Value = Vec<NamedRoute>> {
    let header = |name: &str| HeaderMatch {
        kind: ValueMatchType::Exact,
        name: HeaderName::parse(name).unwrap(),
        value: "1".into(),
    };
    let param =
        |name: &str| QueryParamMatch { kind: ValueMatchType::Exact, name: name.into(), value: "1".into() };
    let paths = select(vec![
        (PathMatchType::Exact, "/a/b"),
        (PathMatchType::PathPrefix, "/a"),
        (PathMatchType::PathPrefix, "/a/b"),
    ]);
    let path = paths.prop_map(|(kind, path)| PathMatch { kind, value: UrlPath::parse(path).unwrap() });
    let matches = (path, 0usize..3, 0usize..3, of(Just(Method::Get)));
    let matches = matches.prop_map(move |(path, headers, params, method)| RouteMatch {
        path,
        headers: ["x", "y"][..headers].iter().map(|name| header(name)).collect(),
        query_params: ["p", "q"][..params].iter().map(|name| param(name)).collect(),
        method,
    });
    (routes(), vec(vec(vec(matches, 1..3), 1..4), 4)).prop_map(|(mut routes, rules)| {
        for (route, rules) in routes.iter_mut().zip(rules) {
            route.spec.hostnames.retain(|host| host_matches(host.as_str(), "x.a.b"));
            let rules = rules.into_iter().map(|matches| RouteRule { matches, ..RouteRule::default() });
            route.spec.rules = rules.collect();
        }
        routes
    })
}

fn fixed_request() -> Request {
    Request {
        host: "x.a.b".into(),
        method: "GET",
        path: "/a/b".into(),
        query: "p=1&q=1".into(),
        headers: vec![("x", "1"), ("y", "1")],
    }
}

fn request() -> impl Strategy<Value = Request> {
    let hosts = select(vec!["a.b", "A.B:80", "x.a.b", "y.x.A.b", "z.b", "c", "b", ".b", ""]);
    let paths =
        select(vec!["/", "/a", "/a/", "/a/b", "/a/b/", "/a/b/c", "/ab", "/abc", "//a", "/a//b", "*", "/A"]);
    let queries = select(vec!["", "p=1", "p=2&p=1", "q=22", "p=1&q=2", "p", "p=11"]);
    let headers = vec((select(vec!["x", "X", "y"]), select(vec!["1", "2", "22", "11"])), 0..3);
    (hosts, select(vec!["GET", "POST", "get"]), paths, queries, headers).prop_map(
        |(host, method, path, query, headers)| Request {
            host: host.to_owned(),
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_table_agrees_with_the_specification(routes in routes(), requests in vec(request(), 1..20)) {
        for request in &requests {
            let found = lookup(&routes, request);
            prop_assert_eq!(found.map(|found| (found.route, found.rule)), reference(&routes, request), "{:?}", request);
        }
    }

    #[test]
    fn precedence_decides_between_matching_rules(routes in competing_routes()) {
        let found = lookup(&routes, &fixed_request()).map(|found| (found.route, found.rule));
        prop_assert_eq!(found, reference(&routes, &fixed_request()));
        prop_assert!(found.is_some());
    }

    #[test]
    fn the_order_of_the_routes_has_no_effect(routes in routes(), request in request()) {
        let named = |routes: &[NamedRoute]| lookup(routes, &request).map(|found| (routes[found.route].name, found.rule));
        let mut reversed = routes.clone();
        reversed.reverse();
        prop_assert_eq!(named(&routes), named(&reversed));
    }

    #[test]
    fn a_matched_prefix_ends_at_the_end_of_an_element(routes in routes(), request in request()) {
        if let Some(found) = lookup(&routes, &request) {
            let rest = &request.path[found.prefix_len..];
            prop_assert!(found.prefix_len == 0 || rest.is_empty() || rest.starts_with('/'), "{rest}");
        }
    }
}

/// A route with these fields in its spec, and defaults for the others.
fn route(name: &'static str, created: u64, fields: serde_json::Value) -> NamedRoute {
    let mut spec = serde_json::json!({"listen": "127.0.0.1:80", "rules": [{}]});
    let serde_json::Value::Object(fields) = fields else { panic!("an object") };
    fields.into_iter().for_each(|(key, value)| spec[key] = value);
    NamedRoute { name, created, spec: serde_json::from_value(spec).expect("a spec") }
}

fn get(host: &str, path: &str) -> Request {
    let (host, path) = (host.to_owned(), path.to_owned());
    Request { host, method: "GET", path, query: String::new(), headers: Vec::new() }
}

#[test]
fn a_more_specific_host_without_a_matching_rule_falls_back_to_others() {
    let routes = [
        route("all", 1, serde_json::json!({})),
        route(
            "one",
            2,
            serde_json::json!({"hostnames": ["a.b"], "rules": [{"matches": [{"path": {"value": "/a"}}]}]}),
        ),
    ];
    let name = |path: &str| lookup(&routes, &get("a.b", path)).map(|found| routes[found.route].name);
    assert_eq!(name("/a"), Some("one"));
    assert_eq!(name("/b"), Some("all"));
}

#[test]
fn ties_are_decided_by_age_and_then_by_name() {
    let winner = |a: u64, b: u64| {
        let routes = [route("b", b, serde_json::json!({})), route("a", a, serde_json::json!({}))];
        lookup(&routes, &get("h", "/")).map(|found| routes[found.route].name)
    };
    assert_eq!(winner(2, 1), Some("b"));
    assert_eq!(winner(1, 1), Some("a"));
}

#[test]
fn a_request_without_a_matching_route_has_no_rule() {
    assert_eq!(Table::default().lookup(&get("a.b", "/")), None);
    let routes = [route("a", 1, serde_json::json!({"hostnames": ["*.b"]}))];
    assert_eq!(lookup(&routes, &get("b", "/")), None);
    assert_eq!(lookup(&routes, &get(&"a.".repeat(200), "/")), None);
}

#[test]
fn a_rule_matches_even_if_its_backends_have_no_weight() {
    let name = model::name::ServiceName::parse("shop").unwrap();
    let backend = BackendRef { name, port: None, weight: 0 };
    let mut route = route("a", 1, serde_json::json!({}));
    route.spec.rules[0].backend_refs = vec![backend];
    assert!(lookup(&[route], &get("h", "/")).is_some());
}

#[test]
fn equivalent_encodings_of_a_path_match_the_same_rule() {
    let rules = serde_json::json!([
        {}, {"matches": [{"path": {"value": "/admin"}}]}, {"matches": [{"path": {"type": "Exact", "value": "/%7Eme"}}]},
    ]);
    let routes = [route("all", 1, serde_json::json!({"rules": rules}))];
    let found = |path: &str| lookup(&routes, &get("a.b", path)).map(|found| (found.rule, found.prefix_len));
    assert_eq!(found("/admin/x"), Some((1, 6)));
    assert_eq!(found("/%61dmin/%78"), Some((1, 8)));
    assert_eq!(found("/%41dmin"), Some((0, 0)), "it is /Admin");
    assert_eq!(found("/admin%2Fx"), Some((0, 0)), "it is one element");
    assert_eq!((found("/~me"), found("/%7eme")), (Some((2, 0)), Some((2, 0))));
}
