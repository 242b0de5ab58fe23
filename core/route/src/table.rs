//! The rules of all routes of a listener, by precedence.
//!
//! Precedence is that of the Gateway API: the most specific host first, then the most specific path, then the rest. Host and path
//! are looked up; the rules that share both are a short list in order of precedence, and the first that matches is the answer.
//! When none of them matches, the next host or path is tried: precedence is among the rules that match.
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
    /// Grows with each route that is created; the older one goes first.
    pub created: u64,
    /// Its declaration.
    pub spec: &'a RouteSpec,
}

/// The rule that a request matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleMatch {
    /// Which of the routes that the table was compiled from.
    pub route: usize,
    /// Which of its rules.
    pub rule: usize,
    /// Bytes of the path that the prefix of the match covers; 0 for the prefix `/` and for an exact match.
    pub prefix_len: usize,
}

/// A regular expression that cannot be compiled; no table was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    /// The route that has it.
    pub route: String,
    /// Why.
    pub why: String,
}

/// The routes of a listener, compiled.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// By name.
    hosts: BTreeMap<Arc<str>, Paths>,
    /// By the end of the host, such as `.example.com`.
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
    /// Length of the longest prefix, in bytes: longer beginnings of a path need not be looked up.
    prefix_len_max: usize,
}

/// A match of a rule, without its path.
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
    /// Compiles routes. O(n log n) in their matches times their hosts.
    pub fn compile(routes: &[RouteEntry<'_>]) -> Result<Self, CompileError> {
        let mut by_age: Vec<usize> = (0..routes.len()).collect();
        by_age.sort_by_key(|i| (routes[*i].created, routes[*i].name));
        let mut table = Self::default();
        // Age breaks ties last: the stable sort by the rest keeps this order.
        for route in by_age {
            let RouteEntry { name, spec, .. } = routes[route];
            let whole = [RouteMatch::default()];
            for (rule, declared) in spec.rules.iter().enumerate() {
                let matches: &[RouteMatch] =
                    if declared.matches.is_empty() { &whole } else { &declared.matches };
                for one in matches {
                    let candidate = Candidate::compile(one, route, rule)
                        .map_err(|why| CompileError { route: name.to_owned(), why })?;
                    table.add(&spec.hostnames, one, &candidate);
                }
            }
        }
        table.all_paths().for_each(Paths::sort);
        Ok(table)
    }

    fn add(&mut self, hostnames: &[Hostname], one: &RouteMatch, candidate: &Candidate) {
        if hostnames.is_empty() {
            self.any_host.add(one, candidate.clone());
        }
        for host in hostnames {
            let (all, key) = match host.suffix() {
                Some(suffix) => (&mut self.suffixes, suffix),
                None => (&mut self.hosts, host.as_str()),
            };
            all.entry(key.into()).or_default().add(one, candidate.clone());
        }
    }

    fn all_paths(&mut self) -> impl Iterator<Item = &mut Paths> {
        self.hosts.values_mut().chain(self.suffixes.values_mut()).chain([&mut self.any_host])
    }

    /// The rule that has precedence among those that match the request; `None` when none does.
    ///
    /// Allocates nothing, unless the path encodes unreserved characters. O(log n) for the host and each of its ends, and for each of these O(e log n) for the e path elements
    /// that a prefix could have, plus the candidates of one path.
    pub fn lookup(&self, request: &impl Head) -> Option<RuleMatch> {
        let mut buffer = [0; HOST_LEN_MAX];
        let host = lower_case(name_of(request.host()), &mut buffer);
        if let Some(found) = self.hosts.get(host).and_then(|paths| paths.lookup(request)) {
            return Some(found);
        }
        if !self.suffixes.is_empty() {
            // From the longest end to the shortest; what stands before the dot is not empty.
            let ends = host.bytes().enumerate().skip(1).filter(|(_, b)| *b == b'.');
            for (at, _) in ends {
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
    fn add(&mut self, one: &RouteMatch, candidate: Candidate) {
        let path = &*normalized(one.path.value.as_str());
        match one.path.kind {
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
            candidates.sort_by_key(|it| Reverse((it.method.is_some(), it.headers.len(), it.params.len())));
        }
    }

    fn lookup(&self, request: &impl Head) -> Option<RuleMatch> {
        let path = &*normalized(request.path());
        if let Some(found) = self.exact.get(path).and_then(|all| first_match(all, request, 0)) {
            return Some(found);
        }
        // From the longest beginning to the shortest, cut where an element ends.
        let ends = path.bytes().enumerate().rev().filter(|(_, b)| *b == b'/').map(|(at, _)| at);
        let cuts = [path.len()].into_iter().chain(ends).filter(|cut| *cut <= self.prefix_len_max && *cut > 0);
        for cut in cuts {
            let all = self.prefixes.get(&path[..cut]);
            if let Some(found) = all.and_then(|all| first_match(all, request, cut)) {
                let prefix_len = original_len(request.path(), path, cut);
                return Some(RuleMatch { prefix_len, ..found });
            }
        }
        // The empty prefix matches every target, also the `*` of OPTIONS.
        self.prefixes.get("").and_then(|all| first_match(all, request, 0))
    }
}

impl Candidate {
    fn compile(one: &RouteMatch, route: usize, rule: usize) -> Result<Self, String> {
        let headers = one.headers.iter().map(|HeaderMatch { kind, name, value }| {
            Condition::compile(&name.as_str().to_ascii_lowercase(), *kind, value)
        });
        let params = one
            .query_params
            .iter()
            .map(|QueryParamMatch { kind, name, value }| Condition::compile(name, *kind, value));
        Ok(Self {
            method: one.method,
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

/// The host in lower case, as hosts are declared; empty, which no declared host is, when it is longer than any.
fn lower_case<'b>(host: &str, buffer: &'b mut [u8; HOST_LEN_MAX]) -> &'b str {
    let Some(lower) = buffer.get_mut(..host.len()) else { return "" };
    lower.copy_from_slice(host.as_bytes());
    lower.make_ascii_lowercase();
    str::from_utf8(lower).unwrap_or_default()
}
