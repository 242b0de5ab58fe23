//! The simulated service of a study, derived from arguments and from a first reading of the recording.

use std::time::Duration;

use fluid::policy::constant::Demands;
use fluid::world::{Arrivals, Disturbance, Noise};
use fluid::{Capacity, OutOfRange, Service, Share, capacity_for, quantile};
use model::resource::Bounds;
use thiserror::Error;

use crate::recording::{Extent, Recording, RecordingError};

/// The peak load of [`CapacityRule::ForPeak`], as a quantile over ticks.
const PEAK: f64 = 0.99;

/// The maximum number of ticks of which a quantile is calculated.
///
/// 16 Mi = eight years of 15 s, 128 MiB in memory.
pub(crate) const TICKS_SORTED_MAX: u64 = 16 * 1024 * 1024;

/// The simulated service and its world.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The length of a tick, which is the interval of decisions.
    pub tick: Duration,
    /// The capacity of a replica.
    pub capacity: CapacityRule,
    /// The target utilization of the capacity.
    pub target: Share,
    /// The time from start to ready of a replica.
    pub start_up: Duration,
    /// The bounds on the number of replicas.
    pub bounds: Bounds,
    /// The noise of arrivals; `None` for none.
    pub noise: Option<Noise>,
    /// Faults of replicas.
    pub disturbance: Disturbance,
    /// The random seed.
    pub seed: u64,
    /// The share of requests that should succeed in time, 0 to 1: the objective of policies that scale by an SLO.
    pub objective: f64,
}

/// How the capacity of a replica is determined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CapacityRule {
    /// It is given.
    Given(Capacity),
    /// It is chosen so that the 99th percentile of the load needs this number of replicas at the target.
    ForPeak(u32),
    /// It was learned from a running service.
    Learned {
        /// The estimate.
        rate: Capacity,
        /// The lower bound; at most `rate`.
        least: Capacity,
    },
}

/// Policies could not be compared. Nothing has changed.
#[derive(Debug, Error)]
pub enum StudyError {
    /// The recording cannot be used.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// There is too little load to derive the capacity from.
    #[error(
        "could not derive the capacity of a replica: 99 of 100 ticks of the trace {name} have no load; give --capacity"
    )]
    NoLoad {
        /// The name of the recording.
        name: String,
        /// Why the capacity is not possible.
        source: OutOfRange,
    },
    /// There are too many ticks to sort.
    #[error(
        "could not calculate percentiles: the trace {name} has more than {TICKS_SORTED_MAX} ticks; give --capacity"
    )]
    TooLong {
        /// The name of the recording.
        name: String,
    },
}

/// The progress of a study.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The recording is being read for its length and peak: the number of ticks so far.
    Reading(u64),
    /// Policies are being simulated: the number of ticks or settings done, and their total.
    Simulating(u64, u64),
}

/// The interval of progress reports, in ticks.
pub(crate) const PROGRESS_INTERVAL: u64 = 4096;

/// What results are measured by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure {
    /// The share of requests that should succeed in time, 0 to 1.
    pub objective: f64,
    /// The price of a replica-hour; `None` when it does not matter.
    pub price: Option<f64>,
}

/// Reads a recording once to determine the capacity of a replica and how often each number of replicas is demanded.
pub(crate) fn survey(
    recording: &Recording,
    setting: &Setting,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Service, Demands, Extent), StudyError> {
    let capacity = match setting.capacity {
        CapacityRule::Given(capacity) | CapacityRule::Learned { rate: capacity, .. } => capacity,
        CapacityRule::ForPeak(replicas) => {
            let load = peak(recording, setting, progress)?;
            capacity_for(load, replicas, setting.target)
                .map_err(|source| StudyError::NoLoad { name: recording.name.clone(), source })?
        }
    };
    let service = setting.service(capacity);
    let mut demands = Demands::of(&service);
    let extent = recording.each_tick(setting.tick, setting.arrivals(), &mut |load| demands.count(load))?;
    Ok((service, demands, extent))
}

/// The 99th percentile of the load over ticks, without noise.
fn peak(
    recording: &Recording,
    setting: &Setting,
    progress: &mut dyn FnMut(Progress),
) -> Result<f64, StudyError> {
    let mut loads = Vec::new();
    let mut ticks = 0;
    recording.each_tick(setting.tick, None, &mut |load| {
        if ticks % PROGRESS_INTERVAL == 0 {
            progress(Progress::Reading(ticks));
        }
        ticks += 1;
        if ticks <= TICKS_SORTED_MAX {
            loads.push(load);
        }
    })?;
    if ticks > TICKS_SORTED_MAX {
        return Err(StudyError::TooLong { name: recording.name.clone() });
    }
    Ok(quantile(&mut loads, PEAK).unwrap_or(0.0))
}

impl Setting {
    fn service(&self, capacity: Capacity) -> Service {
        Service {
            tick: self.tick,
            target: self.target,
            start_up: self.start_up,
            bounds: self.bounds,
            ..Service::with_capacity(capacity)
        }
    }

    /// The disturbance with replicas at the lower bound of their learned capacity; `None` when it was not learned.
    pub(crate) fn at_lower_bound(&self) -> Option<Disturbance> {
        let CapacityRule::Learned { rate, least } = self.capacity else { return None };
        // Both rates are above 0.
        let capacity_factor = Share::of((least.rate() / rate.rate()).min(1.0)).ok();
        Some(Disturbance { capacity_factor, ..self.disturbance.clone() })
    }

    pub(crate) fn arrivals(&self) -> Option<Arrivals> {
        self.noise.map(|noise| Arrivals::new(noise, self.seed))
    }
}
