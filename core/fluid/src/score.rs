//! The score of a policy: SLO violations, cost, and the elasticity metrics of the literature.
//!
//! Source: Herbst et al. 2018, "Quantifying Cloud Performance and Dependability" (SPEC RG Cloud elasticity metrics); Bauer et al. 2019,
//! "Chameleon". All ticks have the same length, so that means over time are means over ticks.

use std::time::Duration;

/// The figures of one tick.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TickRecord {
    /// Requests that arrived, per second.
    pub(crate) load: f64,
    /// The capacity of the ready replicas, in requests a second.
    pub(crate) capacity: f64,
    /// The fewest replicas that carry the load at the target.
    pub(crate) demand: u32,
    pub(crate) ready: u32,
    /// Ready or starting.
    pub(crate) billed: u32,
    pub(crate) dropped: f64,
    pub(crate) is_violated: bool,
    pub(crate) is_hot: bool,
    pub(crate) is_action: bool,
    pub(crate) started: u32,
}

/// The score of a policy over the scored ticks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    /// How long a tick lasts.
    pub tick: Duration,
    /// Scored ticks.
    pub ticks: u64,
    /// Ticks in which the SLO was violated.
    pub violated_ticks: u64,
    /// The longest sequence of them.
    pub violated_ticks_longest: u64,
    /// Ticks in which the load was above the hot share of the capacity.
    pub hot_ticks: u64,
    /// Requests that arrived.
    pub requests: f64,
    /// Requests that arrived in a violated tick.
    pub requests_violated: f64,
    /// Requests that were dropped.
    pub requests_dropped: f64,
    /// Σ over ticks of the replicas that were ready or starting.
    pub replica_ticks: u64,
    /// Ticks in which the desired number changed.
    pub actions: u64,
    /// Replicas started.
    pub starts: u64,
    sums: Sums,
}

/// Sums behind the elasticity metrics.
#[derive(Clone, Debug, Default, PartialEq)]
struct Sums {
    under: f64,
    over: f64,
    over_of_supply: f64,
    ticks_under: u64,
    ticks_over: u64,
    pairs: u64,
    pairs_diverging: u64,
}

/// The elasticity metrics of a run, all in per cent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Elasticity {
    /// θ_U: the mean shortage, relative to the demand; 0 to 100.
    pub theta_u: f64,
    /// θ_O: the mean surplus, relative to the demand; unbounded, and large where the demand is one or two replicas.
    pub theta_o: f64,
    /// θ̂_O: the mean surplus, relative to the supply; 0 to 100.
    pub theta_o_of_supply: f64,
    /// τ_U: the share of the time with too few replicas; 0 to 100.
    pub tau_u: f64,
    /// τ_O: the share of the time with too many replicas; 0 to 100.
    pub tau_o: f64,
    /// υ: the share of the ticks in which supply and demand did not change in the same direction; depends on the length of a tick.
    pub instability: f64,
}

impl Score {
    /// Minutes in which the SLO was violated.
    pub fn violation_minutes(&self) -> f64 {
        self.minutes(self.violated_ticks)
    }

    /// The longest violation in minutes: the longest time to restore.
    pub fn violation_minutes_longest(&self) -> f64 {
        self.minutes(self.violated_ticks_longest)
    }

    /// The share of the time in which the SLO was violated, in per cent.
    pub fn violated_time_percent(&self) -> f64 {
        percent(self.violated_ticks as f64, self.ticks as f64)
    }

    /// The share of the requests that arrived in violated ticks, in per cent.
    pub fn violated_requests_percent(&self) -> f64 {
        percent(self.requests_violated, self.requests)
    }

    /// The share of the requests that were dropped, in per cent.
    pub fn dropped_requests_percent(&self) -> f64 {
        percent(self.requests_dropped, self.requests)
    }

    /// The share of the time in which the load was above the hot share of the capacity, in per cent.
    pub fn hot_time_percent(&self) -> f64 {
        percent(self.hot_ticks as f64, self.ticks as f64)
    }

    /// Hours of replicas that were ready or starting.
    pub fn replica_hours(&self) -> f64 {
        self.replica_ticks as f64 * self.tick.as_secs_f64() / 3600.0
    }

    /// Scored hours.
    pub fn hours(&self) -> f64 {
        self.ticks as f64 * self.tick.as_secs_f64() / 3600.0
    }

    /// The used part of the error budget of `objective`, the share of requests that must be good; 1 is all of it. `None` where the
    /// objective leaves no budget.
    pub fn budget_used(&self, objective: f64) -> Option<f64> {
        let budget = (1.0 - objective) * self.requests;
        (budget > 0.0).then(|| self.requests_violated / budget)
    }

    /// The elasticity metrics; all 0 without ticks.
    pub fn elasticity(&self) -> Elasticity {
        let Sums { under, over, over_of_supply, ticks_under, ticks_over, pairs, pairs_diverging } = self.sums;
        let ticks = self.ticks as f64;
        Elasticity {
            theta_u: percent(under, ticks),
            theta_o: percent(over, ticks),
            theta_o_of_supply: percent(over_of_supply, ticks),
            tau_u: percent(ticks_under as f64, ticks),
            tau_o: percent(ticks_over as f64, ticks),
            instability: percent(pairs_diverging as f64, pairs as f64),
        }
    }

    fn minutes(&self, ticks: u64) -> f64 {
        ticks as f64 * self.tick.as_secs_f64() / 60.0
    }
}

impl Elasticity {
    /// The elastic speed-up over `base`, which is usually a constant number of replicas: above 1 is better.
    ///
    /// It is the geometric mean of the four ratios of θ and τ, each metric at least 0.01 so that no ratio divides by zero.
    pub fn speed_up_over(&self, base: &Self) -> f64 {
        let of = |e: &Self| [e.theta_u, e.theta_o, e.tau_u, e.tau_o].map(|metric| metric.max(0.01));
        let ratios = of(base).into_iter().zip(of(self)).map(|(base, this)| base / this);
        ratios.product::<f64>().powf(0.25)
    }
}

/// The score, updated tick by tick.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    score: Score,
    /// Demand and ready replicas of the previous tick.
    previous: Option<(u32, u32)>,
    violated_in_a_row: u64,
}

impl Tally {
    pub(crate) fn new(tick: Duration) -> Self {
        Self { score: Score { tick, ..Score::default() }, previous: None, violated_in_a_row: 0 }
    }

    pub(crate) fn score(&self) -> Score {
        self.score.clone()
    }

    pub(crate) fn count(&mut self, tick: &TickRecord) {
        let seconds = self.score.tick.as_secs_f64();
        let score = &mut self.score;
        let requests = tick.load * seconds;
        score.ticks += 1;
        score.requests += requests;
        score.requests_dropped += tick.dropped;
        score.replica_ticks += u64::from(tick.billed);
        score.starts += u64::from(tick.started);
        score.actions += u64::from(tick.is_action);
        score.hot_ticks += u64::from(tick.is_hot);
        self.violated_in_a_row = if tick.is_violated { self.violated_in_a_row + 1 } else { 0 };
        if tick.is_violated {
            score.violated_ticks += 1;
            score.requests_violated += requests;
            score.violated_ticks_longest = score.violated_ticks_longest.max(self.violated_in_a_row);
        }
        score.sums.count(tick.demand, tick.ready);
        if let Some((demand, ready)) = self.previous.replace((tick.demand, tick.ready)) {
            score.sums.pairs += 1;
            score.sums.pairs_diverging += u64::from(demand.cmp(&tick.demand) != ready.cmp(&tick.ready));
        }
    }
}

impl Sums {
    fn count(&mut self, demand: u32, ready: u32) {
        // A demand of zero has no shortage; its surplus is relative to one replica.
        let base = f64::from(demand.max(1));
        if ready < demand {
            self.under += f64::from(demand - ready) / base;
            self.ticks_under += 1;
        } else if ready > demand {
            let surplus = f64::from(ready - demand);
            self.over += surplus / base;
            self.over_of_supply += surplus / f64::from(ready);
            self.ticks_over += 1;
        }
    }
}

fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { 100.0 * part / whole } else { 0.0 }
}
