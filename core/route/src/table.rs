//! The rules of all routes of a listener, by precedence.
//!
//! Precedence is that of the Gateway API: the most specific host first, then the most specific path, then the other conditions. Host and
//! path are keys of maps; the rules that share both are a short list in order of precedence, whose first match is the result. If none of
//! them matches, the next less specific path or host is tried, because precedence is among the rules that match.
//!
//! Source: HTTPRouteSpec.hostnames and HTTPRouteRule.matches of the Gateway API, v1.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use model::resource::RouteSpec;
use model::resource::route::{
    HeaderMatch, Hostname, Method, PathMatchType, QueryParamMatch, RouteMatch, ValueMatchType, expression,
};
use regex::bytes::Regex;

use crate::head::{Head, name_of, parameter};
use crate::path::{normalized, original_len};

#[cfg(test)]
mod tests;

/// Longest host that can be declared, in bytes.
const HOST_LEN_MAX: usize = 253;

/// One of the routes of a listener.
#[derive(Clone, Copy, Debug)]
pub struct RouteEntry<'a> {
    /// Its name.
    pub name: &'a str,
    /// A sequence number of creation; an older route has precedence.
    pub created: u64,
    /// Its declaration.
    pub spec: &'a RouteSpec,
}

/// The rule that a request matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleMatch {
    /// The index of the route in those that the table was compiled from.
    pub route: usize,
    /// The index of the rule in its route.
    pub rule: usize,
    /// The length of the matched prefix in the path, in bytes; 0 for the prefix `/` and for an exact match.
    pub prefix_len: usize,
}

/// A regular expression in a route does not compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    /// The name of the route.
    pub route: String,
    /// The error of the expression.
    pub why: String,
}

/// The routes of a listener, compiled.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// By name.
    hosts: BTreeMap<Arc<str>, Paths>,
    /// By the suffix of the host, such as `.example.com`.
    suffixes: BTreeMap<Arc<str>, Paths>,
    any_host: Paths,
}

/// The rules for one host.
#[derive(Clone, Debug, Default)]
struct Paths {
    /// By path.
    exact: BTreeMap<Arc<str>, Vec<Candidate>>,
    /// By prefix without the `/` at its end; the prefix `/` is empty.
    prefixes: BTreeMap<Arc<str>, Vec<Candidate>>,
    /// The length of the longest prefix, in bytes: no longer prefix of a path needs a lookup.
    prefix_len_max: usize,
}

/// The conditions of one match of a rule, besides host and path.
#[derive(Clone, Debug)]
struct Candidate {
    method: Option<Method>,
    headers: Vec<Condition>,
    params: Vec<Condition>,
    route: usize,
    rule: usize,
}

#[derive(Clone, Debug)]
struct Condition {
    name: Arc<str>,
    value: Pattern,
}

#[derive(Clone, Debug)]
enum Pattern {
    Exact(Arc<str>),
    Expression(Regex),
}

impl Table {
    /// Compiles routes. O(n log n) in the sum over routes of matches × hosts.
    pub fn compile(routes: &[RouteEntry<'_>]) -> Result<Self, CompileError> {
        let mut by_age: Vec<usize> = (0..routes.len()).collect();
        by_age.sort_by_key(|i| (routes[*i].created, routes[*i].name));
        let mut table = Self::default();
        // Age and name decide last: the later sort by conditions is stable.
        for route in by_age {
            let RouteEntry { name, spec, .. } = routes[route];
            let match_all = [RouteMatch::default()];
            for (rule, declared) in spec.rules.iter().enumerate() {
                let matches: &[RouteMatch] =
                    if declared.matches.is_empty() { &match_all } else { &declared.matches };
                for route_match in matches {
                    let candidate = Candidate::compile(route_match, route, rule)
                        .map_err(|why| CompileError { route: name.to_owned(), why })?;
                    table.add(&spec.hostnames, route_match, &candidate);
                }
            }
        }
        table.all_paths().for_each(Paths::sort);
        Ok(table)
    }

    fn add(&mut self, hostnames: &[Hostname], route_match: &RouteMatch, candidate: &Candidate) {
        if hostnames.is_empty() {
            self.any_host.add(route_match, candidate.clone());
        }
        for host in hostnames {
            let (paths, key) = match host.suffix() {
                Some(suffix) => (&mut self.suffixes, suffix),
                None => (&mut self.hosts, host.as_str()),
            };
            paths.entry(key.into()).or_default().add(route_match, candidate.clone());
        }
    }

    fn all_paths(&mut self) -> impl Iterator<Item = &mut Paths> {
        self.hosts.values_mut().chain(self.suffixes.values_mut()).chain([&mut self.any_host])
    }

    /// The rule with precedence among those that match the request; `None` without a match.
    ///
    /// Does not allocate, unless the path has encoded unreserved characters. O(log n) for the host and each of its suffixes, and for each of
    /// these O(e log n) in the e elements of the path, plus the candidates of each path found.
    pub fn lookup(&self, request: &impl Head) -> Option<RuleMatch> {
        let mut buffer = [0; HOST_LEN_MAX];
        let host = lower_case(name_of(request.host()), &mut buffer);
        if let Some(found) = self.hosts.get(host).and_then(|paths| paths.lookup(request)) {
            return Some(found);
        }
        if !self.suffixes.is_empty() {
            // From the longest suffix to the shortest; the label before the dot must not be empty.
            let dots = host.bytes().enumerate().skip(1).filter(|(_, b)| *b == b'.');
            for (at, _) in dots {
                let paths = self.suffixes.get(&host[at..]);
                if let Some(found) = paths.and_then(|paths| paths.lookup(request)) {
                    return Some(found);
                }
            }
        }
        self.any_host.lookup(request)
    }
}

impl Paths {
    fn add(&mut self, route_match: &RouteMatch, candidate: Candidate) {
        let path = &*normalized(route_match.path.value.as_str());
        match route_match.path.kind {
            PathMatchType::Exact => self.exact.entry(path.into()).or_default().push(candidate),
            PathMatchType::PathPrefix => {
                let prefix = path.strip_suffix('/').unwrap_or(path);
                self.prefix_len_max = self.prefix_len_max.max(prefix.len());
                self.prefixes.entry(prefix.into()).or_default().push(candidate);
            }
        }
    }

    fn sort(&mut self) {
        for candidates in self.exact.values_mut().chain(self.prefixes.values_mut()) {
            candidates.sort_by_key(|candidate| {
                Reverse((candidate.method.is_some(), candidate.headers.len(), candidate.params.len()))
            });
        }
    }

    fn lookup(&self, request: &impl Head) -> Option<RuleMatch> {
        let path = &*normalized(request.path());
        if let Some(found) = self.exact.get(path).and_then(|candidates| first_match(candidates, request, 0)) {
            return Some(found);
        }
        // From the longest prefix to the shortest, cut at the ends of path elements.
        let ends = path.bytes().enumerate().rev().filter(|(_, b)| *b == b'/').map(|(at, _)| at);
        let cuts = [path.len()].into_iter().chain(ends).filter(|cut| *cut <= self.prefix_len_max && *cut > 0);
        for cut in cuts {
            let candidates = self.prefixes.get(&path[..cut]);
            if let Some(found) = candidates.and_then(|candidates| first_match(candidates, request, cut)) {
                let prefix_len = original_len(request.path(), path, cut);
                return Some(RuleMatch { prefix_len, ..found });
            }
        }
        // The empty prefix matches every target, even the `*` of OPTIONS.
        self.prefixes.get("").and_then(|candidates| first_match(candidates, request, 0))
    }
}

impl Candidate {
    fn compile(route_match: &RouteMatch, route: usize, rule: usize) -> Result<Self, String> {
        let headers = route_match.headers.iter().map(|HeaderMatch { kind, name, value }| {
            Condition::compile(&name.as_str().to_ascii_lowercase(), *kind, value)
        });
        let params = route_match
            .query_params
            .iter()
            .map(|QueryParamMatch { kind, name, value }| Condition::compile(name, *kind, value));
        Ok(Self {
            method: route_match.method,
            headers: headers.collect::<Result<_, _>>()?,
            params: params.collect::<Result<_, _>>()?,
            route,
            rule,
        })
    }

    fn matches(&self, request: &impl Head) -> bool {
        self.method.is_none_or(|method| method.as_str() == request.method())
            && self
                .headers
                .iter()
                .all(|header| request.has_header(&header.name, &mut |value| header.value.matches(value)))
            && self.params.iter().all(|param| {
                parameter(request.query(), &param.name)
                    .is_some_and(|value| param.value.matches(value.as_bytes()))
            })
    }
}

impl Condition {
    fn compile(name: &str, kind: ValueMatchType, value: &str) -> Result<Self, String> {
        let value = match kind {
            ValueMatchType::Exact => Pattern::Exact(value.into()),
            ValueMatchType::RegularExpression => {
                Pattern::Expression(expression(value).map_err(|error| error.to_string())?)
            }
        };
        Ok(Self { name: name.into(), value })
    }
}

impl Pattern {
    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => text.as_bytes() == value,
            Self::Expression(expression) => expression.is_match(value),
        }
    }
}

fn first_match(candidates: &[Candidate], request: &impl Head, prefix_len: usize) -> Option<RuleMatch> {
    let candidate = candidates.iter().find(|candidate| candidate.matches(request))?;
    Some(RuleMatch { route: candidate.route, rule: candidate.rule, prefix_len })
}

/// The host in lower case, as hosts are declared; empty, which matches no declared host, when it is longer than any of them.
fn lower_case<'b>(host: &str, buffer: &'b mut [u8; HOST_LEN_MAX]) -> &'b str {
    let Some(lower) = buffer.get_mut(..host.len()) else { return "" };
    lower.copy_from_slice(host.as_bytes());
    lower.make_ascii_lowercase();
    str::from_utf8(lower).unwrap_or_default()
}
