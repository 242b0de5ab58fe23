//! The load of an endpoint.

use std::time::Duration;

use crate::endpoint::Weight;

/// The load of an endpoint at the time of a pick.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Requests in flight.
    pub in_flight: u32,
    /// Recent latency in microseconds; 0 while nothing is known.
    pub latency_us: f32,
}

impl Load {
    /// An endpoint that has never had a request.
    pub const IDLE: Self = Self { in_flight: 0, latency_us: 0.0 };

    /// The assumed latency of an endpoint that has a request in flight but has never answered one: one second.
    ///
    /// So a new endpoint gets a single request first, and more only once it has answered.
    const UNKNOWN_US: f32 = 1_000_000.0;

    /// The expected wait of one more request: (in flight + 1) × latency ÷ weight. 0 for an idle endpoint whose latency is unknown.
    #[must_use]
    pub fn cost(self, weight: Weight) -> f32 {
        let latency_us = if self.latency_us > 0.0 {
            // The floor lets requests in flight count even if the latency has decayed to nothing.
            self.latency_us.max(1.0)
        } else if self.in_flight == 0 {
            return 0.0;
        } else {
            Self::UNKNOWN_US
        };
        #[expect(
            clippy::cast_precision_loss,
            reason = "a cost is compared, not counted; 24 bits are more than enough"
        )]
        let requests = self.in_flight as f32 + 1.0;
        requests * latency_us / f32::from(weight.get())
    }
}

/// A moving average of latency that rises at once and decays slowly.
///
/// A sample above the mean replaces it, so that an endpoint that starts to hang is avoided after one answer; below it,
/// the mean decays with a half-life of [`PeakEwma::HALF_LIFE`]. Source: Finagle's "peak EWMA" load metric.
/// It packs into 64 bits, so that one atomic cell can hold it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PeakEwma {
    latency_us: f32,
    /// Milliseconds of the caller's clock, modulo 2³² (49 days).
    at_ms: u32,
}

impl PeakEwma {
    /// The time in which a peak loses half of its weight: about Finagle's ten-second decay (10 s × ln 2).
    pub const HALF_LIFE: Duration = Duration::from_secs(7);

    /// Adds the latency of one answer.
    #[must_use]
    pub fn observe(self, now: Duration, latency: Duration) -> Self {
        let sample_us = latency.as_secs_f32() * 1e6;
        let at_ms = millis(now);
        if self.latency_us <= 0.0 || sample_us >= self.latency_us {
            // Never 0, which would mean that nothing is known.
            return Self { latency_us: sample_us.max(1.0), at_ms };
        }
        let kept = half_power(at_ms.wrapping_sub(self.at_ms));
        Self { latency_us: (self.latency_us * kept + sample_us * (1.0 - kept)).max(1.0), at_ms }
    }

    /// Adds the latency of a failure, which may raise the mean but never lowers it.
    ///
    /// Otherwise an endpoint that fails every request instantly would look like the fastest one and attract all traffic.
    #[must_use]
    pub fn observe_failure(self, now: Duration, latency: Duration) -> Self {
        if latency.as_secs_f32() * 1e6 >= self.latency_us { self.observe(now, latency) } else { self }
    }

    /// The mean as of `now`, in microseconds; 0 before the first sample, otherwise at least 1.
    #[must_use]
    pub fn read(self, now: Duration) -> f32 {
        if self.latency_us <= 0.0 {
            return 0.0;
        }
        (self.latency_us * half_power(millis(now).wrapping_sub(self.at_ms))).max(1.0)
    }

    /// The state as one word; [`PeakEwma::default`] is 0.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        ((self.latency_us.to_bits() as u64) << 32) | self.at_ms as u64
    }

    /// The state back from [`to_bits`](Self::to_bits).
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self { latency_us: f32::from_bits((bits >> 32) as u32), at_ms: bits as u32 }
    }
}

/// 2^(−elapsed ÷ half-life), interpolated linearly between whole powers: at most 6 % above the true curve.
///
/// It uses shifts and multiplications only, so that every machine gives the same bits, unlike `exp`.
fn half_power(elapsed_ms: u32) -> f32 {
    const HALF_LIFE_MS: u32 = PeakEwma::HALF_LIFE.as_millis() as u32;
    // A concurrent writer with a later time makes this wrap to a huge number, which counts as no time at all.
    if elapsed_ms > u32::MAX / 2 {
        return 1.0;
    }
    let halvings = elapsed_ms / HALF_LIFE_MS;
    if halvings >= 31 {
        return 0.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "both are below 2^24 or a power of two: exact")]
    let (whole, part) =
        (1.0 / (1u32 << halvings) as f32, (elapsed_ms % HALF_LIFE_MS) as f32 / HALF_LIFE_MS as f32);
    whole * (1.0 - part / 2.0)
}

fn millis(now: Duration) -> u32 {
    now.as_millis() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_peak_counts_at_once_and_decays_by_its_half_life() {
        let calm = PeakEwma::default().observe(ms(0), ms(10));
        let peaked = calm.observe(ms(5), ms(500));
        assert_eq!(peaked.read(ms(5)), 500_000.0);
        assert_eq!(peaked.read(ms(5) + PeakEwma::HALF_LIFE), 250_000.0);
        assert_eq!(peaked.read(ms(5) + PeakEwma::HALF_LIFE * 3), 62_500.0);
        assert_eq!(peaked.read(ms(5) + Duration::from_secs(3600)), 1.0);
    }

    #[test]
    fn lower_samples_lower_the_mean_over_time() {
        let mut mean = PeakEwma::default().observe(ms(0), ms(500));
        for second in 1..=70 {
            mean = mean.observe(Duration::from_secs(second), ms(10));
        }
        let read = mean.read(Duration::from_secs(70));
        assert!((10_000.0..15_000.0).contains(&read), "{read}");
    }

    #[test]
    fn a_fast_failure_does_not_make_an_endpoint_attractive() {
        let mean = PeakEwma::default().observe(ms(0), ms(100));
        assert_eq!(mean.observe_failure(ms(1), ms(1)), mean);
        assert!(mean.observe_failure(ms(1), ms(900)).read(ms(1)) > 800_000.0);
    }

    #[test]
    fn the_state_packs_into_one_word() {
        let mean = PeakEwma::default().observe(ms(123_456), ms(42));
        assert_eq!(PeakEwma::from_bits(mean.to_bits()), mean);
        assert_eq!(PeakEwma::default().to_bits(), 0);
    }

    #[test]
    fn the_clock_may_wrap_after_49_days() {
        let before = Duration::from_millis(u64::from(u32::MAX) - 10);
        let mean = PeakEwma::default().observe(before, ms(100));
        let after = mean.read(before + PeakEwma::HALF_LIFE);
        assert_eq!(after, 50_000.0);
    }

    #[test]
    fn an_unknown_endpoint_gets_one_request_first() {
        let known = Load { in_flight: 3, latency_us: 5_000.0 };
        let waiting = Load { in_flight: 1, latency_us: 0.0 };
        assert!(Load::IDLE.cost(Weight::ONE) < known.cost(Weight::ONE));
        assert!(waiting.cost(Weight::ONE) > known.cost(Weight::ONE));
    }
}
