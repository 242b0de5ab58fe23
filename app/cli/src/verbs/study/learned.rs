//! What a server has learned about a running service, in place of figures that the user would have to know.

use std::time::Duration;

use api::v1;
use fluid::Capacity;
use jiff::Timestamp;
use load::trace::Row;
use model::name::ServiceName;
use study::{CapacityRule, Recording};

use super::load::LoadArguments;
use super::show;
use crate::context::{CommandContext, block_on};
use crate::failure::Failure;

/// The minimum number of steps of load; fewer say nothing about a policy.
pub(super) const ROWS_MIN: usize = 60;

/// What was learned about a service.
#[derive(Clone, Debug)]
pub(super) struct Learned(v1::Learned);

impl Learned {
    /// Fetches what the server has learned about `service`.
    pub(super) fn fetch(context: &CommandContext, service: &ServiceName) -> Result<Self, Failure> {
        let client = context.client()?;
        let path = format!("/v1/services/{service}/learned");
        block_on(async { client.get(&path).await.map(Self).map_err(Failure::from) })
    }

    /// The capacity of a replica and its lower bound; `None` while nothing is known.
    pub(super) fn capacity(&self) -> Option<CapacityRule> {
        let capacity = self.0.capacity.as_ref()?;
        let rate = Capacity::per_second(capacity.requests_per_second).ok()?;
        if capacity.ground == "declared" {
            return Some(CapacityRule::Given(rate));
        }
        let least = Capacity::per_second(capacity.lower).ok()?;
        Some(CapacityRule::Learned { rate, least })
    }

    /// The usual time from start to full capacity of a replica; `None` before the first observed start.
    pub(super) fn start_up(&self) -> Option<Duration> {
        let start = self.0.start_seconds?;
        Duration::try_from_secs_f64(start + self.0.warmup_seconds.unwrap_or(0.0)).ok()
    }

    /// The durations of the latest starts, and of the latest warm-ups.
    pub(super) fn starts(&self) -> (Vec<Duration>, Vec<Duration>) {
        let times = |seconds: &[f64]| {
            seconds.iter().filter_map(|it| Duration::try_from_secs_f64(*it).ok()).collect::<Vec<_>>()
        };
        (times(&self.0.starts_seconds), times(&self.0.warmups_seconds))
    }

    /// A sentence on the capacity that is used.
    pub(super) fn note_on_capacity(&self) -> String {
        let Some(capacity) = &self.0.capacity else {
            return format!(
                "the capacity of a replica of {} has not been learned yet; it is never learned without scale.slo",
                self.0.target
            );
        };
        let v1::LearnedCapacity { requests_per_second, lower, upper, windows, ground, generation } = capacity;
        let (rate, lower, upper) = (show::rate(*requests_per_second), show::rate(*lower), show::rate(*upper));
        let version = generation.unwrap_or(0);
        let basis = match ground.as_str() {
            "declared" => {
                return format!(
                    "the capacity of a replica is {rate} requests per second, as declared in scale.slo.capacity: nothing has been learned yet"
                );
            }
            "before" => {
                format!("from that of version {version}, because little is known about the current one")
            }
            "overload" => format!(
                "assumed: no rate in {windows} windows of version {version} has met the SLO reliably yet"
            ),
            _ => format!("learned from {windows} windows of version {version}"),
        };
        format!(
            "the capacity of a replica of {} within its SLO is {rate} requests per second ({lower} to {upper}, {basis}); AT LEAST is the share of \
             requests that would violate it if the capacity were {lower}",
            self.0.target
        )
    }

    /// A sentence on the start-up time that is used: `assumed` before the first observed start.
    pub(super) fn note_on_starts(&self, assumed: Duration) -> String {
        let (starts, warmups) = (&self.0.starts_seconds, &self.0.warmups_seconds);
        let Some(usual) = self.0.start_seconds else {
            return format!(
                "no start of a replica has been observed yet: each is assumed to take {assumed:?}"
            );
        };
        let warm = match self.0.warmup_seconds {
            Some(usual) => format!(
                "each is followed by a warm-up drawn from the latest {} ({}, usually {usual:.1} s), as if a replica had no capacity before its end",
                warmups.len(),
                span(warmups)
            ),
            None => "no warm-up has been observed, and none is simulated".to_owned(),
        };
        format!(
            "start-up times are drawn from the latest {} ({}, usually {usual:.1} s); {warm}",
            starts.len(),
            span(starts)
        )
    }

    /// The load that the server has recorded.
    ///
    /// # Errors
    ///
    /// A sentence on why it cannot be used, and what to use instead.
    pub(super) fn recording(&self, arguments: &LoadArguments) -> Result<Recording, String> {
        let target = &self.0.target;
        let Some((rows, step)) = self.load() else {
            return Err(format!(
                "no load of {target} is recorded: that needs spec.expose, and scale.slo or scale.forecast (mode shadow suffices); give its load with \
                 --trace (HS0018)"
            ));
        };
        if rows.len() < ROWS_MIN {
            return Err(format!(
                "only {} steps of {step:?} of the load of {target} are recorded, and at least {ROWS_MIN} are needed: let it run for longer, or give its \
                 load with --trace (HS0018)",
                rows.len()
            ));
        }
        Ok(arguments.of_rows(format!("the load of {target}"), rows, step))
    }

    /// The load that the server has recorded, in requests per second for each step that was measured, and the length of a step; `None` without.
    pub(super) fn load(&self) -> Option<(Vec<Row>, Duration)> {
        let load = self.0.load.as_ref().filter(|load| load.unit == "requests/s")?;
        let step = Duration::try_from_secs_f64(load.step_seconds.clamp(1.0, 3600.0)).ok()?;
        let from = load.from.parse::<Timestamp>().ok()?;
        let row = |(index, value): (usize, &Option<f64>)| {
            let at = from.checked_add(step * u32::try_from(index).ok()?).ok()?;
            Some(Row { at, value: (*value)? })
        };
        Some((load.loads.iter().enumerate().filter_map(row).collect(), step))
    }
}

/// The range from the smallest to the largest.
fn span(seconds: &[f64]) -> String {
    let least = seconds.iter().copied().fold(f64::INFINITY, f64::min);
    let most = seconds.iter().copied().fold(0.0, f64::max);
    format!("{least:.1} to {most:.1} s")
}
