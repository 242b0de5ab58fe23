//! How a run went over time, in bounded space: points that grow coarser as the run grows longer.

use crate::score::Counted;

/// Points of a timeline at most; half as many at least, once there are enough ticks.
///
/// 2,048 is more than a picture has columns. At 80 bytes a point that is 160 KiB a run, whatever its length.
pub const POINTS_MAX: usize = 2048;

/// What a run was like, from its beginning on.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline {
    points: Vec<Point>,
    /// Ticks of each point but the last.
    ticks_each: u64,
}

/// Some ticks in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// How many.
    pub ticks: u64,
    /// Ticks with the promise broken.
    pub violated: u64,
    /// Ticks in which the wanted number changed.
    pub actions: u64,
    /// The largest load, in requests a second.
    pub load_max: f64,
    /// The least capacity, in requests a second.
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

    /// Ticks of each point but the last, which may have fewer.
    pub fn ticks_each(&self) -> u64 {
        self.ticks_each
    }

    pub(crate) fn add(&mut self, tick: &Counted) {
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

    /// Makes each two points one.
    fn coarsen(&mut self) {
        self.points = self.points.chunks(2).map(|pair| pair[1..].iter().fold(pair[0], Point::with)).collect();
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

    /// Ready replicas, as a mean.
    pub fn ready(&self) -> f64 {
        self.mean(self.ready)
    }

    /// Replicas that were paid for, as a mean.
    pub fn billed(&self) -> f64 {
        self.mean(self.billed)
    }

    fn mean(&self, sum: f64) -> f64 {
        if self.ticks > 0 { sum / self.ticks as f64 } else { 0.0 }
    }

    fn add(&mut self, tick: &Counted) {
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

    fn with(self, other: &Self) -> Self {
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
