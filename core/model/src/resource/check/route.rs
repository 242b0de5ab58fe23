//! Checks of a route by itself.

use std::collections::BTreeSet;

use super::fields::{ProblemList, error, number_between};
use super::{access_log, tls};
use crate::resource::route::{
    BackendRef, HeaderModifier, HeaderName, Hostname, PathMatchType, PathModifier, RequestMirror,
    RouteFilter, RouteMatch, RouteRule, RouteTimeouts, ValueMatchType,
};
use crate::resource::{Quantity, Route, RouteSpec, Span};

/// Most hosts of a route, as in the Gateway API.
const HOSTNAMES_MAX: usize = 16;

/// Most rules of a route, as in the Gateway API.
const RULES_MAX: usize = 16;

/// Most matches of a rule, as in the Gateway API.
const MATCHES_MAX: usize = 64;

/// Most headers, parameters, filters or services in one list, as in the Gateway API.
const ENTRIES_MAX: usize = 16;

/// Largest weight, as in the Gateway API, which allows shares down to a millionth.
const WEIGHT_MAX: u32 = 1_000_000;

/// Longest value to compare a header with, in bytes, as in the Gateway API.
const HEADER_VALUE_LEN_MAX: usize = 4096;

/// Longest value to compare a parameter with, in bytes, as in the Gateway API.
const PARAM_VALUE_LEN_MAX: usize = 1024;

/// Longest name of a parameter, in bytes, as in the Gateway API.
const PARAM_NAME_LEN_MAX: usize = 256;

/// Longest timeout, as for every other wait of the proxy.
const WAIT_MAX: Span = Span::from_secs(3600);

/// Headers that control the framing or the target of a message: changing them alone would change the message.
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

/// Largest value of a limit: more than a million is probably a typing error.
const LIMIT_MAX: u32 = 1_000_000;

pub(super) fn problems(route: &Route) -> ProblemList {
    let mut found = ProblemList::new();
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

fn limits(spec: &RouteSpec, found: &mut ProblemList) {
    let limits = &spec.limits;
    let requests = limits.requests.as_ref();
    let numbers = [
        ("requests.perSecond", requests.map(|it| it.per_second)),
        ("requests.burst", requests.and_then(|it| it.burst)),
        ("connections", limits.connections),
    ];
    for (field, number) in numbers.into_iter().filter_map(|(field, number)| Some((field, number?))) {
        number_between(&format!("spec.limits.{field}"), number.get(), (1, LIMIT_MAX), found);
    }
    if let Some(body) = limits.body.filter(|body| *body < Quantity::ZERO || body.milli() % 1000 != 0) {
        let text = format!("must be a whole number of bytes, at least 0, not {body}; write 1Mi for 1 MiB");
        found.push(error("spec.limits.body", text));
    }
}

fn at_most(path: &str, what: &str, count: usize, max: usize, found: &mut ProblemList) {
    if count > max {
        found.push(error(path, format!("there may be at most {max} {what}, not {count}")));
    }
}

fn rule(at: &str, rule: &RouteRule, found: &mut ProblemList) {
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

fn a_match(at: &str, one: &RouteMatch, found: &mut ProblemList) {
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

fn value(at: &str, kind: ValueMatchType, value: &str, len_max: usize, found: &mut ProblemList) {
    let at = format!("{at}.value");
    if !(1..=len_max).contains(&value.len()) {
        found.push(error(at, format!("must have 1 to {len_max} bytes, not {}", value.len())));
        return;
    }
    match kind {
        ValueMatchType::Exact => {}
        ValueMatchType::RegularExpression => {
            if let Err(why) = super::super::route::expression(value) {
                found.push(error(at, format!("it is not a regular expression: {why}")));
            }
        }
    }
}

fn filter(at: &str, filter: &RouteFilter, rule: &RouteRule, found: &mut ProblemList) {
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
                found.push(error(&at, "a rule that redirects must not have backendRefs: remove one of them"));
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

fn headers(at: &str, modifier: &HeaderModifier, found: &mut ProblemList) {
    let mut names: BTreeSet<String> = BTreeSet::new();
    let mut named = |at: String, name: &HeaderName| {
        let lower = name.as_str().to_ascii_lowercase();
        if FRAMING.contains(&lower.as_str()) {
            let text =
                format!("{name} controls how a message is transferred, which is up to the proxy: remove it");
            found.push(error(at, text));
        } else if !names.insert(lower) {
            found.push(error(at, format!("{name} is given twice; change it in one place")));
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

fn mirror(at: &str, mirror: &RequestMirror, found: &mut ProblemList) {
    backend(&format!("{at}.backendRef"), &mirror.backend_ref, found);
    if mirror.percent.is_some() && mirror.fraction.is_some() {
        found.push(error(at, "the share is given by percent or by fraction, not by both: remove one"));
    }
    if let Some(percent) = mirror.percent {
        number_between(&format!("{at}.percent"), percent, (0, 100), found);
    }
    if let Some(fraction) = mirror.fraction.filter(|it| it.numerator > it.denominator.get()) {
        let text = format!("{} of {} is more than 1", fraction.numerator, fraction.denominator);
        found.push(error(format!("{at}.fraction.numerator"), text));
    }
}

fn single_host(at: &str, host: Option<&Hostname>, found: &mut ProblemList) {
    if let Some(host) = host.filter(|host| host.suffix().is_some()) {
        let text = format!("must be a single host, not a wildcard: {host}");
        found.push(error(format!("{at}.hostname"), text));
    }
}

fn replaced_path(at: &str, path: Option<&PathModifier>, rule: &RouteRule, found: &mut ProblemList) {
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

fn filters_together(at: &str, rule: &RouteRule, found: &mut ProblemList) {
    let place = |is_meant: fn(&RouteFilter) -> bool| rule.filters.iter().position(is_meant);
    let redirect = place(|filter| matches!(filter, RouteFilter::RequestRedirect(_)));
    let rewrite = place(|filter| matches!(filter, RouteFilter::UrlRewrite(_)));
    if let (Some(_), Some(i)) = (redirect, rewrite) {
        let text = "a rule that redirects forwards no request that could be rewritten: remove one of them";
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

fn backend(at: &str, backend: &BackendRef, found: &mut ProblemList) {
    number_between(&format!("{at}.weight"), backend.weight, (0, WEIGHT_MAX), found);
}

fn timeouts(at: &str, timeouts: RouteTimeouts, found: &mut ProblemList) {
    let spans = [("request", timeouts.request), ("backendRequest", timeouts.backend_request)];
    for (field, span) in spans.into_iter().filter_map(|(field, span)| Some((field, span?))) {
        if span > WAIT_MAX {
            found.push(error(
                format!("{at}.{field}"),
                format!("must be between 0s and {WAIT_MAX}, not {span}"),
            ));
        }
    }
    if let (Some(whole), Some(one)) = (timeouts.request, timeouts.backend_request)
        && whole > Span::ZERO
        && one > whole
    {
        let text =
            format!("the timeout of one try must not exceed that of the request: at most {whole}, not {one}");
        found.push(error(format!("{at}.backendRequest"), text));
    }
}
