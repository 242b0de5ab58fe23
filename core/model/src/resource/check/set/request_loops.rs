//! Detects request loops through endpoints elsewhere whose address is a listener of this Homeostat.

use std::collections::{BTreeMap, BTreeSet};

use super::super::elsewhere::is_certainly;
use super::{ResourceProblem, Set, error, listener, warning_about};
use crate::name::ServiceName;
use crate::resource::{EndpointAddress, ListenAddress, Route, Service};

/// An endpoint elsewhere whose address is a listener of this proxy.
struct Hop<'r> {
    resource: usize,
    path: String,
    address: EndpointAddress,
    from: &'r str,
    to: Owner<'r>,
}

/// The owner of the listener.
#[derive(Clone, Copy)]
enum Owner<'r> {
    Service(&'r ServiceName),
    Route(&'r Route),
}

/// A service or route that forwards requests, by name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sender<'r> {
    Service(&'r str),
    Route(&'r str),
}

impl<'r> Hop<'r> {
    fn ends(&self) -> (Sender<'r>, Sender<'r>) {
        let to = match self.to {
            Owner::Service(to) => Sender::Service(to.as_str()),
            Owner::Route(to) => Sender::Route(to.name().as_str()),
        };
        (Sender::Service(self.from), to)
    }
}

/// Services that forward requests back to each other are errors. A route that leads back is a warning: whether it matches the same
/// requests is unknown.
pub(super) fn problems(set: &Set<'_>) -> Vec<ResourceProblem> {
    let hops = hops(set);
    let direct = looping(hops.iter().filter(|hop| matches!(hop.to, Owner::Service(_))).map(Hop::ends));
    let routed = set.routes.iter().flat_map(|(_, route)| {
        route.spec.services().map(|to| (Sender::Route(route.name().as_str()), Sender::Service(to.as_str())))
    });
    let by_routes = looping(hops.iter().map(Hop::ends).chain(routed));
    let problem = |hop: &Hop<'_>| match hop.to {
        Owner::Service(to) if direct.contains(&hop.ends().0) && direct.contains(&hop.ends().1) => {
            let text = format!(
                "service {to} of this Homeostat listens on {}, and the requests that it forwards come back: they would loop",
                hop.address
            );
            Some(error(hop.resource, &hop.path, text))
        }
        Owner::Route(route) if route.spec.services().any(|service| service.as_str() == hop.from) => {
            let text = format!(
                "route {} of this Homeostat listens on {}, and routes back to this service: such requests would loop",
                route.name(),
                hop.address
            );
            Some(warning_about(hop.resource, &hop.path, text, "a request loop by a route"))
        }
        Owner::Route(route) if by_routes.contains(&hop.ends().1) => {
            let text = format!(
                "route {} of this Homeostat listens on {}, and routes to services that forward requests back: such requests \
                 would loop",
                route.name(),
                hop.address
            );
            Some(warning_about(hop.resource, &hop.path, text, "a request loop by a route"))
        }
        Owner::Service(_) | Owner::Route(_) => None,
    };
    hops.iter().filter_map(problem).collect()
}

fn hops<'r>(set: &Set<'r>) -> Vec<Hop<'r>> {
    // Grouped by port, so that the cost is not quadratic for ten thousand services. TCP and UDP are separate.
    let mut listeners: BTreeMap<(u16, bool), Vec<(ListenAddress, Owner<'r>)>> = BTreeMap::new();
    for (_, service) in set.services.values() {
        if let Some((listen, is_over_tcp)) = listener(service) {
            let owner = Owner::Service(service.name());
            listeners.entry((listen.0.port(), is_over_tcp)).or_default().push((listen, owner));
        }
    }
    for (_, route) in &set.routes {
        let listen = route.spec.listen;
        listeners.entry((listen.0.port(), true)).or_default().push((listen, Owner::Route(route)));
    }
    let mut services: Vec<_> = set.services.values().copied().collect();
    services.sort_by_key(|(i, _)| *i);
    services.into_iter().flat_map(|(i, service)| hops_of(i, service, &listeners)).collect()
}

fn hops_of<'r>(
    resource: usize,
    service: &'r Service,
    listeners: &BTreeMap<(u16, bool), Vec<(ListenAddress, Owner<'r>)>>,
) -> Vec<Hop<'r>> {
    let from = service.name();
    let is_over_tcp = service.spec.exposed_port().is_none_or(|port| port.protocol.is_over_tcp());
    let mut found = Vec::new();
    for (nth, endpoint) in service.spec.expose.iter().flat_map(|expose| &expose.endpoints).enumerate() {
        let address = endpoint.address;
        let candidates = listeners.get(&(address.get().port(), is_over_tcp)).into_iter().flatten();
        for &(_, to) in candidates.filter(|(listen, _)| is_certainly(*listen, address)) {
            // Its own listener is checked with the service itself.
            if !matches!(to, Owner::Service(to) if to == from) {
                let path = format!("spec.expose.endpoints[{nth}].address");
                found.push(Hop { resource, path, address, from: from.as_str(), to });
            }
        }
    }
    found
}

/// The senders from which requests can be forwarded endlessly: all except those from which every path ends.
fn looping<'r>(hops: impl Iterator<Item = (Sender<'r>, Sender<'r>)>) -> BTreeSet<Sender<'r>> {
    let mut onward: BTreeMap<Sender<'_>, BTreeSet<Sender<'_>>> = BTreeMap::new();
    let mut back: BTreeMap<Sender<'_>, BTreeSet<Sender<'_>>> = BTreeMap::new();
    for (from, to) in hops {
        onward.entry(from).or_default().insert(to);
        back.entry(to).or_default().insert(from);
    }
    let mut ends: Vec<Sender<'_>> = back.keys().copied().filter(|to| !onward.contains_key(to)).collect();
    while let Some(end) = ends.pop() {
        for &from in back.get(&end).into_iter().flatten() {
            if let Some(left) = onward.get_mut(&from) {
                left.remove(&end);
                if left.is_empty() {
                    onward.remove(&from);
                    ends.push(from);
                }
            }
        }
    }
    onward.into_keys().collect()
}
