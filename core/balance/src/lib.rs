//! Load balancing: which endpoint gets a request, whether a failed request is retried, which endpoints are ejected, and how many requests may
//! be in flight.
//!
//! The data plane (`edge/proxy`) calls this crate for its decisions. The crate reads no clock and does no I/O. [`Balancer::pick`] runs for every
//! request and does not allocate. Time is a [`Duration`](std::time::Duration) since any fixed moment and must not step back; the caller passes
//! in the random number generator. The same calls give the same results.
//!
//! ```
//! use balance::{Balance, Balancer, EndpointId, Load, EndpointSet, Candidate, Status, Tried, Weight};
//! use rand_xoshiro::{rand_core::SeedableRng, Xoshiro256PlusPlus};
//!
//! let mut candidates =
//!     [1, 2].map(|ordinal| Candidate::new(EndpointId { ordinal, incarnation: 0 }, Weight::ONE));
//! candidates[0].status = Status::Draining;
//! let endpoints = EndpointSet::new(&candidates);
//! let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
//! let mut balancer = Balancer::new(Balance::RoundRobin, &endpoints);
//! let chosen = balancer.pick(&endpoints, &Tried::NONE, &mut rng, || 0, |_candidate| Load::IDLE);
//! assert_eq!(chosen, Ok(1), "the draining endpoint gets nothing new");
//! ```

mod endpoint;
mod endpoint_set;
mod group;
mod slow_start;
mod zone;

mod balancer;
mod load;
mod ring;

mod outlier;
mod retry;
mod slow_endpoints;

mod adaptive;
mod hedge;

pub use adaptive::{AdaptiveLimit, AdaptivePolicy};
pub use balancer::{Balance, Balancer, PickError};
pub use endpoint::{Candidate, EndpointId, Status, Tried, Weight};
pub use endpoint_set::EndpointSet;
pub use hedge::{HedgeAfter, HedgePolicy, Hedger, is_safe};
pub use load::{Load, PeakEwma};
pub use outlier::{Cause, Ejection, NotEjected, OutlierPolicy, Outliers, Verdict};
pub use retry::{
    Body, Failure, Phase, REPLAY_BYTES_MAX, Refusal, Repeatability, Retry, RetryBudget, TRIES_MAX,
    UNANSWERED_MAX, may_retry,
};
pub use ring::hash_key;
pub use slow_endpoints::{SlowPolicy, WindowLatency};
pub use slow_start::{Ramp, SlowStart};
pub use zone::{Nearness, Share};
