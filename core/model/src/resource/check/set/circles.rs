//! Requests must not go round in circles by endpoints elsewhere that are listeners of this very Homeostat.

use std::collections::{BTreeMap, BTreeSet};

use super::super::elsewhere::is_surely;
use super::{ResourceProblem, Set, error, listener, warning};
use crate::name::ServiceName;
use crate::resource::{EndpointAddress, ListenAddress, Route, Service};

/// An endpoint elsewhere whose address is a listener of this proxy.
struct Way<'r> {
    resource: usize,
    path: String,
    address: EndpointAddress,
    from: &'r str,
    to: Whose<'r>,
}

#[derive(Clone, Copy)]
enum Whose<'r> {
    Service(&'r ServiceName),
    Route(&'r Route),
}

/// A service or route that sends requests on, by name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sender<'r> {
    Service(&'r str),
    Route(&'r str),
}

impl<'r> Way<'r> {
    fn ends(&self) -> (Sender<'r>, Sender<'r>) {
        let to = match self.to {
            Whose::Service(to) => Sender::Service(to.as_str()),
            Whose::Route(to) => Sender::Route(to.name().as_str()),
        };
        (Sender::Service(self.from), to)
    }
}

/// Services that send each other's requests back are errors. A route that leads back is a warning: whether the same requests match it
/// cannot be known.
pub(super) fn problems(set: &Set<'_>) -> Vec<ResourceProblem> {
    let ways = ways(set);
    let direct = endless(ways.iter().filter(|way| matches!(way.to, Whose::Service(_))).map(Way::ends));
    let leads = set.routes.iter().flat_map(|(_, route)| {
        route.spec.services().map(|to| (Sender::Route(route.name().as_str()), Sender::Service(to.as_str())))
    });
    let by_routes = endless(ways.iter().map(Way::ends).chain(leads));
    let problem = |way: &Way<'_>| match way.to {
        Whose::Service(to) if direct.contains(&way.ends().0) && direct.contains(&way.ends().1) => {
            let text = format!(
                "service {to} of this Homeostat listens on {}, and what it sends on comes back: requests would go round in circles",
                way.address
            );
            Some(error(way.resource, &way.path, text))
        }
        Whose::Route(route) if route.spec.services().any(|service| service.as_str() == way.from) => {
            let text = format!(
                "route {} of this Homeostat listens on {}, and leads back to this service: requests that do so would go round in circles",
                route.name(),
                way.address
            );
            Some(warning(way.resource, &way.path, text))
        }
        Whose::Route(route) if by_routes.contains(&way.ends().1) => {
            let text = format!(
                "route {} of this Homeostat listens on {}, and what it leads to comes back by way of other services: requests that take that way \
                 would go round in circles",
                route.name(),
                way.address
            );
            Some(warning(way.resource, &way.path, text))
        }
        Whose::Service(_) | Whose::Route(_) => None,
    };
    ways.iter().filter_map(problem).collect()
}

fn ways<'r>(set: &Set<'r>) -> Vec<Way<'r>> {
    // By port, so that ten thousand services do not cost their square; those of TCP and of UDP do not meet.
    let mut listeners: BTreeMap<(u16, bool), Vec<(ListenAddress, Whose<'r>)>> = BTreeMap::new();
    for (_, service) in set.services.values() {
        if let Some((listen, is_over_tcp)) = listener(service) {
            let whose = Whose::Service(service.name());
            listeners.entry((listen.0.port(), is_over_tcp)).or_default().push((listen, whose));
        }
    }
    for (_, route) in &set.routes {
        let listen = route.spec.listen;
        listeners.entry((listen.0.port(), true)).or_default().push((listen, Whose::Route(route)));
    }
    let mut services: Vec<_> = set.services.values().copied().collect();
    services.sort_by_key(|(i, _)| *i);
    services.into_iter().flat_map(|(i, service)| ways_of(i, service, &listeners)).collect()
}

fn ways_of<'r>(
    resource: usize,
    service: &'r Service,
    listeners: &BTreeMap<(u16, bool), Vec<(ListenAddress, Whose<'r>)>>,
) -> Vec<Way<'r>> {
    let from = service.name();
    let is_over_tcp = service.spec.exposed_port().is_none_or(|port| port.protocol.is_over_tcp());
    let mut found = Vec::new();
    for (nth, endpoint) in service.spec.expose.iter().flat_map(|expose| &expose.endpoints).enumerate() {
        let address = endpoint.address;
        let there = listeners.get(&(address.get().port(), is_over_tcp)).into_iter().flatten();
        for &(_, to) in there.filter(|(listen, _)| is_surely(*listen, address)) {
            // Its own listener is a matter of the service alone.
            if !matches!(to, Whose::Service(to) if to == from) {
                let path = format!("spec.expose.endpoints[{nth}].address");
                found.push(Way { resource, path, address, from: from.as_str(), to });
            }
        }
    }
    found
}

/// The senders from which requests can go on for ever: all but those from which every way ends.
fn endless<'r>(ways: impl Iterator<Item = (Sender<'r>, Sender<'r>)>) -> BTreeSet<Sender<'r>> {
    let mut onward: BTreeMap<Sender<'_>, BTreeSet<Sender<'_>>> = BTreeMap::new();
    let mut back: BTreeMap<Sender<'_>, BTreeSet<Sender<'_>>> = BTreeMap::new();
    for (from, to) in ways {
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
