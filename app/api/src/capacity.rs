//! The load that one replica carries within the SLO of its service, in the form of `/v1`.

use knowledge::ServiceState;
use knowledge::capacity::{CapacityBasis, LearnedCapacity, estimate, learned};

use crate::v1;

/// The capacity of the replicas of `service`; `None` without an SLO.
pub(crate) fn capacity(service: &ServiceState) -> Option<v1::Capacity> {
    let slo = service.slo()?;
    let memory = service.capacity.as_deref();
    let generation = service.declared.as_ref()?.generation;
    Some(v1::Capacity {
        promise: slo.latency.to_string(),
        acting: estimate(memory, generation, slo).map(learned_capacity),
        versions: memory.into_iter().flat_map(learned).map(learned_capacity).collect(),
    })
}

fn learned_capacity(it: LearnedCapacity) -> v1::LearnedCapacity {
    v1::LearnedCapacity {
        generation: it.generation.map(|generation| generation.0),
        requests_per_second: it.rate.per_second(),
        lower: it.lower.per_second(),
        upper: it.upper.per_second(),
        windows: it.windows,
        ground: match it.basis {
            CapacityBasis::Curve => "curve",
            CapacityBasis::ObservedRates => "kept",
            CapacityBasis::Overload => "overload",
            CapacityBasis::PreviousVersion => "before",
            CapacityBasis::Declared => "declared",
        }
        .into(),
    }
}
