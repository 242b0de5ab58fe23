//! Deviations from the published model: starts that take longer or fail, replicas that are unequal or carry less than assumed, lost replicas,
//! noisy arrivals.
//!
//! All of it is drawn from seeded streams, one for each purpose, so that the same seed gives every policy the same world.

use std::time::Duration;

use model::chance::Stream;

use crate::draws::{log_normal, poisson, uniform};
use crate::fleet::{Fleet, Replica};
use crate::service::{Service, Share};

/// What may happen to the replicas; [`World::calm`] is the published model.
#[derive(Clone, Debug)]
pub struct World {
    disturbance: Disturbance,
    /// Those to come, the next one last.
    losses: Vec<Loss>,
    starts: Stream,
    speeds: Stream,
}

/// How a world differs from a calm one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Disturbance {
    /// The coefficient of variation of the time that a start takes, which is log-normal around [`Service::start_up`]; 0 for always the
    /// same.
    pub start_up_spread: f64,
    /// Times that starts were seen to take, of which each start draws one, all equally likely; empty for [`Service::start_up`] with its spread.
    pub starts: Vec<Duration>,
    /// Times that replicas were seen to warm up, of which one is added to each of `starts`: a replica that warms up is taken to carry nothing. Empty for none.
    pub warmups: Vec<Duration>,
    /// The part of the capacity that replicas really carry, which no policy knows; `None` for all of it.
    pub carries: Option<Share>,
    /// The part of all starts that fail: after its start-up time such a replica is gone, and another is started.
    pub failed_starts: Option<Share>,
    /// The coefficient of variation of what a replica carries, which is log-normal around the capacity; 0 for all alike.
    pub speed_spread: f64,
    /// When replicas are lost.
    pub losses: Vec<Loss>,
}

/// Ready replicas that are lost at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// After so long, in whole ticks, rounded up.
    pub after: Duration,
    /// How many.
    pub lost: Lost,
}

/// How many replicas are lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lost {
    /// This many, or all when there are fewer.
    Count(u32),
    /// This part of those that are ready, rounded up.
    Part(Share),
}

impl World {
    /// Nothing happens but what the policy asks for.
    pub fn calm() -> Self {
        Self::new(Disturbance::default(), 0)
    }

    /// The world that `seed` makes of a disturbance.
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

    /// Takes away what is lost by `tick`.
    pub(crate) fn strike(&mut self, tick: u64, service: &Service, fleet: &mut Fleet) {
        while let Some(loss) = self.losses.pop_if(|loss| service.ticks_in(loss.after) <= tick) {
            let ready = fleet.ready();
            let lost = match loss.lost {
                Lost::Count(count) => count.min(ready),
                Lost::Part(part) => (part.part() * f64::from(ready)).ceil() as u32,
            };
            fleet.lose_ready(lost as usize);
        }
    }

    /// A replica that is started in `tick`.
    pub(crate) fn replica(&mut self, tick: u64, service: &Service) -> Replica {
        let start_up = service.ticks_in(self.start_up(service));
        let is_doomed =
            self.disturbance.failed_starts.is_some_and(|part| uniform(&mut self.starts) < part.part());
        Replica { started: tick, ready: tick.saturating_add(start_up), speed: self.speed(), is_doomed }
    }

    /// How long the next start takes.
    fn start_up(&mut self, service: &Service) -> Duration {
        let Disturbance { start_up_spread, starts, warmups, .. } = &self.disturbance;
        if let Some(start) = any_of(&mut self.starts, starts) {
            return start + any_of(&mut self.starts, warmups).unwrap_or_default();
        }
        if *start_up_spread > 0.0 {
            let factor = log_normal(&mut self.starts, *start_up_spread);
            let seconds = service.start_up.as_secs_f64() * factor;
            return Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        }
        service.start_up
    }

    /// What one replica carries, as a part of the usual.
    pub(crate) fn speed(&mut self) -> f64 {
        let Disturbance { speed_spread: spread, carries, .. } = self.disturbance;
        let usual = carries.map_or(1.0, Share::part);
        usual * if spread > 0.0 { log_normal(&mut self.speeds, spread) } else { 1.0 }
    }
}

/// How arrivals scatter around the load of the trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Noise {
    /// As the arrivals of many independent clients: the count of a tick is drawn from Poisson's distribution.
    Poisson,
    /// Each tick's load times a log-normal factor of mean 1 with this coefficient of variation.
    Spread(f64),
}

/// Noise and the stream that it is drawn from.
#[derive(Clone, Debug)]
pub struct Arrivals {
    noise: Noise,
    stream: Stream,
}

impl Arrivals {
    /// The arrivals that `seed` makes of `noise`.
    pub fn new(noise: Noise, seed: u64) -> Self {
        Self { noise, stream: Stream::named(seed, "arrivals") }
    }

    /// The load of a tick that has `load`, in requests a second, on the mean.
    pub fn scatter(&mut self, load: f64, tick: Duration) -> f64 {
        match self.noise {
            Noise::Poisson => poisson(&mut self.stream, load * tick.as_secs_f64()) / tick.as_secs_f64(),
            Noise::Spread(spread) => load * log_normal(&mut self.stream, spread),
        }
    }
}

/// One of `times`, all equally likely; `None` if there are none.
fn any_of(stream: &mut Stream, times: &[Duration]) -> Option<Duration> {
    let last = times.len().checked_sub(1)?;
    times.get(((uniform(stream) * times.len() as f64) as usize).min(last)).copied()
}
