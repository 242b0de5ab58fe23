//! A run over time in bounded memory: the points get coarser as the run gets longer.

use crate::score::TickRecord;

/// The maximum number of points of a timeline; there are at least half as many once there are enough ticks.
///
/// 2,048 is more than a chart has columns. At 80 bytes a point that is 160 KiB for a run of any length.
pub const POINTS_MAX: usize = 2048;

/// A run over time, from its beginning on.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline {
    points: Vec<Point>,
    /// The number of ticks of each point but the last.
    ticks_each: u64,
}

/// Consecutive ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// The number of ticks.
    pub ticks: u64,
    /// Ticks in which the SLO was violated.
    pub violated: u64,
    /// Ticks in which the desired number changed.
    pub actions: u64,
    /// The largest load, in requests a second.
    pub load_max: f64,
    /// The smallest capacity, in requests a second.
    pub capacity_min: f64,
    load: f64,
    capacity: f64,
    demand: f64,
    ready: f64,
    billed: f64,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { points: Vec::new(), ticks_each: 1 }
    }
}

impl Timeline {
    /// The points, oldest first; at most [`POINTS_MAX`].
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// The number of ticks of each point but the last, which may have fewer.
    pub fn ticks_each(&self) -> u64 {
        self.ticks_each
    }

    pub(crate) fn add(&mut self, tick: &TickRecord) {
        if self.points.last().is_none_or(|point| point.ticks >= self.ticks_each) {
            if self.points.len() >= POINTS_MAX {
                self.coarsen();
            }
            self.points.push(Point { capacity_min: f64::INFINITY, ..Point::default() });
        }
        if let Some(point) = self.points.last_mut() {
            point.add(tick);
        }
    }

    /// Merges each pair of points.
    fn coarsen(&mut self) {
        self.points =
            self.points.chunks(2).map(|pair| pair[1..].iter().fold(pair[0], Point::merged_with)).collect();
        self.ticks_each *= 2;
    }
}

impl Point {
    /// The mean load, in requests a second.
    pub fn load(&self) -> f64 {
        self.mean(self.load)
    }

    /// The mean capacity of the ready replicas, in requests a second.
    pub fn capacity(&self) -> f64 {
        self.mean(self.capacity)
    }

    /// The mean demand, in replicas.
    pub fn demand(&self) -> f64 {
        self.mean(self.demand)
    }

    /// The mean number of ready replicas.
    pub fn ready(&self) -> f64 {
        self.mean(self.ready)
    }

    /// The mean number of billed replicas, which are ready or starting.
    pub fn billed(&self) -> f64 {
        self.mean(self.billed)
    }

    fn mean(&self, sum: f64) -> f64 {
        if self.ticks > 0 { sum / self.ticks as f64 } else { 0.0 }
    }

    fn add(&mut self, tick: &TickRecord) {
        self.ticks += 1;
        self.violated += u64::from(tick.is_violated);
        self.actions += u64::from(tick.is_action);
        self.load_max = self.load_max.max(tick.load);
        self.capacity_min = self.capacity_min.min(tick.capacity);
        self.load += tick.load;
        self.capacity += tick.capacity;
        self.demand += f64::from(tick.demand);
        self.ready += f64::from(tick.ready);
        self.billed += f64::from(tick.billed);
    }

    fn merged_with(self, other: &Self) -> Self {
        Self {
            ticks: self.ticks + other.ticks,
            violated: self.violated + other.violated,
            actions: self.actions + other.actions,
            load_max: self.load_max.max(other.load_max),
            capacity_min: self.capacity_min.min(other.capacity_min),
            load: self.load + other.load,
            capacity: self.capacity + other.capacity,
            demand: self.demand + other.demand,
            ready: self.ready + other.ready,
            billed: self.billed + other.billed,
        }
    }
}
