//! A worker's own state of a shared listener: which service of a rule gets the next request.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use hyper::header::HOST;
use hyper::http::request::Parts;
use model::resource::route::{Compression, Fraction, RouteTimeouts};
use route::{Head, Sampler, WeightedRoundRobin};

use crate::access::Record;
use crate::client::Client;
use crate::forward::ClientRequest;
use crate::local::LocalService;
use crate::router::limiter::Limiter;
use crate::router::mirror::{Copies, Target};
use crate::router::{Backend, Mirror, PreparedRoute, Router, RoutingSnapshot, Rule};
use crate::service::Service;
use crate::traffic::RouteShard;
use crate::worker::Worker;

/// A worker's own state of a [`Router`].
#[derive(Debug)]
pub(crate) struct LocalRouter {
    service: Arc<Service>,
    /// Differs between workers, so that they do not all start with the same service.
    seed: u64,
    state: RefCell<Option<State>>,
}

#[derive(Debug)]
struct State {
    snapshot: Arc<RoutingSnapshot>,
    /// By route and rule.
    rules: Vec<Vec<LocalRule>>,
}

#[derive(Debug)]
struct LocalRule {
    picker: WeightedRoundRobin,
    /// In the order of the rule's backends; empty once the snapshot is outdated.
    backends: Vec<Option<Rc<LocalService>>>,
    /// In the order of the rule's mirrors; empty likewise.
    mirrors: Vec<LocalMirror>,
}

#[derive(Debug)]
struct LocalMirror {
    sampler: Sampler,
    service: Option<Rc<LocalService>>,
}

/// The rule that a request matches, and the services that get it.
#[derive(Debug)]
pub(super) struct RouteMatch {
    route: Arc<PreparedRoute>,
    rule: usize,
    pub(super) prefix_len: usize,
    /// `None` when the rule has no service that exists.
    pub(super) backend: Option<Target>,
    /// The services that get a copy.
    mirrors: Vec<Target>,
}

impl RouteMatch {
    pub(super) fn shard(&self, worker: usize) -> &RouteShard {
        &self.route.shards[worker]
    }

    /// The copies that are to be sent, if any.
    pub(super) fn copies(&mut self, worker: &Rc<Worker>) -> Option<Copies> {
        if self.mirrors.is_empty() {
            return None;
        }
        let shards = Arc::clone(&self.route.shards);
        Some(Copies::new(Rc::clone(worker), shards, std::mem::take(&mut self.mirrors)))
    }

    pub(super) fn limiter(&self) -> Option<&Limiter> {
        self.route.limiter.as_deref()
    }

    /// A record of the request, which is counted for its route, and logged if declared.
    pub(super) fn record(&self, client: &Client, request: &ClientRequest) -> Rc<Record> {
        let mut record = Record::new(request.started);
        if let Some(log) = &self.route.log {
            record = record.with_log(Arc::clone(log), client, &request.parts);
        }
        Rc::new(record.with_route(&self.route.name, &self.route.shards, client.worker.index))
    }

    pub(super) fn compression(&self) -> Option<Compression> {
        self.route.spec.compression
    }

    pub(super) fn body_bytes_max(&self) -> Option<u64> {
        let bytes = self.route.spec.limits.body?.milli() / 1000;
        Some(u64::try_from(bytes).unwrap_or(0))
    }

    pub(super) fn timeouts(&self) -> RouteTimeouts {
        self.route.spec.rules[self.rule].timeouts
    }

    pub(super) fn rule(&self) -> &Rule {
        &self.route.rules[self.rule]
    }
}

impl LocalRouter {
    /// For a service that has a router.
    pub(crate) fn new(service: Arc<Service>, seed: u64) -> Self {
        Self { service, seed, state: RefCell::new(None) }
    }

    fn router(&self) -> &Router {
        self.service.router.as_ref().expect("it is made for services that have one")
    }

    /// The port that clients connect to.
    pub(super) fn port(&self) -> u16 {
        self.router().port()
    }

    /// Finds the rule of a request and picks a service by weight; `None` when no rule matches.
    pub(super) fn find(&self, worker: &Worker, parts: &Parts) -> Option<RouteMatch> {
        let mut state = self.state.borrow_mut();
        let latest = self.router().snapshot.load();
        let state = match &mut *state {
            Some(state) if Arc::ptr_eq(&state.snapshot, &latest) => state,
            other => {
                let old = other.take();
                other.insert(State::adopt(old.as_ref(), &latest, self.seed, worker))
            }
        };
        let found = state.snapshot.table.lookup(&RequestHead(parts))?;
        let route = Arc::clone(&state.snapshot.routes[found.route]);
        let local = &mut state.rules[found.route][found.rule];
        let declared = &route.rules[found.rule];
        let target = |service: &Option<Rc<LocalService>>, declared: &Backend| {
            Some(Target { service: service.clone()?, port: declared.port.clone() })
        };
        let turn = local.picker.pick();
        let backend = turn.and_then(|at| target(local.backends.get(at)?, &declared.backends[at]));
        let mirrors = local.mirrors.iter_mut().zip(&declared.mirrors).filter_map(|(mirror, declared)| {
            let Fraction { numerator, denominator } = declared.share;
            let is_sampled = mirror.sampler.sample(numerator, denominator);
            target(&mirror.service, &declared.backend).filter(|_| is_sampled)
        });
        let mirrors = mirrors.collect();
        Some(RouteMatch { route, rule: found.rule, prefix_len: found.prefix_len, backend, mirrors })
    }

    /// Drops the services of an outdated snapshot.
    pub(crate) fn refresh(&self) {
        let mut state = self.state.borrow_mut();
        let latest = self.router().snapshot.load();
        if let Some(state) = state.as_mut().filter(|state| !Arc::ptr_eq(&state.snapshot, &latest)) {
            state.rules.iter_mut().flatten().for_each(|rule| {
                rule.backends.clear();
                rule.mirrors.clear();
            });
        }
    }
}

impl State {
    /// Adopts a snapshot. Rules with the same weights as before continue their sequence of picks.
    fn adopt(old: Option<&Self>, snapshot: &Arc<RoutingSnapshot>, seed: u64, worker: &Worker) -> Self {
        let before = |name: &str, nth: usize, rule: &Rule| {
            let old = old?;
            let at = old.snapshot.routes.iter().position(|route| *route.name == *name)?;
            let picker = &old.rules[at].get(nth)?.picker;
            (*picker.weights() == *rule.weights).then(|| picker.clone())
        };
        let local = |backend: &Backend| snapshot.services.get(backend).map(|service| worker.local(service));
        let mirror = |route: &str, mirror: &Mirror| LocalMirror {
            sampler: Sampler::new(seed, route),
            service: local(&mirror.backend),
        };
        let of_route = |route: &Arc<PreparedRoute>| {
            let rules = route.rules.iter().enumerate();
            let rules = rules.map(|(nth, rule)| LocalRule {
                picker: before(&route.name, nth, rule)
                    .unwrap_or_else(|| WeightedRoundRobin::new(&rule.weights, seed)),
                backends: rule.backends.iter().map(local).collect(),
                mirrors: rule.mirrors.iter().map(|it| mirror(&route.name, it)).collect(),
            });
            rules.collect()
        };
        Self { snapshot: Arc::clone(snapshot), rules: snapshot.routes.iter().map(of_route).collect() }
    }
}

/// The prepared head of a request, for the routing table.
struct RequestHead<'a>(&'a Parts);

impl Head for RequestHead<'_> {
    fn host(&self) -> &str {
        self.0.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
    }

    fn method(&self) -> &str {
        self.0.method.as_str()
    }

    fn path(&self) -> &str {
        self.0.uri.path()
    }

    fn query(&self) -> &str {
        self.0.uri.query().unwrap_or_default()
    }

    fn has_header(&self, name: &str, matches: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.0.headers.get_all(name).iter().any(|value| matches(value.as_bytes()))
    }
}
