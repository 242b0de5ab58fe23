//! Deviations from the published model: starts that take longer or fail, replicas with unequal or lower capacity, lost replicas, noisy
//! arrivals.
//!
//! Every draw comes from a seeded stream, one for each purpose, so that one seed gives every policy the same world.

use std::time::Duration;

use model::chance::Stream;

use crate::draws::{log_normal, poisson, uniform};
use crate::fleet::{Fleet, Replica};
use crate::service::{Service, Share};

/// The state of a [`Disturbance`] during a run; [`World::calm`] is the published model.
#[derive(Clone, Debug)]
pub struct World {
    disturbance: Disturbance,
    /// Future losses, the next one last.
    losses: Vec<Loss>,
    starts: Stream,
    speeds: Stream,
}

/// How a run differs from the published model; the default does not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Disturbance {
    /// The coefficient of variation of the start-up time, which is log-normal around [`Service::start_up`]; 0 for a constant time.
    pub start_up_spread: f64,
    /// Observed start-up times, of which each start draws one, all equally likely; empty for [`Service::start_up`] with its spread.
    pub starts: Vec<Duration>,
    /// Observed warm-up times, of which one is added to each draw of `starts`: a replica is assumed to serve nothing while it warms up. Empty
    /// for no warm-up.
    pub warmups: Vec<Duration>,
    /// The real capacity ÷ [`Service::capacity`], which no policy knows; `None` for 1.
    pub capacity_factor: Option<Share>,
    /// The share of starts that fail: such a replica is removed after its start-up time, and another is started.
    pub failed_starts: Option<Share>,
    /// The coefficient of variation of a replica's capacity, which is log-normal around the mean; 0 for equal replicas.
    pub speed_spread: f64,
    /// When replicas are lost.
    pub losses: Vec<Loss>,
}

/// Ready replicas that are lost at the same time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// The time from the start of the run, in whole ticks, rounded up.
    pub after: Duration,
    /// How many are lost.
    pub lost: Lost,
}

/// How many replicas are lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lost {
    /// This many, or all when there are fewer.
    Count(u32),
    /// This share of the ready replicas, rounded up.
    Part(Share),
}

impl World {
    /// A world without disturbance.
    pub fn calm() -> Self {
        Self::new(Disturbance::default(), 0)
    }

    /// A world with this disturbance, drawn with `seed`.
    pub fn new(disturbance: Disturbance, seed: u64) -> Self {
        let mut losses = disturbance.losses.clone();
        losses.sort_by_key(|loss| std::cmp::Reverse(loss.after));
        Self {
            disturbance,
            losses,
            starts: Stream::named(seed, "starts"),
            speeds: Stream::named(seed, "speeds"),
        }
    }

    /// Removes the replicas that are lost by `tick`.
    pub(crate) fn apply_losses(&mut self, tick: u64, service: &Service, fleet: &mut Fleet) {
        while let Some(loss) = self.losses.pop_if(|loss| service.ticks_in(loss.after) <= tick) {
            let ready = fleet.ready();
            let lost = match loss.lost {
                Lost::Count(count) => count.min(ready),
                Lost::Part(part) => (part.part() * f64::from(ready)).ceil() as u32,
            };
            fleet.remove_ready(lost as usize);
        }
    }

    /// A replica that is started in `tick`.
    pub(crate) fn replica(&mut self, tick: u64, service: &Service) -> Replica {
        let start_up = service.ticks_in(self.start_up(service));
        let start_fails =
            self.disturbance.failed_starts.is_some_and(|part| uniform(&mut self.starts) < part.part());
        Replica { started: tick, ready: tick.saturating_add(start_up), speed: self.speed(), start_fails }
    }

    /// The start-up time of the next start, with its warm-up.
    fn start_up(&mut self, service: &Service) -> Duration {
        let Disturbance { start_up_spread, starts, warmups, .. } = &self.disturbance;
        if let Some(start) = draw_one(&mut self.starts, starts) {
            return start.saturating_add(draw_one(&mut self.starts, warmups).unwrap_or_default());
        }
        if *start_up_spread > 0.0 {
            let factor = log_normal(&mut self.starts, *start_up_spread);
            let seconds = service.start_up.as_secs_f64() * factor;
            return Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        }
        service.start_up
    }

    /// The capacity of the next replica ÷ that of a nominal one.
    pub(crate) fn speed(&mut self) -> f64 {
        let Disturbance { speed_spread: spread, capacity_factor, .. } = self.disturbance;
        let mean = capacity_factor.map_or(1.0, Share::part);
        mean * if spread > 0.0 { log_normal(&mut self.speeds, spread) } else { 1.0 }
    }
}

/// How arrivals scatter around the load of the trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Noise {
    /// Independent clients: the count of a tick is drawn from the Poisson distribution.
    Poisson,
    /// The load of each tick is multiplied by a log-normal factor of mean 1 with this coefficient of variation.
    Spread(f64),
}

/// Noisy arrivals, drawn from a seeded stream.
#[derive(Clone, Debug)]
pub struct Arrivals {
    noise: Noise,
    stream: Stream,
}

impl Arrivals {
    /// Arrivals with this noise, drawn with `seed`.
    pub fn new(noise: Noise, seed: u64) -> Self {
        Self { noise, stream: Stream::named(seed, "arrivals") }
    }

    /// The load of a tick whose mean load is `load`, in requests a second.
    pub fn scatter(&mut self, load: f64, tick: Duration) -> f64 {
        match self.noise {
            Noise::Poisson => poisson(&mut self.stream, load * tick.as_secs_f64()) / tick.as_secs_f64(),
            Noise::Spread(spread) => load * log_normal(&mut self.stream, spread),
        }
    }
}

/// One of `times`, all equally likely; `None` if there are none.
fn draw_one(stream: &mut Stream, times: &[Duration]) -> Option<Duration> {
    let last = times.len().checked_sub(1)?;
    times.get(((uniform(stream) * times.len() as f64) as usize).min(last)).copied()
}
