//! The exact send times of a profile.

use std::time::Duration;

use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// How requests are spread over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arrivals {
    /// Evenly: at 10/s one each 100 ms, the first after 50 ms. The same profile always gives the same times.
    #[default]
    Even,
    /// As independent users arrive: a Poisson process with the rate of the profile, from `seed`.
    Poisson {
        /// The same seed gives the same times.
        seed: u64,
    },
}

/// A linear piece of the rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Segment {
    /// When it begins, in seconds from the start of the run.
    pub(crate) starts_at: f64,
    /// How long it lasts, in seconds; more than zero.
    pub(crate) seconds: f64,
    /// Requests that are due before it begins.
    pub(crate) requests_before: f64,
    /// The rate at its beginning, in requests per second.
    pub(crate) from: f64,
    /// The rate at its end, in requests per second.
    pub(crate) to: f64,
}

impl Segment {
    /// Returns how many requests are due in it: the area under the line.
    pub(crate) fn requests(&self) -> f64 {
        f64::midpoint(self.from, self.to) * self.seconds
    }

    /// Returns how many seconds after its beginning `requests` of them are due.
    ///
    /// Solves `from·t + slope·t²/2 = requests` in the form `2c / (b + √(b² + 2ac))`, which neither divides by a
    /// slope of zero nor subtracts numbers of near size.
    pub(crate) fn seconds_until(&self, requests: f64) -> f64 {
        let slope = (self.to - self.from) / self.seconds;
        let root = (self.from * self.from + 2.0 * slope * requests).max(0.0).sqrt();
        let divisor = self.from + root;
        if divisor > 0.0 { (2.0 * requests / divisor).clamp(0.0, self.seconds) } else { 0.0 }
    }
}

/// The send times since the start of the run, in ascending order.
///
/// Walks the area under the rate: a request is due each time that the area has grown by a gap, which is 1 for
/// even arrivals (the first at ½, so that a run has as many requests as its area, rounded) and exponential
/// with mean 1 for Poisson arrivals. O(1) memory.
///
/// Source: inversion of the cumulative rate, Çinlar, "Introduction to Stochastic Processes" (1975), ch. 4.
#[derive(Debug, Clone)]
pub struct Schedule<'a> {
    /// What is left of the profile; the first is the one being walked.
    segments: &'a [Segment],
    gaps: Gaps,
}

/// Where the next request lies on the area under the rate.
#[derive(Debug, Clone)]
enum Gaps {
    /// After `sent` whole requests and a half.
    Even { sent: u64 },
    /// At `next`, then by exponential gaps.
    Poisson { next: f64, stream: Box<Xoshiro256PlusPlus> },
}

impl<'a> Schedule<'a> {
    pub(crate) fn new(segments: &'a [Segment], arrivals: Arrivals) -> Self {
        let gaps = match arrivals {
            Arrivals::Even => Gaps::Even { sent: 0 },
            Arrivals::Poisson { seed } => {
                let mut stream = Box::new(Xoshiro256PlusPlus::seed_from_u64(seed));
                Gaps::Poisson { next: exponential(&mut stream), stream }
            }
        };
        Self { segments, gaps }
    }
}

impl Gaps {
    /// Returns the area at which the next request is due.
    fn due(&self) -> f64 {
        match self {
            Self::Even { sent } => *sent as f64 + 0.5,
            Self::Poisson { next, .. } => *next,
        }
    }

    /// Advances to the next request.
    fn advance(&mut self) {
        match self {
            Self::Even { sent } => *sent += 1,
            Self::Poisson { next, stream } => *next += exponential(stream),
        }
    }
}

/// Draws from the exponential distribution of mean 1.
fn exponential(stream: &mut Xoshiro256PlusPlus) -> f64 {
    // 53 random bits in (0, 1]: zero is left out because its logarithm is infinite.
    let uniform = ((stream.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    -uniform.ln()
}

impl Iterator for Schedule<'_> {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let due = self.gaps.due();
        loop {
            let (segment, rest) = self.segments.split_first()?;
            let within = due - segment.requests_before;
            if within < segment.requests() {
                self.gaps.advance();
                return Some(Duration::from_secs_f64(
                    segment.starts_at + segment.seconds_until(within.max(0.0)),
                ));
            }
            self.segments = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::profile::{Profile, Step};
    use crate::rate::Rate;

    fn constant(rate: f64, seconds: u64) -> Profile {
        Profile::constant(Rate::per_second(rate).unwrap(), Duration::from_secs(seconds)).unwrap()
    }

    #[test]
    fn even_arrivals_are_evenly_spaced() {
        let times: Vec<_> = constant(4.0, 1).schedule(Arrivals::Even).map(|at| at.as_millis()).collect();
        assert_eq!(times, [125, 375, 625, 875]);
    }

    #[test]
    fn a_rate_of_zero_sends_nothing_and_ends() {
        assert_eq!(constant(0.0, 10).schedule(Arrivals::Even).next(), None);
        assert_eq!(constant(0.0, 10).schedule(Arrivals::Poisson { seed: 1 }).next(), None);
    }

    #[test]
    fn poisson_arrivals_grow_from_their_seed() {
        let profile = constant(100.0, 100);
        let times = |seed| profile.schedule(Arrivals::Poisson { seed }).collect::<Vec<_>>();
        assert_eq!(times(7), times(7));
        assert_ne!(times(7), times(8));
        // 10,000 expected; six standard deviations of a Poisson count are 600.
        assert!((9_400..=10_600).contains(&times(7).len()), "{}", times(7).len());
    }

    #[test]
    fn poisson_gaps_vary_as_much_as_they_last() {
        let profile = constant(100.0, 100);
        let times: Vec<f64> =
            profile.schedule(Arrivals::Poisson { seed: 3 }).map(|at| at.as_secs_f64()).collect();
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        // An exponential distribution has a coefficient of variation of 1; even arrivals have 0.
        assert!((0.9..1.1).contains(&(deviation / mean)), "{}", deviation / mean);
    }

    fn staircases() -> impl Strategy<Value = Profile> {
        let step = (0.0..500.0_f64, 0_u64..4_000).prop_map(|(rate, ms)| Step {
            rate: Rate::per_second(rate).unwrap(),
            hold: Duration::from_millis(ms),
        });
        prop::collection::vec(step, 1..12)
            .prop_filter_map("a duration of zero", |steps| Profile::steps(&steps).ok())
    }

    proptest! {
        #[test]
        fn as_many_requests_as_the_area_under_the_rate(profile in staircases()) {
            let sent = profile.schedule(Arrivals::Even).count() as f64;
            prop_assert!((sent - profile.requests()).abs() <= 0.5 + 1e-6, "{} for {}", sent, profile.requests());
        }

        #[test]
        fn times_never_go_back_nor_past_the_end(profile in staircases(), seed: u64) {
            for arrivals in [Arrivals::Even, Arrivals::Poisson { seed }] {
                let mut before = Duration::ZERO;
                for at in profile.schedule(arrivals) {
                    prop_assert!(before <= at && at <= profile.duration());
                    before = at;
                }
            }
        }

        #[test]
        fn up_to_any_moment_the_sent_match_the_area(
            from in 0.0..1000.0_f64, to in 0.0..1000.0_f64, seconds in 0.1..60.0_f64, share in 0.0..1.0_f64,
        ) {
            let line = crate::profile::Line {
                seconds, from: Rate::per_second(from).unwrap(), to: Rate::per_second(to).unwrap(),
            };
            let profile = Profile::of_lines([line]).unwrap();
            let moment = seconds * share;
            let area = from * moment + (to - from) / seconds * moment * moment / 2.0;
            let sent = profile.schedule(Arrivals::Even).filter(|at| at.as_secs_f64() <= moment).count() as f64;
            prop_assert!((sent - area).abs() <= 0.5 + 1e-3, "{} sent, area {}", sent, area);
        }
    }
}
