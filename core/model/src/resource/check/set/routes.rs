//! Checks of routes: the addresses that they share, and the services that they name.

use std::collections::BTreeMap;

use super::{ResourceProblem, Set, Severity, error, listener, warning, warning_about};
use crate::resource::route::{BackendRef, RouteFilter};
use crate::resource::{ListenAddress, PortName, Route, Service};

pub(super) fn problems(set: &Set<'_>) -> Vec<ResourceProblem> {
    let mut found = set.shared_listeners();
    found.extend(set.plain_beside_tls());
    found.extend(set.unknown_backends());
    found
}

impl Set<'_> {
    /// Routes may share an address if it is exactly the same; the listener of a service cannot be shared.
    fn shared_listeners(&self) -> Vec<ResourceProblem> {
        let mut taken: BTreeMap<u16, Vec<(String, ListenAddress)>> = BTreeMap::new();
        for (_, service) in self.services.values() {
            if let Some((listen, true)) = listener(service) {
                let owner = format!("service {}", service.name());
                taken.entry(listen.0.port()).or_default().push((owner, listen));
            }
        }
        let services: BTreeMap<u16, usize> = taken.iter().map(|(port, all)| (*port, all.len())).collect();
        let mut found = Vec::new();
        for (i, route) in &self.routes {
            let listen = route.spec.listen;
            let others = taken.entry(listen.0.port()).or_default();
            let of_services = services.get(&listen.0.port()).copied().unwrap_or(0);
            let meets = others.iter().enumerate().find(|(nth, (_, address))| {
                address.conflicts_with(listen) && (*nth < of_services || *address != listen)
            });
            if let Some((_, (owner, address))) = meets {
                let text = format!(
                    "{owner} listens on {address} already; choose another address or port, or route to that service from here \
                     and remove its expose"
                );
                found.push(error(*i, "spec.listen", text));
            } else {
                others.push((format!("route {}", route.name()), listen));
            }
        }
        found
    }

    /// An address uses TLS for all of its routes or for none: a route without TLS gets it once another route on the address has it.
    fn plain_beside_tls(&self) -> Vec<ResourceProblem> {
        let mut first: BTreeMap<ListenAddress, &Route> = BTreeMap::new();
        let mut found = Vec::new();
        for (resource, route) in &self.routes {
            let other = *first.entry(route.spec.listen).or_insert(route);
            let (subject, text) = match (&route.spec.tls, &other.spec.tls) {
                (None, Some(_)) => (
                    "a route with TLS on its address",
                    format!(
                        "it is reached over TLS, with the certificates of route {}, which has the same address; choose another address for \
                     clients without TLS, or give it certificates of its own",
                        other.name()
                    ),
                ),
                (Some(_), None) => (
                    "a route without TLS on its address",
                    format!(
                        "route {}, which has the same address and no certificates, is reached over TLS, too; choose another address for \
                     clients without TLS, or give it certificates of its own",
                        other.name()
                    ),
                ),
                (None, None) | (Some(_), Some(_)) => continue,
            };
            found.push(warning_about(*resource, "spec.tls", text, subject));
        }
        found
    }

    /// A service that does not exist yet is a warning: its requests are answered 500 until it exists.
    fn unknown_backends(&self) -> Vec<ResourceProblem> {
        let of_route = |(resource, route): &(usize, &Route)| {
            let unusable = |(at, backend): (String, &BackendRef)| self.unusable(*resource, &at, backend);
            backends(route).into_iter().filter_map(unusable).collect::<Vec<_>>()
        };
        self.routes.iter().flat_map(of_route).collect()
    }

    /// Why requests cannot be sent to the backend at this path of a route; `None` when they can.
    fn unusable(&self, resource: usize, at: &str, backend: &BackendRef) -> Option<ResourceProblem> {
        let name = &backend.name;
        let Some((_, service)) = self.services.get(name.as_str()) else {
            let mut found =
                self.no_such_service(resource, format!("{at}.name"), Severity::Warning, name.as_str());
            found.problem.text.push_str("; its requests are answered 500");
            return Some(found);
        };
        if let Some(port) = &backend.port {
            let why = unusable_port(service, port)?;
            return Some(error(resource, &format!("{at}.port"), why));
        }
        let text = if service.spec.first_port().is_none() {
            format!("service {name} has no port for requests: add a TCP port under its spec.ports")
        } else if listener(service).is_some_and(|(_, is_over_tcp)| !is_over_tcp) {
            format!("service {name} is exposed over UDP, which carries no requests: route to another service")
        } else {
            return None;
        };
        Some(warning(resource, format!("{at}.name"), text))
    }
}

/// All services that get requests of a route, including copies, each with its path.
fn backends(route: &Route) -> Vec<(String, &BackendRef)> {
    let mut found = Vec::new();
    for (r, rule) in route.spec.rules.iter().enumerate() {
        for (i, backend) in rule.backend_refs.iter().enumerate() {
            found.push((format!("spec.rules[{r}].backendRefs[{i}]"), backend));
        }
        for (i, filter) in rule.filters.iter().enumerate() {
            if let RouteFilter::RequestMirror(mirror) = filter {
                let at = format!("spec.rules[{r}].filters[{i}].requestMirror.backendRef");
                found.push((at, &mirror.backend_ref));
            }
        }
    }
    found
}

/// Why no request can be sent to this port of the service; `None` when it can.
fn unusable_port(service: &Service, port: &PortName) -> Option<String> {
    let name = service.name();
    if service.spec.ports.iter().any(|known| known.name == *port && !known.protocol.is_over_tcp()) {
        return Some(format!("port {port} of service {name} is a UDP port, which takes no requests"));
    }
    let usable =
        || service.spec.ports.iter().filter(|known| known.protocol.is_over_tcp()).map(|known| &known.name);
    if usable().any(|known| known == port) {
        return None;
    }
    let known: Vec<&str> = usable().map(PortName::as_str).collect();
    if known.is_empty() {
        return Some(format!("service {name} has no port {port}: add it under its spec.ports"));
    }
    Some(format!("service {name} has no port {port}; those that take requests are {}", known.join(", ")))
}
