//! What must hold of endpoints that others run, and of the zones that requests stay in.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::service::{Found, error};
use crate::resource::{
    ENDPOINT_WEIGHT_MAX, ENDPOINTS_ELSEWHERE_MAX, EndpointAddress, Expose, ListenAddress, ServiceSpec,
};

pub(super) fn problems(spec: &ServiceSpec, expose: &Expose, found: &mut Found) {
    let endpoints = &expose.endpoints;
    if endpoints.is_empty() {
        if expose.traffic_distribution.is_some() {
            let text = "all replicas are in one zone: it has no effect without spec.expose.endpoints, so name some, or take it out";
            found.push(error("spec.expose.trafficDistribution", text));
        }
        return;
    }
    if endpoints.len() > ENDPOINTS_ELSEWHERE_MAX {
        let text = format!("a service has at most {ENDPOINTS_ELSEWHERE_MAX}, not {}", endpoints.len());
        found.push(error("spec.expose.endpoints", text));
    }
    if spec.scale.to_zero.is_some() {
        let text = "the endpoints elsewhere would answer in place of a service that rests, so that nothing would ever wake it: take \
                    this out, or scale.toZero";
        found.push(error("spec.expose.endpoints", text));
    }
    let mut seen = BTreeSet::new();
    for (nth, endpoint) in endpoints.iter().enumerate() {
        let at = |field: &str| format!("spec.expose.endpoints[{nth}].{field}");
        let address = endpoint.address;
        if !seen.insert(address) {
            found.push(error(at("address"), format!("{address} is named twice: give it a weight instead")));
        }
        if expose.listen.is_some_and(|listen| is_surely(listen, address)) {
            let text = format!("the proxy itself listens on {address}: requests would go round in circles");
            found.push(error(at("address"), text));
        }
        if !(1..=ENDPOINT_WEIGHT_MAX).contains(&endpoint.weight) {
            let text = format!("it lies between 1 and {ENDPOINT_WEIGHT_MAX}, not {}", endpoint.weight);
            found.push(error(at("weight"), text));
        }
    }
}

/// Whether who listens so is who has the address; who listens on all addresses has those of loopback, and of others nobody can tell.
pub(super) fn is_surely(listen: ListenAddress, address: EndpointAddress) -> bool {
    let (ip, own) = (address.get().ip(), listen.0.ip().to_canonical());
    let listen = ListenAddress(SocketAddr::new(own, listen.0.port()));
    listen.meets(ListenAddress(address.get())) && (ip.is_loopback() || ip == own)
}
