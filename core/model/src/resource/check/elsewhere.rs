//! Checks of endpoints elsewhere, and of zones.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::fields::{ProblemList, error, number_between};
use crate::resource::{
    ENDPOINT_WEIGHT_MAX, ENDPOINTS_ELSEWHERE_MAX, EndpointAddress, Expose, ListenAddress, ServiceSpec,
};

pub(super) fn problems(spec: &ServiceSpec, expose: &Expose, found: &mut ProblemList) {
    let endpoints = &expose.endpoints;
    if endpoints.is_empty() {
        if expose.traffic_distribution.is_some() {
            let text = "all replicas are in one zone, so it has no effect without spec.expose.endpoints: add endpoints, or remove it";
            found.push(error("spec.expose.trafficDistribution", text));
        }
        return;
    }
    if endpoints.len() > ENDPOINTS_ELSEWHERE_MAX {
        let text =
            format!("a service has at most {ENDPOINTS_ELSEWHERE_MAX} endpoints, not {}", endpoints.len());
        found.push(error("spec.expose.endpoints", text));
    }
    if spec.scale.to_zero.is_some() {
        let text = "the endpoints would answer the requests of a service that is scaled to zero, so nothing would start it again: remove \
                    this, or scale.toZero";
        found.push(error("spec.expose.endpoints", text));
    }
    let mut seen = BTreeSet::new();
    for (nth, endpoint) in endpoints.iter().enumerate() {
        let at = |field: &str| format!("spec.expose.endpoints[{nth}].{field}");
        let address = endpoint.address;
        if !seen.insert(address) {
            found.push(error(at("address"), format!("{address} is given twice: give it a weight instead")));
        }
        if expose.listen.is_some_and(|listen| is_certainly(listen, address)) {
            let text = format!("the proxy itself listens on {address}: requests would loop");
            found.push(error(at("address"), text));
        }
        number_between(&at("weight"), endpoint.weight, (1, ENDPOINT_WEIGHT_MAX), found);
    }
}

/// Whether `address` is certainly that of the listener. A listener on all addresses has the loopback addresses; which others it has is
/// unknown here.
pub(super) fn is_certainly(listen: ListenAddress, address: EndpointAddress) -> bool {
    let (ip, own) = (address.get().ip(), listen.0.ip().to_canonical());
    let listen = ListenAddress(SocketAddr::new(own, listen.0.port()));
    listen.conflicts_with(ListenAddress(address.get())) && (ip.is_loopback() || ip == own)
}
