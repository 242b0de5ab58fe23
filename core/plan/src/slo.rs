//! SLO-first: the number of replicas that keeps a promise at least cost.
//!
//! The number is that of a newsvendor (`newsvendor.rs`) over the load of the time that a start takes, whose distribution is the [`forecast`] crate's; how much so
//! many replicas carry within the promise is told by a [`Capacity`].
//!
//! What a forecast says is a floor: the number never falls below what the load of this moment needs, and it falls only as fast as the
//! [`Limits`] allow. While no model beats the last value, the distribution is that of the rises that were seen.

use std::collections::VecDeque;
use std::time::Duration;

use forecast::{Forecast, Forecaster, Horizon, Model, Settings, SettingsError};
use model::resource::Slo;
use thiserror::Error;

use crate::newsvendor::{self, Cheapest, fewest};

/// The share of requests that are to be answered well, above 0 and below 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Objective(f64);

/// What a violated request costs, in requests that a replica could have carried meanwhile; above 0.
///
/// 100: rather a hundred requests' worth of a replica that does nothing than one request that is answered too late.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Price(f64);

/// Why there is no such policy.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum SloError {
    /// No share of requests.
    #[error(
        "{0} is no objective; write the share of requests that are to be answered well, above 0 and below 1"
    )]
    Objective(f64),
    /// No price.
    #[error("{0} is no price of a violated request; write a number above 0")]
    Price(f64),
    /// Starts take too long to be forecast in steps of a minute.
    #[error("starts that take {start_up:?} cannot be forecast")]
    StartUp {
        /// How long.
        start_up: Duration,
        /// Why not.
        source: SettingsError,
    },
}

impl Objective {
    /// Takes a share.
    ///
    /// # Errors
    ///
    /// When it is not above 0 and below 1.
    pub fn of(share: f64) -> Result<Self, SloError> {
        if share > 0.0 && share < 1.0 { Ok(Self(share)) } else { Err(SloError::Objective(share)) }
    }

    /// What is declared, which was checked.
    pub(crate) fn declared(slo: &Slo) -> Self {
        Self(f64::from(slo.objective.millionths()) / 1e6)
    }

    /// What a violated request costs, when the budget is spent about as fast as it is allowed or nothing is known of that.
    #[must_use]
    pub fn price(self) -> Price {
        Price(PRICE_OF_BUDGET / self.budget())
    }

    /// The share that may be missed.
    #[must_use]
    pub fn budget(self) -> f64 {
        1.0 - self.0
    }
}

impl Price {
    /// In requests that a replica could have carried meanwhile; above 0.
    #[must_use]
    pub fn requests(self) -> f64 {
        self.0
    }

    /// Takes requests of a replica.
    ///
    /// # Errors
    ///
    /// When it is not above 0 and finite.
    pub fn of(requests: f64) -> Result<Self, SloError> {
        if requests > 0.0 && requests.is_finite() {
            Ok(Self(requests))
        } else {
            Err(SloError::Price(requests))
        }
    }

    /// The price by what both cost in money: `violation` for a request, `replica_hour` for an hour of a replica that carries
    /// `capacity` requests a second.
    ///
    /// # Errors
    ///
    /// When that is no number above 0.
    pub fn of_costs(violation: f64, replica_hour: f64, capacity: f64) -> Result<Self, SloError> {
        Self::of(violation * capacity * 3600.0 / replica_hour)
    }
}

/// What replicas carry.
pub trait Capacity {
    /// Requests a second that `replicas` carry within the promise; grows with them.
    fn carried(&self, replicas: u32) -> f64;
}

/// The same for each replica: requests a second, as given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PerReplica(pub f64);

impl Capacity for PerReplica {
    fn carried(&self, replicas: u32) -> f64 {
        self.0 * f64::from(replicas)
    }
}

/// How fast the number may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// It never falls below what was wanted within so long.
    pub stabilization: Duration,
    /// From one decision to the next it grows to at most the double, or by so many, whichever is more; `None` when a start costs
    /// nothing but its time.
    pub growth: Option<u32>,
    /// Fewest and most replicas, both included.
    pub bounds: (u32, u32),
}

/// What is known at a decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// When it is, since any fixed moment; never steps back.
    pub now: Duration,
    /// Requests a second that came since the last decision; `None` when that was not measured.
    pub load: Option<f64>,
    /// Requests that wait.
    pub waiting: f64,
    /// Whether the promise was broken since the last decision.
    pub is_broken: bool,
    /// Replicas wanted until now.
    pub wanted: u32,
}

/// A number of replicas and what it follows from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sizing {
    /// How many there shall be.
    pub replicas: u32,
    /// What the load of this moment needs, and what waits.
    pub reactive: u32,
    /// What the load ahead needs.
    pub floor: u32,
    /// The load that the floor carries, in requests a second.
    pub carried: f64,
    /// The probability that the load ahead exceeds that.
    pub risk: f64,
    /// What a violated request was taken to cost.
    pub price: Price,
    /// Whose word the load ahead is; `None` before there is one.
    pub by: Option<Model>,
}

/// The policy of one service, with what it remembers.
#[derive(Clone, Debug)]
pub struct SloFirst {
    objective: Objective,
    /// As it was given; `None` derives it from the budget.
    price: Option<Price>,
    interval: Duration,
    limits: Limits,
    forecaster: Forecaster,
    /// Steps that the forecaster had learnt when the floor was set.
    steps: u64,
    floor: Floor,
    fresh: Fresh,
    spent: Spent,
    /// Numbers wanted of late, falling in size and rising in time.
    held: VecDeque<(Duration, u32)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Floor {
    replicas: u32,
    risk: f64,
    by: Option<Model>,
}

/// The freshest word within a step: it is the same for as long as each load of the step is, and need not be asked for again.
#[derive(Clone, Copy, Debug, Default)]
struct Fresh {
    loads: Loads,
    /// What it was asked with: the price, and what one replica and the floor carry after it.
    by: Option<(Price, [f64; 2])>,
}

/// The loads of a step until now.
#[derive(Clone, Copy, Debug, Default)]
enum Loads {
    #[default]
    None,
    /// All of them are this one.
    Even(f64),
    Mixed,
}

/// Requests of late, and those of them to whom the promise was broken.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    requests: f64,
    violated: f64,
}

/// Steps of forecasts: minutes show what a start of a minute needs, and eleven days of them are remembered.
const STEP: Duration = Duration::from_mins(1);

/// The quantiles from which the distribution is drawn; beyond the last it goes on as it went between the last two.
const LEVELS: [f64; 4] = [0.8, 0.93, 0.98, 0.993];

/// Before so many steps were learnt, the load of this moment is met with [`USED_WHILE_NEW`] of the capacity: four hours.
const NEW_STEPS: u64 = 240;

/// The share of the capacity that is used while nothing is known: what a horizontal pod autoscaler is usually set to.
const USED_WHILE_NEW: f64 = 0.7;

/// A violated request costs this part of the requests that one violation is allowed among.
const PRICE_OF_BUDGET: f64 = 0.05;

/// The part of that price which is taken while nothing of the budget is spent.
const PRICE_UNSPENT: f64 = 0.2;

/// By which part of it the price rises when the budget is spent just as fast as it is allowed.
const PRICE_OF_SPENDING: f64 = 0.6;

/// The price stays below so many times the objective's: a load that cannot be kept up with must not cost everything.
const PRICE_MAX: f64 = 2.0;

/// How long spending is remembered.
const SPENT_MEMORY: Duration = Duration::from_hours(4 * 24);

impl SloFirst {
    /// A policy that decides each `interval` for replicas that take `start_up`; with no `price`, that follows from the objective and
    /// from how fast its budget is spent.
    ///
    /// # Errors
    ///
    /// When the load cannot be forecast for so long.
    pub fn new(
        objective: Objective,
        price: Option<Price>,
        (start_up, interval): (Duration, Duration),
        limits: Limits,
    ) -> Result<Self, SloError> {
        let steps = (start_up + interval).as_millis().div_ceil(STEP.as_millis());
        let horizon = Horizon::PeakWithin(usize::try_from(steps).unwrap_or(usize::MAX).saturating_add(1));
        let settings = Settings::new(STEP, &[horizon], &LEVELS);
        let settings = settings.map_err(|source| SloError::StartUp { start_up, source })?.uncalibrated();
        Ok(Self {
            objective,
            price,
            interval,
            limits,
            forecaster: Forecaster::new(settings),
            steps: 0,
            floor: Floor::default(),
            fresh: Fresh::default(),
            spent: Spent::default(),
            held: VecDeque::new(),
        })
    }

    /// How many replicas there shall be; learns from what the moment tells of the time before.
    pub fn size(&mut self, moment: &Moment, capacity: &impl Capacity) -> Sizing {
        let load = moment.load.filter(|load| is_amount(*load));
        let price = self.learn(moment, load);
        self.look_ahead(load, price, capacity);
        let reactive = match load {
            Some(load) => self.needed(load + waiting_of(moment) / self.interval.as_secs_f64(), capacity),
            // What was not measured is not zero.
            None => moment.wanted,
        };
        let unlimited = self.within_bounds(reactive.max(self.floor.replicas));
        let held = self.hold(moment.now, unlimited);
        let most = self.limits.growth.map_or(u32::MAX, |growth| {
            moment.wanted.saturating_mul(2).max(moment.wanted.saturating_add(growth))
        });
        Sizing {
            replicas: self.within_bounds(held.min(most)),
            reactive,
            floor: self.floor.replicas,
            carried: capacity.carried(self.floor.replicas),
            risk: self.floor.risk,
            price,
            by: self.floor.by,
        }
    }

    /// The forecasts that it acts on.
    #[must_use]
    pub fn forecaster(&self) -> &Forecaster {
        &self.forecaster
    }

    fn learn(&mut self, moment: &Moment, load: Option<f64>) -> Price {
        if let Some(load) = load {
            // It is the load of the interval that ends now, and belongs to the step in which it began.
            let began = moment.now.saturating_sub(self.interval);
            let _: forecast::Taken = self.forecaster.observe(began, load);
            self.spent.add(load, moment.is_broken, self.interval);
        }
        self.forecaster.close(moment.now);
        self.price.unwrap_or_else(|| self.spent.price(self.objective))
    }

    /// Sets the floor by what is known of the load until a replica that is started now is ready.
    fn look_ahead(&mut self, load: Option<f64>, price: Price, capacity: &impl Capacity) {
        if self.forecaster.steps() != self.steps {
            self.steps = self.forecaster.steps();
            self.fresh = Fresh::default();
            if let Some(forecast) = self.forecaster.forecast(0) {
                self.floor = self.cheapest(&forecast, price, capacity);
            }
            return;
        }
        self.fresh.loads.note(load);
        if matches!(self.fresh.loads, Loads::Even(_)) && self.fresh.covers(price, self.carried(capacity)) {
            return;
        }
        // Within a step the freshest word is rougher, and only raises what the last whole step said.
        if !self.forecaster.is_rising() {
            return;
        }
        if let Some(forecast) = self.forecaster.forecast_now(0) {
            let fresh = self.cheapest(&forecast, price, capacity);
            if fresh.replicas > self.floor.replicas {
                self.floor = fresh;
            }
            self.fresh.by = Some((price, self.carried(capacity)));
        }
    }

    /// What one replica carries, and what the floor does.
    fn carried(&self, capacity: &impl Capacity) -> [f64; 2] {
        [1, self.floor.replicas].map(|replicas| capacity.carried(replicas))
    }

    /// The number at which replicas and expected violations cost least together.
    fn cheapest(&self, forecast: &Forecast, price: Price, capacity: &impl Capacity) -> Floor {
        let Cheapest { replicas, risk } = newsvendor::cheapest(forecast, price, capacity, self.limits.bounds);
        Floor { replicas, risk, by: forecast.quantiles.last().map(|quantile| quantile.by) }
    }

    /// The fewest replicas that carry `load`.
    fn needed(&self, load: f64, capacity: &impl Capacity) -> u32 {
        let used = if self.steps < NEW_STEPS { USED_WHILE_NEW } else { 1.0 };
        fewest(self.limits.bounds, |replicas| capacity.carried(replicas) * used >= load)
    }

    fn within_bounds(&self, replicas: u32) -> u32 {
        let (least, most) = self.limits.bounds;
        replicas.clamp(least, most.max(least))
    }

    /// The most that was wanted within the stabilisation, `replicas` included.
    fn hold(&mut self, now: Duration, replicas: u32) -> u32 {
        while self.held.back().is_some_and(|&(_, smaller)| smaller <= replicas) {
            self.held.pop_back();
        }
        self.held.push_back((now, replicas));
        while self.held.front().is_some_and(|&(at, _)| now.saturating_sub(at) > self.limits.stabilization) {
            self.held.pop_front();
        }
        self.held.front().map_or(replicas, |&(_, most)| most)
    }
}

/// Whether it is an amount at all: finite and at least 0.
fn is_amount(amount: f64) -> bool {
    (0.0..f64::INFINITY).contains(&amount)
}

fn waiting_of(moment: &Moment) -> f64 {
    if is_amount(moment.waiting) { moment.waiting } else { 0.0 }
}

impl Fresh {
    /// Whether asking again would not raise the floor: the less a violated request costs, the fewer replicas cost least.
    fn covers(&self, price: Price, carried: [f64; 2]) -> bool {
        self.by.is_some_and(|(asked_with, then)| price <= asked_with && carried == then)
    }
}

impl Loads {
    fn note(&mut self, load: Option<f64>) {
        *self = match (*self, load) {
            (loads, None) => loads,
            (Self::None, Some(load)) => Self::Even(load),
            (Self::Even(even), Some(load)) if even.to_bits() == load.to_bits() => Self::Even(even),
            (Self::Even(_) | Self::Mixed, Some(_)) => Self::Mixed,
        };
    }
}

impl Spent {
    fn add(&mut self, load: f64, is_broken: bool, interval: Duration) {
        let kept = 1.0 - (interval.as_secs_f64() / SPENT_MEMORY.as_secs_f64()).min(1.0);
        self.requests = self.requests * kept + load;
        self.violated = self.violated * kept + if is_broken { load } else { 0.0 };
    }

    /// What a violated request costs: more, the faster the budget is spent.
    fn price(self, objective: Objective) -> Price {
        let budget = objective.budget();
        let pace = if self.requests > 0.0 { self.violated / self.requests / budget } else { 0.0 };
        let part = PRICE_UNSPENT + pace * PRICE_OF_SPENDING;
        Price(objective.price().0 * part.min(PRICE_MAX))
    }
}

#[cfg(test)]
mod tests;
