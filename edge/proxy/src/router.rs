//! A listener that several services share: its compiled routes, and the services behind them.
//!
//! For the rest of the proxy it is a service with a router instead of endpoints. Each of its requests goes to the service that its rule
//! chooses, and is then treated like any other request of that service.

mod answer;
mod edit;
mod gzip;
mod limiter;
mod local;
mod mirror;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use ::route::{CompileError, RouteEntry};
use arc_swap::ArcSwap;
use model::resource::RouteSpec;
use model::resource::route::{BackendRef, Fraction, RequestRedirect, RouteFilter, RouteRule, UrlRewrite};

use crate::access::{Log, Logs};
use crate::route::AttachedRoute;
use crate::router::edit::HeaderEdit;
use crate::router::limiter::Limiter;
use crate::service::Service;
use crate::traffic::{RouteShard, RouteTraffic};

pub(crate) use self::answer::answer;
pub(crate) use self::gzip::{GZIPS_MAX, Gzip};
pub(crate) use self::local::LocalRouter;
pub(crate) use self::mirror::Copies;

/// The routes of a shared listener, which all workers share.
#[derive(Debug)]
pub(crate) struct Router {
    snapshot: ArcSwap<RoutingSnapshot>,
    workers: usize,
    /// Where clients connect to it; 0 until it listens.
    port: AtomicU16,
}

/// What requests need, never changed once published.
#[derive(Debug)]
struct RoutingSnapshot {
    table: Arc<route::Table>,
    /// In the order of the table.
    routes: Arc<[Arc<PreparedRoute>]>,
    /// Every service that a rule names and that exists.
    services: BTreeMap<Backend, Arc<Service>>,
}

/// A service that a rule names, and its port, if the rule names that as well.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Backend {
    pub(crate) service: Arc<str>,
    pub(crate) port: Option<Arc<str>>,
}

/// A route in the form that requests need.
#[derive(Debug)]
struct PreparedRoute {
    name: Arc<str>,
    spec: Arc<RouteSpec>,
    rules: Box<[Rule]>,
    shards: Arc<[RouteShard]>,
    limiter: Option<Arc<Limiter>>,
    log: Option<Arc<Log>>,
}

/// A rule in the form that requests need.
#[derive(Debug)]
struct Rule {
    backends: Box<[Backend]>,
    weights: Box<[u32]>,
    redirect: Option<RequestRedirect>,
    rewrite: Option<UrlRewrite>,
    request_edit: HeaderEdit,
    response_edit: HeaderEdit,
    mirrors: Vec<Mirror>,
}

/// A service that gets copies of a share of the requests.
#[derive(Debug)]
struct Mirror {
    backend: Backend,
    share: Fraction,
}

impl Router {
    /// A router over these routes; `find` looks up the services behind them.
    pub(crate) fn new(
        routes: &[AttachedRoute],
        workers: usize,
        logs: &Logs,
        find: impl Fn(&Backend) -> Option<Arc<Service>>,
    ) -> Result<Self, CompileError> {
        let empty =
            RoutingSnapshot { table: Arc::default(), routes: Arc::default(), services: BTreeMap::new() };
        let router = Self { snapshot: ArcSwap::from_pointee(empty), workers, port: AtomicU16::new(0) };
        router.update(routes, logs, find)?;
        Ok(router)
    }

    /// Applies changed routes; those that keep their name keep their counters. `find` looks up the services behind them. On an error nothing
    /// changes.
    pub(crate) fn update(
        &self,
        routes: &[AttachedRoute],
        logs: &Logs,
        find: impl Fn(&Backend) -> Option<Arc<Service>>,
    ) -> Result<(), CompileError> {
        let before = self.snapshot.load();
        let members: Vec<_> = routes
            .iter()
            .map(|it| RouteEntry { name: &it.name, created: it.created, spec: &it.spec })
            .collect();
        let table = Arc::new(route::Table::compile(&members)?);
        let prepared = routes.iter().map(|it| {
            let known = before.routes.iter().find(|known| known.name == it.name);
            let shards =
                known.map_or_else(|| RouteShard::per_worker(self.workers), |known| Arc::clone(&known.shards));
            let limiter = it.spec.limits.requests.map(|declared| {
                let before = known.and_then(|known| known.limiter.as_ref());
                let same = before.filter(|limiter| limiter.is(&declared));
                same.map_or_else(|| Arc::new(Limiter::new(declared)), Arc::clone)
            });
            Arc::new(PreparedRoute {
                name: Arc::clone(&it.name),
                spec: Arc::clone(&it.spec),
                rules: it.spec.rules.iter().map(Rule::new).collect(),
                shards,
                limiter,
                log: it.spec.access_log.as_ref().map(|declared| logs.log(declared)),
            })
        });
        let routes: Arc<[_]> = prepared.collect();
        // Published together, so that no request meets a rule whose service was not looked up.
        let services = services_behind(&routes, find);
        self.snapshot.store(Arc::new(RoutingSnapshot { table, routes, services }));
        Ok(())
    }

    /// Looks up the services behind its rules again.
    pub(crate) fn resolve_backends(&self, find: impl Fn(&Backend) -> Option<Arc<Service>>) {
        let snapshot = self.snapshot.load();
        let services = services_behind(&snapshot.routes, find);
        let is_same = services.len() == snapshot.services.len()
            && services
                .iter()
                .zip(&snapshot.services)
                .all(|((backend, now), (known, then))| backend == known && Arc::ptr_eq(now, then));
        if !is_same {
            let (table, routes) = (Arc::clone(&snapshot.table), Arc::clone(&snapshot.routes));
            self.snapshot.store(Arc::new(RoutingSnapshot { table, routes, services }));
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.load(Ordering::Relaxed)
    }

    pub(crate) fn set_port(&self, port: u16) {
        self.port.store(port, Ordering::Relaxed);
    }

    /// The counters of its routes.
    pub(crate) fn traffic(&self) -> Vec<RouteTraffic> {
        let snapshot = self.snapshot.load();
        snapshot.routes.iter().map(|route| RouteShard::sum(&route.name, &route.shards)).collect()
    }
}

fn services_behind(
    routes: &[Arc<PreparedRoute>],
    find: impl Fn(&Backend) -> Option<Arc<Service>>,
) -> BTreeMap<Backend, Arc<Service>> {
    let rules = routes.iter().flat_map(|route| &route.rules);
    rules
        .flat_map(|rule| rule.backends.iter().chain(rule.mirrors.iter().map(|mirror| &mirror.backend)))
        .filter_map(|backend| Some((backend.clone(), find(backend)?)))
        .collect()
}

impl Backend {
    fn new(declared: &BackendRef) -> Self {
        let port = declared.port.as_ref().map(|port| Arc::from(port.as_str()));
        Self { service: Arc::from(declared.name.as_str()), port }
    }
}

impl Rule {
    fn new(declared: &RouteRule) -> Self {
        let backends = declared.backend_refs.iter().map(Backend::new);
        let weights = declared.backend_refs.iter().map(|backend| backend.weight);
        let mut rule = Self {
            backends: backends.collect(),
            weights: weights.collect(),
            redirect: None,
            rewrite: None,
            request_edit: HeaderEdit::default(),
            response_edit: HeaderEdit::default(),
            mirrors: Vec::new(),
        };
        for filter in &declared.filters {
            match filter {
                RouteFilter::RequestHeaderModifier(modifier) => rule.request_edit = HeaderEdit::new(modifier),
                RouteFilter::ResponseHeaderModifier(modifier) => {
                    rule.response_edit = HeaderEdit::new(modifier);
                }
                RouteFilter::RequestRedirect(redirect) => rule.redirect = Some(redirect.clone()),
                RouteFilter::UrlRewrite(rewrite) => rule.rewrite = Some(rewrite.clone()),
                RouteFilter::RequestMirror(mirror) => {
                    let backend = Backend::new(&mirror.backend_ref);
                    rule.mirrors.push(Mirror { backend, share: mirror.share() });
                }
            }
        }
        rule
    }
}
