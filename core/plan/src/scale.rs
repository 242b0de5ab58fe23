//! How many replicas: Kubernetes' horizontal pod autoscaler algorithm, exactly, as pure functions.
//!
//! [`reconcile`](hpa::reconcile) is one pass: what each metric proposes ([`replicas`], [`totals`]), the largest of it
//! ([`combine`]), what earlier recommendations still hold ([`stabilize`]), and how far the number may go at once
//! ([`limit`]). Nothing is hidden: the time, the measurements and the memory are arguments, and the
//! [`Verdict`](hpa::Verdict) has every number on the way, from which [`explain`] makes the words.
//!
//! `testing/conformance` holds it against Kubernetes' own cases. Differences, all deliberate:
//! - what it remembers survives a restart, and equal recommendations share a slot (see [`log`]);
//! - counts are held within 0 and `i32::MAX` where Kubernetes wraps around;
//! - samples of replicas that are not the target's are never counted, not even where Kubernetes adds them to a mean;
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
pub mod explain;
mod metric_words;
mod policy_words;
mod trace;

#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod tests;
