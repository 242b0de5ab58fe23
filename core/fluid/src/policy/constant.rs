//! A constant number of replicas: a service without an autoscaler, sized with hindsight.

use model::resource::Bounds;

use super::{Policy, PolicyInput};
use crate::service::Service;

/// Always this many replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constant(pub u32);

impl Policy for Constant {
    fn initial(&self, _: u32) -> u32 {
        self.0
    }

    fn wanted(&mut self, _: &PolicyInput<'_>) -> u32 {
        self.0
    }
}

/// A histogram of the demand in replicas, from which the best constant is chosen. Its size depends on the bounds only.
#[derive(Clone, Debug)]
pub struct Demands {
    service: Service,
    ticks: u64,
    whole: Counts,
    /// The same without the warm-up. Which one is used is known only when the length of the trace is.
    warm: Counts,
}

/// Ticks by number of replicas, from the fewest on.
#[derive(Clone, Debug)]
struct Counts(Vec<u64>);

impl Demands {
    /// An empty histogram.
    pub fn of(service: &Service) -> Self {
        let Bounds { min, max } = service.bounds;
        let empty = Counts(vec![0; max.saturating_sub(min) as usize + 1]);
        Self { service: service.clone(), ticks: 0, whole: empty.clone(), warm: empty }
    }

    /// Counts a tick of `load`, in requests a second.
    pub fn count(&mut self, load: f64) {
        let above = (self.service.demand(load) - self.service.bounds.min) as usize;
        self.whole.0[above] += 1;
        if !self.service.is_in_warm_up(self.ticks) {
            self.warm.0[above] += 1;
        }
        self.ticks += 1;
    }

    /// The largest demand of the scored ticks; the minimum without ticks.
    pub fn peak(&self) -> Constant {
        self.at_least(1.0)
    }

    /// The quantile `part` of the demand of the scored ticks, rounded up to a rank; the minimum without ticks.
    pub fn at_least(&self, part: f64) -> Constant {
        let above = self.counts().0.iter().sum::<u64>().checked_sub(1).map_or(0, |last| {
            let rank = (part.clamp(0.0, 1.0) * last as f64).ceil() as u64;
            let passed = self.counts().0.iter().scan(0, |sum, ticks| {
                *sum += ticks;
                Some(*sum)
            });
            passed.take_while(|passed| *passed <= rank).count()
        });
        Constant(self.service.within_bounds(self.service.bounds.min.saturating_add(above as u32)))
    }

    /// The mean demand of the scored ticks, rounded up.
    pub fn mean(&self) -> Constant {
        let counts = &self.counts().0;
        let ticks: u64 = counts.iter().sum();
        let above: f64 =
            counts.iter().zip(0_u32..).map(|(ticks, above)| *ticks as f64 * f64::from(above)).sum();
        let mean = if ticks == 0 { 0.0 } else { above / ticks as f64 };
        Constant(self.service.within_bounds(self.service.bounds.min.saturating_add(mean.ceil() as u32)))
    }

    fn counts(&self) -> &Counts {
        if self.service.is_warm_up_excluded(self.ticks) { &self.warm } else { &self.whole }
    }
}
