//! The stored form of the memory of an autoscaler's policy.

use std::time::Duration;

use super::usage::StoredHistogram;
use model::memory::{
    ErrorBudgetMemory, Evaluations, LoadMemory, LoadPart, LoadPeak, Panic, PendingChange, PolicyHistory,
    PolicyMemory, RiseMemory,
};
use model::quantity::Milli;
use model::time::Time;
use serde::{Deserialize, Serialize};

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct StoredPolicy {
    grown: Option<u64>,
    shrunk: Option<u64>,
    past: StoredPast,
}

#[derive(Debug, Default, Serialize, Deserialize)]
enum StoredPast {
    #[default]
    None,
    AsksNothing,
    AsksMore(u64),
    AsksFewer(u64),
    Evaluations {
        noted: u64,
        since: u64,
        sum: i64,
        count: u32,
        means: Vec<Option<i64>>,
    },
    Load {
        noted: u64,
        since: u64,
        parts: Vec<(u64, i64, u32)>,
        /// Since, over, peak.
        panic: Option<(u64, u64, u32)>,
    },
    Rises {
        start_ms: u64,
        start_at: u64,
        /// Step, load.
        peaks: Vec<(u64, i64)>,
        rises: StoredHistogram,
        #[serde(default)]
        bursts: StoredHistogram,
        seen: u64,
        /// At, came, late.
        #[serde(default)]
        spent: (u64, u64, u64),
    },
}

impl From<&PolicyMemory> for StoredPolicy {
    fn from(memory: &PolicyMemory) -> Self {
        let past = match &memory.history {
            PolicyHistory::None => StoredPast::None,
            PolicyHistory::Pending(PendingChange::None) => StoredPast::AsksNothing,
            PolicyHistory::Pending(PendingChange::More { since }) => StoredPast::AsksMore(since.as_millis()),
            PolicyHistory::Pending(PendingChange::Fewer { since }) => {
                StoredPast::AsksFewer(since.as_millis())
            }
            PolicyHistory::Evaluations(Evaluations { noted, since, sum, count, means }) => {
                StoredPast::Evaluations {
                    noted: noted.as_millis(),
                    since: since.as_millis(),
                    sum: sum.0,
                    count: *count,
                    means: means.iter().map(|mean| mean.map(|Milli(mean)| mean)).collect(),
                }
            }
            PolicyHistory::Load(LoadMemory { noted, since, parts, panic }) => StoredPast::Load {
                noted: noted.as_millis(),
                since: since.as_millis(),
                parts: parts.iter().map(|part| (part.at.as_millis(), part.sum.0, part.count)).collect(),
                panic: panic.map(|panic| (panic.since.as_millis(), panic.over.as_millis(), panic.peak)),
            },
            PolicyHistory::Rises(RiseMemory {
                start,
                start_at,
                peaks,
                rises,
                bursts,
                observed,
                error_budget,
            }) => StoredPast::Rises {
                start_ms: u64::try_from(start.as_millis()).unwrap_or(u64::MAX),
                start_at: start_at.as_millis(),
                peaks: peaks.iter().map(|peak| (peak.step, peak.load.0)).collect(),
                rises: StoredHistogram::from(rises),
                bursts: StoredHistogram::from(bursts),
                seen: *observed,
                spent: (error_budget.at.as_millis(), error_budget.requests, error_budget.late),
            },
        };
        Self {
            grown: memory.last_scale_out.map(Time::as_millis),
            shrunk: memory.last_scale_in.map(Time::as_millis),
            past,
        }
    }
}

impl From<StoredPolicy> for PolicyMemory {
    fn from(stored: StoredPolicy) -> Self {
        let at = Time::from_millis;
        let history = match stored.past {
            StoredPast::None => PolicyHistory::None,
            StoredPast::AsksNothing => PolicyHistory::Pending(PendingChange::None),
            StoredPast::AsksMore(since) => PolicyHistory::Pending(PendingChange::More { since: at(since) }),
            StoredPast::AsksFewer(since) => PolicyHistory::Pending(PendingChange::Fewer { since: at(since) }),
            StoredPast::Evaluations { noted, since, sum, count, means } => {
                PolicyHistory::Evaluations(Evaluations {
                    noted: at(noted),
                    since: at(since),
                    sum: Milli(sum),
                    count,
                    means: means.into_iter().map(|mean| mean.map(Milli)).collect(),
                })
            }
            StoredPast::Load { noted, since, parts, panic } => {
                let part = |(begun, sum, count)| LoadPart { at: at(begun), sum: Milli(sum), count };
                let panic = panic.map(|(since, over, peak)| Panic { since: at(since), over: at(over), peak });
                let parts = parts.into_iter().map(part).collect();
                PolicyHistory::Load(LoadMemory { noted: at(noted), since: at(since), parts, panic })
            }
            StoredPast::Rises {
                start_ms,
                start_at,
                mut peaks,
                rises,
                bursts,
                seen,
                spent: (spent_at, requests, late),
            } => {
                // Each step is relative to the one before, so they are in order.
                peaks.sort_unstable();
                peaks.dedup_by_key(|(step, _)| *step);
                let peak = |(step, load)| LoadPeak { step, load: Milli(load) };
                PolicyHistory::Rises(RiseMemory {
                    start: Duration::from_millis(start_ms),
                    start_at: at(start_at),
                    peaks: peaks.into_iter().map(peak).collect(),
                    rises: rises.into(),
                    bursts: bursts.into(),
                    observed: seen,
                    error_budget: ErrorBudgetMemory { at: at(spent_at), requests, late: late.min(requests) },
                })
            }
        };
        Self { last_scale_out: stored.grown.map(at), last_scale_in: stored.shrunk.map(at), history }
    }
}
