//! The number of replicas by metrics: exactly the algorithm of Kubernetes' horizontal pod autoscaler, as pure functions.
//!
//! [`reconcile`](hpa::reconcile) is one pass: the proposal of each metric ([`replicas`], [`totals`]), the largest of them
//! ([`combine`]), stabilisation by earlier recommendations ([`stabilize`]), and limits on how far the number may change at once
//! ([`limit`]). There is no hidden input: the time, the measurements and the memory are arguments, and the
//! [`Verdict`](hpa::Verdict) has every intermediate number, from which [`explain`] writes the explanation.
//!
//! `testing/conformance` checks it against Kubernetes' own test cases. Differences, all deliberate:
//! - its memory survives a restart, and equal recommendations share a slot (see [`log`]);
//! - counts are held within 0 and `i32::MAX` where Kubernetes wraps around;
//! - samples of replicas that are not the target's are never counted, even where Kubernetes adds them to a mean;
//! - a service that the autoscaler took to zero itself is brought back when zero is no longer allowed
//!   (kubernetes/kubernetes#110278 leaves it there).

pub mod reading;
pub mod request;

pub mod classify;
pub mod ratio;

pub mod proposal;
pub mod replicas;
pub mod totals;

pub mod policy_input;

pub mod burst;
pub mod slo_first;
pub mod step;
pub mod tracking;
pub mod watermarks;

pub mod choice;
pub mod combine;
pub mod combined_value;
pub mod composite;
pub mod fallback;
pub mod formula;
pub mod limit;
pub mod log;
pub mod stabilize;

pub mod hpa;

pub(crate) mod condition_times;
mod evidence;
pub mod explain;
mod metric_text;
mod policy_text;

#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod tests;
