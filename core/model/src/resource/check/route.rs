//! What must hold of a route by itself.

use std::collections::BTreeSet;

use super::{Severity, access_log, tls};
use crate::resource::route::{
    BackendRef, HeaderModifier, HeaderName, Hostname, PathMatchType, PathModifier, RequestMirror,
    RouteFilter, RouteMatch, RouteRule, RouteTimeouts, ValueMatchType,
};
use crate::resource::{Problem, Quantity, Route, RouteSpec, Span};

/// Most hosts of a route, as the Gateway API has it.
const HOSTNAMES_MAX: usize = 16;

/// Most rules of a route, as the Gateway API has it.
const RULES_MAX: usize = 16;

/// Most matches of a rule, as the Gateway API has it.
const MATCHES_MAX: usize = 64;

/// Most headers, parameters, filters or services in one list, as the Gateway API has it.
const ENTRIES_MAX: usize = 16;

/// Largest weight, as the Gateway API has it: a share of a millionth can be said.
const WEIGHT_MAX: u32 = 1_000_000;

/// Longest value to compare a header with, in bytes, as the Gateway API has it.
const HEADER_VALUE_LEN_MAX: usize = 4096;

/// Longest value to compare a parameter with, in bytes, as the Gateway API has it.
const PARAM_VALUE_LEN_MAX: usize = 1024;

/// Longest name of a parameter, in bytes, as the Gateway API has it.
const PARAM_NAME_LEN_MAX: usize = 256;

/// Longest time to wait for an answer: as for every other wait of the proxy.
const WAIT_MAX: Span = Span::from_secs(3600);

/// Headers that say how a message is framed, or to whom: changed by themselves they would make another message of it.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Most regular expressions of a route: each may take half a megabyte.
const EXPRESSIONS_MAX: usize = 64;

/// Most of anything that a limit counts: past a million a typing error is likelier than a wish.
const LIMIT_MAX: u32 = 1_000_000;

type Found = Vec<(Severity, Problem)>;

pub(super) fn problems(route: &Route) -> Found {
    let mut found = Found::new();
    let spec = &route.spec;
    at_most("spec.hostnames", "hosts", spec.hostnames.len(), HOSTNAMES_MAX, &mut found);
    at_most("spec.rules", "rules", spec.rules.len(), RULES_MAX, &mut found);
    if spec.rules.is_empty() {
        found.push(error("spec.rules", "a route has at least one rule"));
    }
    let matches = || spec.rules.iter().flat_map(|rule| &rule.matches);
    let kinds = matches().flat_map(|one| {
        one.headers.iter().map(|header| header.kind).chain(one.query_params.iter().map(|param| param.kind))
    });
    let expressions = kinds.filter(|kind| *kind == ValueMatchType::RegularExpression).count();
    at_most("spec.rules", "regular expressions", expressions, EXPRESSIONS_MAX, &mut found);
    limits(spec, &mut found);
    if let Some(tls) = &spec.tls {
        tls::problems("spec.tls", tls, &mut found);
    }
    if let Some(log) = &spec.access_log {
        access_log::problems("spec.accessLog", log, &mut found);
    }
    let mut hosts = BTreeSet::new();
    for (i, host) in spec.hostnames.iter().enumerate().filter(|(_, host)| !hosts.insert(*host)) {
        found.push(error(format!("spec.hostnames[{i}]"), format!("{host} is named twice")));
    }
    for (i, one) in spec.rules.iter().enumerate() {
        rule(&format!("spec.rules[{i}]"), one, &mut found);
    }
    found
}

fn error(path: impl Into<String>, text: impl Into<String>) -> (Severity, Problem) {
    (Severity::Error, Problem::at(path, text))
}

fn limits(spec: &RouteSpec, found: &mut Found) {
    let limits = &spec.limits;
    let requests = limits.requests.as_ref();
    let numbers = [
        ("requests.perSecond", requests.map(|it| it.per_second)),
        ("requests.burst", requests.and_then(|it| it.burst)),
        ("connections", limits.connections),
    ];
    for (field, number) in numbers.into_iter().filter_map(|(field, number)| Some((field, number?))) {
        if number.get() > LIMIT_MAX {
            let text = format!("it lies between 1 and {LIMIT_MAX}, not {number}");
            found.push(error(format!("spec.limits.{field}"), text));
        }
    }
    if let Some(body) = limits.body.filter(|body| *body < Quantity::ZERO || body.milli() % 1000 != 0) {
        let text = format!("bytes are counted in whole numbers from 0, not {body}; write 1Mi for 1 MiB");
        found.push(error("spec.limits.body", text));
    }
}

fn at_most(path: &str, what: &str, count: usize, max: usize, found: &mut Found) {
    if count > max {
        found.push(error(path, format!("there are {count} {what}, and may be {max}")));
    }
}

fn rule(at: &str, rule: &RouteRule, found: &mut Found) {
    at_most(&format!("{at}.matches"), "matches", rule.matches.len(), MATCHES_MAX, found);
    at_most(&format!("{at}.filters"), "filters", rule.filters.len(), ENTRIES_MAX, found);
    at_most(&format!("{at}.backendRefs"), "services", rule.backend_refs.len(), ENTRIES_MAX, found);
    for (i, one) in rule.matches.iter().enumerate() {
        a_match(&format!("{at}.matches[{i}]"), one, found);
    }
    for (i, one) in rule.filters.iter().enumerate() {
        filter(&format!("{at}.filters[{i}]"), one, rule, found);
    }
    filters_together(at, rule, found);
    for (i, one) in rule.backend_refs.iter().enumerate() {
        backend(&format!("{at}.backendRefs[{i}]"), one, found);
    }
    timeouts(&format!("{at}.timeouts"), rule.timeouts, found);
}

fn a_match(at: &str, one: &RouteMatch, found: &mut Found) {
    at_most(&format!("{at}.headers"), "headers", one.headers.len(), ENTRIES_MAX, found);
    at_most(&format!("{at}.queryParams"), "parameters", one.query_params.len(), ENTRIES_MAX, found);
    let mut names = BTreeSet::new();
    for (i, header) in one.headers.iter().enumerate() {
        let at = format!("{at}.headers[{i}]");
        if !names.insert(header.name.as_str().to_ascii_lowercase()) {
            found.push(error(format!("{at}.name"), format!("{} is named twice", header.name)));
        }
        value(&at, header.kind, &header.value, HEADER_VALUE_LEN_MAX, found);
    }
    let mut names = BTreeSet::new();
    for (i, param) in one.query_params.iter().enumerate() {
        let at = format!("{at}.queryParams[{i}]");
        if !(1..=PARAM_NAME_LEN_MAX).contains(&param.name.len()) {
            let text = format!("the name of a parameter has 1 to {PARAM_NAME_LEN_MAX} bytes");
            found.push(error(format!("{at}.name"), text));
        } else if !names.insert(&param.name) {
            found.push(error(format!("{at}.name"), format!("{} is named twice", param.name)));
        }
        value(&at, param.kind, &param.value, PARAM_VALUE_LEN_MAX, found);
    }
}

fn value(at: &str, kind: ValueMatchType, value: &str, len_max: usize, found: &mut Found) {
    let at = format!("{at}.value");
    if !(1..=len_max).contains(&value.len()) {
        found.push(error(at, format!("it has 1 to {len_max} bytes, not {}", value.len())));
        return;
    }
    match kind {
        ValueMatchType::Exact => {}
        ValueMatchType::RegularExpression => {
            if let Err(why) = super::super::route::expression(value) {
                found.push(error(at, format!("it is no regular expression: {why}")));
            }
        }
    }
}

fn filter(at: &str, filter: &RouteFilter, rule: &RouteRule, found: &mut Found) {
    match filter {
        RouteFilter::RequestHeaderModifier(modifier) => {
            headers(&format!("{at}.requestHeaderModifier"), modifier, found);
        }
        RouteFilter::ResponseHeaderModifier(modifier) => {
            headers(&format!("{at}.responseHeaderModifier"), modifier, found);
        }
        RouteFilter::RequestMirror(it) => mirror(&format!("{at}.requestMirror"), it, found),
        RouteFilter::RequestRedirect(redirect) => {
            let at = format!("{at}.requestRedirect");
            if !rule.backend_refs.is_empty() {
                found.push(error(&at, "a rule that redirects has no backendRefs: take one of the two out"));
            }
            single_host(&at, redirect.hostname.as_ref(), found);
            replaced_path(&at, redirect.path.as_ref(), rule, found);
        }
        RouteFilter::UrlRewrite(rewrite) => {
            let at = format!("{at}.urlRewrite");
            single_host(&at, rewrite.hostname.as_ref(), found);
            replaced_path(&at, rewrite.path.as_ref(), rule, found);
        }
    }
}

fn headers(at: &str, modifier: &HeaderModifier, found: &mut Found) {
    let mut names: BTreeSet<String> = BTreeSet::new();
    let mut named = |at: String, name: &HeaderName| {
        let lower = name.as_str().to_ascii_lowercase();
        if FRAMING.contains(&lower.as_str()) {
            let text =
                format!("{name} belongs to how a message is sent, and is the proxy's alone: take it out");
            found.push(error(at, text));
        } else if !names.insert(lower) {
            found.push(error(at, format!("{name} is named twice; say in one place what becomes of it")));
        }
    };
    for (field, settings) in [("set", &modifier.set), ("add", &modifier.add)] {
        for (i, setting) in settings.iter().enumerate() {
            named(format!("{at}.{field}[{i}].name"), &setting.name);
        }
    }
    for (i, name) in modifier.remove.iter().enumerate() {
        named(format!("{at}.remove[{i}]"), name);
    }
    let lists = [("set", modifier.set.len()), ("add", modifier.add.len()), ("remove", modifier.remove.len())];
    for (field, count) in lists {
        at_most(&format!("{at}.{field}"), "headers", count, ENTRIES_MAX, found);
    }
}

fn mirror(at: &str, mirror: &RequestMirror, found: &mut Found) {
    backend(&format!("{at}.backendRef"), &mirror.backend_ref, found);
    if mirror.percent.is_some() && mirror.fraction.is_some() {
        found.push(error(at, "the share is said by percent or by fraction, not by both: take one out"));
    }
    if let Some(percent) = mirror.percent.filter(|percent| *percent > 100) {
        found.push(error(format!("{at}.percent"), format!("it lies between 0 and 100, not {percent}")));
    }
    if let Some(fraction) = mirror.fraction.filter(|it| it.numerator > it.denominator.get()) {
        let text = format!("{} of {} is more than all", fraction.numerator, fraction.denominator);
        found.push(error(format!("{at}.fraction.numerator"), text));
    }
}

fn single_host(at: &str, host: Option<&Hostname>, found: &mut Found) {
    if let Some(host) = host.filter(|host| host.suffix().is_some()) {
        let text = format!("one host is needed here, and {host} stands for many");
        found.push(error(format!("{at}.hostname"), text));
    }
}

fn replaced_path(at: &str, path: Option<&PathModifier>, rule: &RouteRule, found: &mut Found) {
    match path {
        Some(PathModifier::ReplacePrefixMatch(_)) => {
            let has_one_prefix = match rule.matches.as_slice() {
                [only] => only.path.kind == PathMatchType::PathPrefix,
                _ => false,
            };
            if !has_one_prefix {
                let text =
                    "which prefix is replaced is only clear in a rule with one match, of type PathPrefix";
                found.push(error(format!("{at}.path"), text));
            }
        }
        Some(PathModifier::ReplaceFullPath(_)) | None => {}
    }
}

fn filters_together(at: &str, rule: &RouteRule, found: &mut Found) {
    let place = |is_meant: fn(&RouteFilter) -> bool| rule.filters.iter().position(is_meant);
    let redirect = place(|filter| matches!(filter, RouteFilter::RequestRedirect(_)));
    let rewrite = place(|filter| matches!(filter, RouteFilter::UrlRewrite(_)));
    if let (Some(_), Some(i)) = (redirect, rewrite) {
        let text = "a rule that redirects sends nothing on that could be rewritten: take one of the two out";
        found.push(error(format!("{at}.filters[{i}]"), text));
    }
    let mut seen = BTreeSet::new();
    for (i, filter) in rule.filters.iter().enumerate() {
        let kind = match filter {
            RouteFilter::RequestHeaderModifier(_) => "RequestHeaderModifier",
            RouteFilter::ResponseHeaderModifier(_) => "ResponseHeaderModifier",
            RouteFilter::RequestRedirect(_) => "RequestRedirect",
            RouteFilter::UrlRewrite(_) => "URLRewrite",
            RouteFilter::RequestMirror(_) => continue,
        };
        if !seen.insert(kind) {
            found.push(error(format!("{at}.filters[{i}]"), format!("a rule has one filter of type {kind}")));
        }
    }
}

fn backend(at: &str, backend: &BackendRef, found: &mut Found) {
    if backend.weight > WEIGHT_MAX {
        let text = format!("it lies between 0 and {WEIGHT_MAX}, not {}", backend.weight);
        found.push(error(format!("{at}.weight"), text));
    }
}

fn timeouts(at: &str, timeouts: RouteTimeouts, found: &mut Found) {
    let spans = [("request", timeouts.request), ("backendRequest", timeouts.backend_request)];
    for (field, span) in spans.into_iter().filter_map(|(field, span)| Some((field, span?))) {
        if span > WAIT_MAX {
            found.push(error(
                format!("{at}.{field}"),
                format!("it lies between 0s and {WAIT_MAX}, not {span}"),
            ));
        }
    }
    if let (Some(whole), Some(one)) = (timeouts.request, timeouts.backend_request)
        && whole > Span::ZERO
        && one > whole
    {
        let text = format!("one try may not take longer than all of them: it is at most {whole}, not {one}");
        found.push(error(format!("{at}.backendRequest"), text));
    }
}
