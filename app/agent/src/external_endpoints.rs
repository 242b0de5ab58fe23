//! Endpoints that Homeostat does not run, in the types of the proxy.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use model::name::ZoneName;
use model::resource::{ElsewhereEndpoint, Expose, TrafficDistribution};
use proxy::{EndpointId, EndpointRoute, Origin, Weight, hash_key};

/// The lowest ordinal of external endpoints, far above those of replicas.
const ORDINAL_MIN: u32 = 1 << 31;

/// The proxy's name of a zone.
pub(crate) fn zone(zone: &ZoneName) -> Arc<str> {
    Arc::from(zone.as_str())
}

/// The zone that the proxy prefers when it is in the zone `here`; `None` without such a preference.
pub(crate) fn preferred_zone(expose: &Expose, here: Option<&ZoneName>) -> Option<Arc<str>> {
    match expose.traffic_distribution? {
        TrafficDistribution::PreferSameZone => here.map(zone),
    }
}

/// The external endpoints of a service, in the order in which they are declared.
pub(crate) fn endpoints(declared: &[ElsewhereEndpoint]) -> Vec<EndpointRoute> {
    let mut taken = BTreeSet::new();
    let route = |endpoint: &ElsewhereEndpoint| {
        let address = endpoint.address.get();
        let weight = u16::try_from(endpoint.weight).ok().and_then(Weight::new);
        EndpointRoute {
            origin: Origin::Elsewhere,
            zone: endpoint.zone.as_ref().map(zone),
            weight: weight.unwrap_or(Weight::ONE),
            ..EndpointRoute::new(id(address, &mut taken), address)
        }
    };
    declared.iter().map(route).collect()
}

/// The id of an address. It does not depend on the other addresses, so that the endpoint keeps its connections and its counters when
/// those change.
///
/// Two of 256 addresses hash to the same number in one of 65,000 cases; the second then takes the next free number.
fn id(address: SocketAddr, taken: &mut BTreeSet<u32>) -> EndpointId {
    let begin = hash_key(address.to_string().as_bytes()) as u32 % ORDINAL_MIN;
    let mut ordinals = (0..ORDINAL_MIN).map(|offset| ORDINAL_MIN + (begin + offset) % ORDINAL_MIN);
    let ordinal = ordinals.find(|ordinal| taken.insert(*ordinal)).unwrap_or(ORDINAL_MIN);
    EndpointId { ordinal, incarnation: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_its_id_when_others_change_and_ids_are_unique() {
        let addresses: Vec<SocketAddr> =
            (1..=256).map(|port| SocketAddr::from(([10, 0, 0, 7], port))).collect();
        let ids = |addresses: &[SocketAddr]| -> Vec<EndpointId> {
            let mut taken = BTreeSet::new();
            addresses.iter().map(|address| id(*address, &mut taken)).collect()
        };
        let all = ids(&addresses);
        assert_eq!(all[10..], ids(&addresses[10..]));
        assert!(all.iter().all(|id| id.ordinal >= ORDINAL_MIN));
        let mut sorted = all.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), all.len());
        let twice = ids(&[addresses[0], addresses[0]]);
        assert_eq!(twice[1].ordinal, twice[0].ordinal + 1);
    }
}
