//! The table compared with an oracle that is written from the specification, sentence by sentence, and may be slow.

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
struct RequestTarget {
    host: String,
    method: &'static str,
    path: String,
    query: String,
    headers: Vec<(&'static str, &'static str)>,
}

impl Head for RequestTarget {
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
struct Declared {
    name: &'static str,
    created: u64,
    spec: RouteSpec,
}

fn lookup(routes: &[Declared], asked: &RequestTarget) -> Option<RuleMatch> {
    let members: Vec<RouteEntry<'_>> =
        routes.iter().map(|it| RouteEntry { name: it.name, created: it.created, spec: &it.spec }).collect();
    Table::compile(&members).unwrap().lookup(asked)
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

fn all_hold(one: &RouteMatch, asked: &RequestTarget) -> bool {
    let path = match one.path.kind {
        PathMatchType::Exact => asked.path == one.path.value.as_str(),
        PathMatchType::PathPrefix => prefix_matches(one.path.value.as_str(), &asked.path),
    };
    let value_fits = |kind: ValueMatchType, declared: &str, value: &str| match kind {
        ValueMatchType::Exact => declared == value,
        ValueMatchType::RegularExpression => {
            Regex::new(&format!("^({declared})$")).unwrap().is_match(value.as_bytes())
        }
    };
    path && one.method.is_none_or(|method| method.as_str() == asked.method)
        && one.headers.iter().all(|header| {
            asked.headers.iter().any(|(name, value)| {
                name.eq_ignore_ascii_case(header.name.as_str())
                    && value_fits(header.kind, &header.value, value)
            })
        })
        && one.query_params.iter().all(|param| {
            let pairs = asked.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            let value = pairs.into_iter().find(|(name, _)| *name == param.name);
            value.is_some_and(|(_, value)| value_fits(param.kind, &param.value, value))
        })
}

/// Among everything that matches, "precedence must be given to" the largest by these, each breaking the ties of the one before.
fn oracle(routes: &[Declared], asked: &RequestTarget) -> Option<(usize, usize)> {
    let mut all = Vec::new();
    for (r, route) in routes.iter().enumerate() {
        let hosts: Vec<&str> = route.spec.hostnames.iter().map(Hostname::as_str).collect();
        let hosts = if hosts.is_empty() { vec![""] } else { hosts };
        for host in hosts.into_iter().filter(|host| host.is_empty() || host_matches(host, &asked.host)) {
            let of_single = if host.starts_with('*') { 0 } else { host.len() };
            for (i, rule) in route.spec.rules.iter().enumerate() {
                let whole = vec![RouteMatch::default()];
                let matches = if rule.matches.is_empty() { &whole } else { &rule.matches };
                for one in matches.iter().filter(|one| all_hold(one, asked)) {
                    let value = one.path.value.as_str();
                    let is_exact = one.path.kind == PathMatchType::Exact;
                    let prefix = value.strip_suffix('/').unwrap_or(value).len();
                    let rank = (
                        (of_single, host.len()),
                        is_exact,
                        if is_exact { 0 } else { prefix },
                        one.method.is_some(),
                        one.headers.len(),
                        one.query_params.len(),
                        Reverse((route.created, route.name, i)),
                    );
                    all.push((rank, (r, i)));
                }
            }
        }
    }
    all.into_iter().max().map(|(_, found)| found)
}

fn value_match() -> impl Strategy<Value = (ValueMatchType, String)> {
    // Seldom an expression: compiling them is what these tests spend their time on.
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

fn a_match() -> impl Strategy<Value = RouteMatch> {
    let methods = of(select(vec![Method::Get, Method::Post]));
    (path_match(), vec(header_match(), 0..3), vec(param_match(), 0..3), methods).prop_map(
        |(path, mut headers, mut query_params, method)| {
            headers.dedup_by(|a, b| a.name == b.name);
            query_params.dedup_by(|a, b| a.name == b.name);
            RouteMatch { path, headers, query_params, method }
        },
    )
}

fn routes() -> impl Strategy<Value = Vec<Declared>> {
    let hosts = select(vec!["a.b", "x.a.b", "*.b", "*.a.b", "*.x.a.b"]);
    let hosts = vec(hosts.prop_map(|host| Hostname::parse(host).unwrap()), 0..3);
    let rules = vec(vec(a_match(), 0..3), 1..4);
    vec((hosts, rules, 0u64..3), 1..5).prop_map(|all| {
        let names = ["d", "b", "c", "a"];
        let declared = all.into_iter().zip(names).map(|((hostnames, rules, created), name)| {
            let rules =
                rules.into_iter().map(|matches| RouteRule { matches, ..RouteRule::default() }).collect();
            let listen = ListenAddress::parse("127.0.0.1:80").unwrap();
            Declared {
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
        declared.collect()
    })
}

/// Routes of which every rule is for [`the_one_asked`], so that nothing but precedence decides.
fn rivals() -> impl Strategy<Value = Vec<Declared>> {
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
    let one = (path, 0usize..3, 0usize..3, of(Just(Method::Get)));
    let one = one.prop_map(move |(path, headers, params, method)| RouteMatch {
        path,
        headers: ["x", "y"][..headers].iter().map(|name| header(name)).collect(),
        query_params: ["p", "q"][..params].iter().map(|name| param(name)).collect(),
        method,
    });
    (routes(), vec(vec(vec(one, 1..3), 1..4), 4)).prop_map(|(mut routes, rules)| {
        for (route, rules) in routes.iter_mut().zip(rules) {
            route.spec.hostnames.retain(|host| host_matches(host.as_str(), "x.a.b"));
            let rules = rules.into_iter().map(|matches| RouteRule { matches, ..RouteRule::default() });
            route.spec.rules = rules.collect();
        }
        routes
    })
}

fn the_one_asked() -> RequestTarget {
    RequestTarget {
        host: "x.a.b".into(),
        method: "GET",
        path: "/a/b".into(),
        query: "p=1&q=1".into(),
        headers: vec![("x", "1"), ("y", "1")],
    }
}

fn asked() -> impl Strategy<Value = RequestTarget> {
    let hosts = select(vec!["a.b", "A.B:80", "x.a.b", "y.x.A.b", "z.b", "c", "b", ".b", ""]);
    let paths =
        select(vec!["/", "/a", "/a/", "/a/b", "/a/b/", "/a/b/c", "/ab", "/abc", "//a", "/a//b", "*", "/A"]);
    let queries = select(vec!["", "p=1", "p=2&p=1", "q=22", "p=1&q=2", "p", "p=11"]);
    let headers = vec((select(vec!["x", "X", "y"]), select(vec!["1", "2", "22", "11"])), 0..3);
    (hosts, select(vec!["GET", "POST", "get"]), paths, queries, headers).prop_map(
        |(host, method, path, query, headers)| RequestTarget {
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
    fn the_table_answers_what_the_specification_says(routes in routes(), asked in vec(asked(), 1..20)) {
        for asked in &asked {
            let found = lookup(&routes, asked);
            prop_assert_eq!(found.map(|found| (found.route, found.rule)), oracle(&routes, asked), "{:?}", asked);
        }
    }

    #[test]
    fn among_rules_that_all_hold_precedence_decides(routes in rivals()) {
        let found = lookup(&routes, &the_one_asked()).map(|found| (found.route, found.rule));
        prop_assert_eq!(found, oracle(&routes, &the_one_asked()));
        prop_assert!(found.is_some());
    }

    #[test]
    fn the_order_in_which_routes_are_given_is_without_effect(routes in routes(), asked in asked()) {
        let named = |routes: &[Declared]| lookup(routes, &asked).map(|found| (routes[found.route].name, found.rule));
        let mut turned = routes.clone();
        turned.reverse();
        prop_assert_eq!(named(&routes), named(&turned));
    }

    #[test]
    fn what_a_prefix_covers_ends_where_an_element_ends(routes in routes(), asked in asked()) {
        if let Some(found) = lookup(&routes, &asked) {
            let rest = &asked.path[found.prefix_len..];
            prop_assert!(found.prefix_len == 0 || rest.is_empty() || rest.starts_with('/'), "{rest}");
        }
    }
}

fn declared(name: &'static str, created: u64, spec: serde_json::Value) -> Declared {
    let mut whole = serde_json::json!({"listen": "127.0.0.1:80", "rules": [{}]});
    let serde_json::Value::Object(fields) = spec else { panic!("an object") };
    fields.into_iter().for_each(|(key, value)| whole[key] = value);
    Declared { name, created, spec: serde_json::from_value(whole).expect("a spec") }
}

fn get(host: &str, path: &str) -> RequestTarget {
    let (host, path) = (host.to_owned(), path.to_owned());
    RequestTarget { host, method: "GET", path, query: String::new(), headers: Vec::new() }
}

#[test]
fn a_closer_host_that_has_no_rule_for_the_path_leaves_it_to_the_others() {
    let routes = [
        declared("all", 1, serde_json::json!({})),
        declared(
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
fn among_equals_the_older_route_goes_first_and_then_the_first_name() {
    let of = |a: u64, b: u64| {
        let routes = [declared("b", b, serde_json::json!({})), declared("a", a, serde_json::json!({}))];
        lookup(&routes, &get("h", "/")).map(|found| routes[found.route].name)
    };
    assert_eq!(of(2, 1), Some("b"));
    assert_eq!(of(1, 1), Some("a"));
}

#[test]
fn nothing_declared_matches_nothing() {
    assert_eq!(Table::default().lookup(&get("a.b", "/")), None);
    let one = [declared("a", 1, serde_json::json!({"hostnames": ["*.b"]}))];
    assert_eq!(lookup(&one, &get("b", "/")), None);
    assert_eq!(lookup(&one, &get(&"a.".repeat(200), "/")), None);
}

#[test]
fn a_rule_is_found_whatever_its_services_are() {
    let name = model::name::ServiceName::parse("shop").unwrap();
    let backend = BackendRef { name, port: None, weight: 0 };
    let mut one = declared("a", 1, serde_json::json!({}));
    one.spec.rules[0].backend_refs = vec![backend];
    assert!(lookup(&[one], &get("h", "/")).is_some());
}

#[test]
fn a_path_that_is_written_otherwise_is_the_same_path() {
    let rules = serde_json::json!([
        {}, {"matches": [{"path": {"value": "/admin"}}]}, {"matches": [{"path": {"type": "Exact", "value": "/%7Eme"}}]},
    ]);
    let routes = [declared("all", 1, serde_json::json!({"rules": rules}))];
    let found = |path: &str| lookup(&routes, &get("a.b", path)).map(|found| (found.rule, found.prefix_len));
    assert_eq!(found("/admin/x"), Some((1, 6)));
    assert_eq!(found("/%61dmin/%78"), Some((1, 8)));
    assert_eq!(found("/%41dmin"), Some((0, 0)), "it is /Admin");
    assert_eq!(found("/admin%2Fx"), Some((0, 0)), "it is one element");
    assert_eq!((found("/~me"), found("/%7eme")), (Some((2, 0)), Some((2, 0))));
}
