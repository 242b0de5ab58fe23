//! Checks between resources.

mod forecasting;
mod metrics;
mod request_loops;
mod routes;
mod schedules;
mod shadows;

use std::collections::{BTreeMap, BTreeSet};

use super::{ResourceProblem, Severity};
use crate::name::ServiceName;
use crate::resource::{
    AutoscalerSpec, Count, Kind, ListenAddress, MetricSource, Problem, Resource, Route, Service,
};

pub(super) fn problems(resources: &[Resource], dangling: Severity) -> Vec<ResourceProblem> {
    let set = Set::new(resources);
    let mut found = duplicates(resources);
    found.extend(set.targets(dangling));
    found.extend(set.several_autoscalers());
    found.extend(set.unknown_dependencies(dangling));
    found.extend(set.cycles());
    found.extend(set.same_listeners());
    found.extend(routes::problems(&set));
    found.extend(set.shared_files());
    found.extend(set.unreachable_scaled_to_zero());
    found.extend(request_loops::problems(&set));
    found.extend(metrics::problems(&set, resources, dangling));
    found.extend(shadows::problems(resources, dangling));
    found.extend(forecasting::problems(resources, dangling));
    found.extend(schedules::problems(resources));
    found
}

fn error(resource: usize, path: &str, text: String) -> ResourceProblem {
    ResourceProblem { resource, severity: Severity::Error, problem: Problem::at(path, text), subject: None }
}

fn warning(resource: usize, path: impl Into<String>, text: impl Into<String>) -> ResourceProblem {
    ResourceProblem { resource, severity: Severity::Warning, problem: Problem::at(path, text), subject: None }
}

/// A warning whose text names other resources, one of several to which it applies.
fn warning_about(
    resource: usize,
    path: impl Into<String>,
    text: impl Into<String>,
    subject: &str,
) -> ResourceProblem {
    ResourceProblem { subject: Some(subject.to_owned()), ..warning(resource, path, text) }
}

/// The valid autoscalers, by the name of the service that each scales.
fn autoscalers(resources: &[Resource]) -> BTreeMap<String, AutoscalerSpec> {
    let usable = resources.iter().filter_map(|resource| match resource {
        Resource::HorizontalPodAutoscaler(hpa) => hpa.autoscaler().ok(),
        Resource::Service(_) | Resource::Route(_) | Resource::MetricSource(_) => None,
    });
    usable.map(|spec| (spec.service.to_string(), spec)).collect()
}

fn duplicates(resources: &[Resource]) -> Vec<ResourceProblem> {
    let mut seen = BTreeSet::new();
    let twice =
        resources.iter().enumerate().filter(|(_, resource)| !seen.insert((resource.kind(), resource.name())));
    twice
        .map(|(i, resource)| {
            let text = format!("there is another {} named {}", resource.kind(), resource.name());
            error(i, "metadata.name", text)
        })
        .collect()
}

/// The address on which the proxy listens for a service, and whether it is TCP.
fn listener(service: &Service) -> Option<(ListenAddress, bool)> {
    let is_over_tcp = service.spec.exposed_port().is_none_or(|port| port.protocol.is_over_tcp());
    Some((service.spec.expose.as_ref()?.listen?, is_over_tcp))
}

/// A service, with its index in the checked list and its listen address.
type Listening<'r> = (usize, &'r ServiceName, ListenAddress);

/// The resources by kind, each with its index in the checked list.
struct Set<'r> {
    /// The first service of each name; a second one is reported as a duplicate.
    services: BTreeMap<&'r str, (usize, &'r Service)>,
    /// Autoscalers: index, name, and name of the target.
    autoscalers: Vec<(usize, &'r str, &'r str)>,
    routes: Vec<(usize, &'r Route)>,
    metric_sources: Vec<(usize, &'r MetricSource)>,
}

impl<'r> Set<'r> {
    fn new(resources: &'r [Resource]) -> Self {
        let mut set = Self {
            services: BTreeMap::new(),
            autoscalers: Vec::new(),
            routes: Vec::new(),
            metric_sources: Vec::new(),
        };
        for (i, resource) in resources.iter().enumerate() {
            match resource {
                Resource::Service(service) => {
                    set.services.entry(service.name().as_str()).or_insert((i, service));
                }
                Resource::HorizontalPodAutoscaler(hpa) => {
                    set.autoscalers.push((i, resource.name(), &hpa.target().name));
                }
                Resource::Route(route) => set.routes.push((i, route)),
                Resource::MetricSource(source) => set.metric_sources.push((i, source)),
            }
        }
        set
    }

    /// A reference to a service that does not exist.
    fn no_such_service(
        &self,
        resource: usize,
        path: impl Into<String>,
        severity: Severity,
        name: &str,
    ) -> ResourceProblem {
        let problem = Problem::at(path, self.no_such_service_text(name));
        ResourceProblem { resource, severity, problem, subject: Some(format!("{}/{name}", Kind::Service)) }
    }

    fn no_such_service_text(&self, name: &str) -> String {
        const LISTED_MAX: usize = 10;
        if self.services.is_empty() {
            return format!("there is no service {name}");
        }
        let mut known: Vec<&str> = self.services.keys().copied().take(LISTED_MAX).collect();
        if self.services.len() > LISTED_MAX {
            known.push("…");
        }
        format!("there is no service {name}; known are {}", known.join(", "))
    }

    fn targets(&self, dangling: Severity) -> Vec<ResourceProblem> {
        let unknown = self.autoscalers.iter().filter(|(.., target)| !self.services.contains_key(target));
        unknown
            .map(|(resource, _, target)| {
                self.no_such_service(*resource, "spec.scaleTargetRef.name", dangling, target)
            })
            .collect()
    }

    fn several_autoscalers(&self) -> Vec<ResourceProblem> {
        let mut scaled: BTreeMap<&str, &str> = BTreeMap::new();
        let mut found = Vec::new();
        for (i, name, target) in &self.autoscalers {
            let own = self.services.get(target).is_some_and(|(_, service)| match &service.spec.scale.count {
                Count::Auto(_) => true,
                Count::Fixed(_) => false,
            });
            if own {
                let text = format!(
                    "service {target} scales itself (spec.scale has max), and HorizontalPodAutoscaler {name} would conflict \
                     with that: remove one of them"
                );
                found.push(error(*i, "spec.scaleTargetRef.name", text));
            } else if let Some(other) = scaled.insert(target, name) {
                let text = format!(
                    "HorizontalPodAutoscalers {other} and {name} both scale {target} and would conflict: remove one of them"
                );
                found.push(error(*i, "spec.scaleTargetRef.name", text));
            }
        }
        found
    }

    fn unknown_dependencies(&self, dangling: Severity) -> Vec<ResourceProblem> {
        let mut found = Vec::new();
        for (resource, service) in self.services.values() {
            for (i, dependency) in service.spec.depends_on.iter().enumerate() {
                let name = dependency.service.as_str();
                if !self.services.contains_key(name) {
                    let path = format!("spec.dependsOn[{i}].service");
                    found.push(self.no_such_service(*resource, path, dangling, name));
                }
            }
        }
        found
    }

    /// Each cycle of dependencies, reported once, at the service that closes it.
    ///
    /// Depth-first search with an explicit stack, so that a long chain cannot overflow the call stack. O(services + dependencies).
    fn cycles(&self) -> Vec<ResourceProblem> {
        let mut done: BTreeSet<&str> = BTreeSet::new();
        let mut found = Vec::new();
        for (start, (_, service)) in &self.services {
            if done.contains(start) {
                continue;
            }
            // The current path: each service with the index of its next dependency.
            let mut path: Vec<(&ServiceName, usize)> = vec![(service.name(), 0)];
            let mut on_path: BTreeSet<&str> = BTreeSet::from([*start]);
            while let Some((name, next)) = path.last_mut() {
                let (resource, service) = self.services[name.as_str()];
                let Some(dependency) = service.spec.depends_on.get(*next) else {
                    on_path.remove(name.as_str());
                    done.insert(name.as_str());
                    path.pop();
                    continue;
                };
                *next += 1;
                let on = &dependency.service;
                if on_path.contains(on.as_str()) {
                    let place = format!("spec.dependsOn[{}].service", *next - 1);
                    let cycle =
                        path.iter().map(|(name, _)| name.as_str()).skip_while(|name| *name != on.as_str());
                    let cycle: Vec<&str> = cycle.chain([on.as_str()]).collect();
                    let text = format!(
                        "services depend on each other in a cycle, so none can start: {}",
                        cycle.join(" → ")
                    );
                    found.push(error(resource, &place, text));
                } else if self.services.contains_key(on.as_str()) && !done.contains(on.as_str()) {
                    on_path.insert(on.as_str());
                    path.push((on, 0));
                }
            }
        }
        found
    }

    fn same_listeners(&self) -> Vec<ResourceProblem> {
        // Grouped by port, so that the cost is not quadratic for ten thousand services. TCP and UDP are separate.
        let mut by_port: BTreeMap<(u16, bool), Vec<Listening<'_>>> = BTreeMap::new();
        let mut exposed: Vec<_> =
            self.services.values().filter_map(|(i, s)| Some((*i, *s, listener(s)?))).collect();
        exposed.sort_by_key(|(i, _, _)| *i);
        let mut found = Vec::new();
        for (i, service, (listen, is_over_tcp)) in exposed {
            let others = by_port.entry((listen.0.port(), is_over_tcp)).or_default();
            if let Some((_, other, address)) =
                others.iter().find(|(_, _, address)| address.conflicts_with(listen))
            {
                let text =
                    format!("service {other} listens on {address} already; choose another address or port");
                found.push(error(i, "spec.expose.listen", text));
            } else {
                others.push((i, service.name(), listen));
            }
        }
        found
    }

    /// Two services that write the same file would overwrite each other's content.
    fn shared_files(&self) -> Vec<ResourceProblem> {
        let mut services: Vec<_> = self.services.values().collect();
        services.sort_by_key(|(i, _)| *i);
        let mut taken: BTreeMap<&str, &ServiceName> = BTreeMap::new();
        let mut found = Vec::new();
        for (i, service) in services {
            let externals = service.spec.expose.iter().flat_map(|expose| &expose.external).enumerate();
            for (nth, external) in externals {
                if let Some(other) = taken.insert(&external.file, service.name()) {
                    let text = format!("service {other} already writes this file; choose another file");
                    found.push(error(*i, &format!("spec.expose.external[{nth}].file"), text));
                }
            }
        }
        found
    }

    /// A service that gets no requests over the proxy is never scaled to zero, because only the proxy can hold the requests that start it
    /// again. A warning, because a route to it may be added later.
    fn unreachable_scaled_to_zero(&self) -> Vec<ResourceProblem> {
        let routed: BTreeSet<&ServiceName> =
            self.routes.iter().flat_map(|(_, route)| route.spec.services()).collect();
        let is_unreachable = |service: &Service| {
            let spec = &service.spec;
            spec.scale.to_zero.is_some() && spec.expose.is_none() && !routed.contains(service.name())
        };
        let unreachable = self.services.values().filter(|(_, service)| is_unreachable(service));
        let text = "it is never scaled to zero, because no request reaches it over the proxy, which holds the requests that start it \
                    again: add spec.expose, or a Route to it";
        unreachable.map(|(i, _)| warning(*i, "spec.scale.toZero", text)).collect()
    }
}
