//! How a policy did: broken promises, cost, and the elasticity metrics of the field.
//!
//! Source: Herbst et al. 2018, "Quantifying Cloud Performance and Dependability" (SPEC RG Cloud elasticity metrics); Bauer et al. 2019,
//! "Chameleon". Ticks are all as long, so that sums over time are means over ticks. `d` is the demand of a tick, `s` what is ready.

use std::time::Duration;

/// What is counted of each tick.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    /// Requests that came, per second.
    pub(crate) load: f64,
    /// Requests a second that the ready replicas carry.
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

/// The score of a policy over the ticks that count.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    /// How long a tick lasts.
    pub tick: Duration,
    /// Ticks that count.
    pub ticks: u64,
    /// Ticks in which the promise was broken.
    pub violated_ticks: u64,
    /// The most of them in a row.
    pub violated_ticks_longest: u64,
    /// Ticks in which the load was above the hot share of the capacity.
    pub hot_ticks: u64,
    /// Requests that came.
    pub requests: f64,
    /// Requests that came in a violated tick.
    pub requests_violated: f64,
    /// Requests that were dropped.
    pub requests_dropped: f64,
    /// Ticks of replicas, ready or starting.
    pub replica_ticks: u64,
    /// Ticks in which the wanted number changed.
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
    pairs_apart: u64,
}

/// The elasticity metrics of a run, all in per cent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Elasticity {
    /// θ_U: the mean part of the demand that was missing; 0 to 100.
    pub theta_u: f64,
    /// θ_O: the mean surplus, as a part of the demand; without an upper end, and large where the demand is one or two replicas.
    pub theta_o: f64,
    /// θ̂_O: the mean surplus, as a part of the supply; 0 to 100.
    pub theta_o_of_supply: f64,
    /// τ_U: the part of the time with too few; 0 to 100.
    pub tau_u: f64,
    /// τ_O: the part of the time with too many; 0 to 100.
    pub tau_o: f64,
    /// υ: the part of the ticks in which supply and demand did not move the same way; depends on the length of a tick.
    pub instability: f64,
}

impl Score {
    /// Minutes in which the promise was broken.
    pub fn violation_minutes(&self) -> f64 {
        self.minutes(self.violated_ticks)
    }

    /// The longest time with the promise broken, in minutes: the longest time to restore.
    pub fn violation_minutes_longest(&self) -> f64 {
        self.minutes(self.violated_ticks_longest)
    }

    /// The part of the time with the promise broken, in per cent.
    pub fn violated_time_percent(&self) -> f64 {
        percent(self.violated_ticks as f64, self.ticks as f64)
    }

    /// The part of the requests that came while the promise was broken, in per cent.
    pub fn violated_requests_percent(&self) -> f64 {
        percent(self.requests_violated, self.requests)
    }

    /// The part of the requests that was dropped, in per cent.
    pub fn dropped_requests_percent(&self) -> f64 {
        percent(self.requests_dropped, self.requests)
    }

    /// The part of the time in which the load was above the hot share of the capacity, in per cent.
    pub fn hot_time_percent(&self) -> f64 {
        percent(self.hot_ticks as f64, self.ticks as f64)
    }

    /// Hours of replicas, ready or starting.
    pub fn replica_hours(&self) -> f64 {
        self.replica_ticks as f64 * self.tick.as_secs_f64() / 3600.0
    }

    /// Hours that count.
    pub fn hours(&self) -> f64 {
        self.ticks as f64 * self.tick.as_secs_f64() / 3600.0
    }

    /// How much of the error budget was used, when `promised` of the requests are to be well: 1 is all of it. `None` for a promise that
    /// leaves no budget.
    pub fn budget_used(&self, promised: f64) -> Option<f64> {
        let budget = (1.0 - promised) * self.requests;
        (budget > 0.0).then(|| self.requests_violated / budget)
    }

    /// The elasticity metrics; all 0 without ticks.
    pub fn elasticity(&self) -> Elasticity {
        let Sums { under, over, over_of_supply, ticks_under, ticks_over, pairs, pairs_apart } = self.sums;
        let ticks = self.ticks as f64;
        Elasticity {
            theta_u: percent(under, ticks),
            theta_o: percent(over, ticks),
            theta_o_of_supply: percent(over_of_supply, ticks),
            tau_u: percent(ticks_under as f64, ticks),
            tau_o: percent(ticks_over as f64, ticks),
            instability: percent(pairs_apart as f64, pairs as f64),
        }
    }

    fn minutes(&self, ticks: u64) -> f64 {
        ticks as f64 * self.tick.as_secs_f64() / 60.0
    }
}

impl Elasticity {
    /// How much better than `base`, which is usually no scaling at all: above 1 is better.
    ///
    /// The geometric mean of the four ratios of θ and τ, each at least 0.01 so that none divides by zero.
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
    before: Option<(u32, u32)>,
    violated_row: u64,
}

impl Tally {
    pub(crate) fn new(tick: Duration) -> Self {
        Self { score: Score { tick, ..Score::default() }, before: None, violated_row: 0 }
    }

    pub(crate) fn score(&self) -> Score {
        self.score.clone()
    }

    pub(crate) fn count(&mut self, tick: &Counted) {
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
        self.violated_row = if tick.is_violated { self.violated_row + 1 } else { 0 };
        if tick.is_violated {
            score.violated_ticks += 1;
            score.requests_violated += requests;
            score.violated_ticks_longest = score.violated_ticks_longest.max(self.violated_row);
        }
        score.sums.count(tick.demand, tick.ready);
        if let Some((demand, ready)) = self.before.replace((tick.demand, tick.ready)) {
            score.sums.pairs += 1;
            score.sums.pairs_apart += u64::from(demand.cmp(&tick.demand) != ready.cmp(&tick.ready));
        }
    }
}

impl Sums {
    fn count(&mut self, demand: u32, ready: u32) {
        // No part of a demand of zero can be missing.
        let of_demand = f64::from(demand.max(1));
        if ready < demand {
            self.under += f64::from(demand - ready) / of_demand;
            self.ticks_under += 1;
        } else if ready > demand {
            let surplus = f64::from(ready - demand);
            self.over += surplus / of_demand;
            self.over_of_supply += surplus / f64::from(ready);
            self.ticks_over += 1;
        }
    }
}

fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { 100.0 * part / whole } else { 0.0 }
}
