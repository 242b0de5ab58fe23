//! The endpoints of one side, near or far: preferred ones and fallbacks.

use crate::endpoint::{Candidate, Status};
use crate::slow_start::Ramp;
use crate::zone::Health;

/// Below this share of healthy endpoints, ejections are ignored and traffic goes to all that serve.
///
/// When more than half of a service looks unhealthy, the cause is more likely shared (a dependency, the network, this proxy) than in the
/// endpoints, and the remaining few would be overloaded by the requests of all. Source: Envoy, "panic threshold", 50 %.
const PANIC_THRESHOLD_PERCENT: usize = 50;

/// The endpoints of one side, as indices into the candidates of an [`EndpointSet`](crate::EndpointSet).
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    /// The endpoints to choose from.
    pub(crate) preferred: Box<[u32]>,
    /// Ejected endpoints, for a request that failed on every preferred one.
    pub(crate) fallback: Box<[u32]>,
    /// Running sums of the ramped weights of `preferred`.
    pub(crate) weight_sums: Box<[u64]>,
    /// The highest slow-start ramp of the preferred endpoints, which the ramps of the others are relative to.
    pub(crate) highest_ramp: Ramp,
    /// Whether ejections are ignored.
    pub(crate) is_panicking: bool,
}

impl Group {
    /// Divides the candidates that satisfy `is_on_side`. Ejections are ignored only if `may_panic`, when the other side cannot take the requests.
    pub(crate) fn new(
        candidates: &[Candidate],
        is_on_side: impl Fn(&Candidate) -> bool,
        may_panic: bool,
    ) -> Self {
        let members = || (0u32..).zip(candidates).filter(|(_, candidate)| is_on_side(candidate));
        let count = |status| members().filter(|(_, candidate)| candidate.status == status).count();
        let (healthy, ejected) = (count(Status::Serving), count(Status::Ejected));
        let is_panicking = may_panic && healthy * 100 < (healthy + ejected) * PANIC_THRESHOLD_PERCENT;
        let is_preferred = |candidate: &Candidate| match candidate.status {
            Status::Serving => true,
            Status::Ejected => is_panicking,
            Status::Draining | Status::Unready => false,
        };
        let indices = |keep: &dyn Fn(&Candidate) -> bool| -> Box<[u32]> {
            members().filter(|(_, candidate)| keep(candidate)).map(|(i, _)| i).collect()
        };
        let preferred = indices(&is_preferred);
        let fallback = indices(&|candidate| candidate.status == Status::Ejected && !is_preferred(candidate));
        let weight_sums = preferred
            .iter()
            .scan(0u64, |sum, &i| {
                *sum += u64::from(candidates[i as usize].ramped_weight());
                Some(*sum)
            })
            .collect();
        let ramps = preferred.iter().map(|&i| candidates[i as usize].ramp);
        let highest_ramp = ramps.max().unwrap_or(Ramp::FULL);
        Self { preferred, fallback, weight_sums, highest_ramp, is_panicking }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.preferred.is_empty() && self.fallback.is_empty()
    }

    /// Whether the preferred endpoints have equal weights and are at the same point of their slow start.
    pub(crate) fn shares_equally(&self, candidates: &[Candidate]) -> bool {
        let mut weights = self.preferred.iter().map(|&i| candidates[i as usize].ramped_weight());
        let first = weights.next();
        weights.all(|weight| Some(weight) == first)
    }
}

/// The health of one side. Draining endpoints do not count.
pub(crate) fn health(candidates: &[Candidate], is_on_side: impl Fn(&Candidate) -> bool) -> Health {
    let mut health = Health::default();
    for candidate in candidates.iter().filter(|candidate| is_on_side(candidate)) {
        match candidate.status {
            Status::Serving => {
                health.healthy += 1;
                health.all += 1;
            }
            Status::Ejected | Status::Unready => health.all += 1,
            Status::Draining => {}
        }
    }
    health
}

/// The position of the first of `indices` that is open, beginning at `start` and wrapping around.
pub(crate) fn open_from(indices: &[u32], start: usize, is_open: impl Fn(&u32) -> bool) -> Option<usize> {
    let n = indices.len();
    (0..n).map(|step| (start + step) % n).find(|&at| is_open(&indices[at]))
}
