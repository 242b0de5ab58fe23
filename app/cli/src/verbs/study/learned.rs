//! What a server has learned of a running service, in place of figures that the user would have to know.

use std::time::Duration;

use api::v1;
use fluid::Capacity;
use jiff::Timestamp;
use load::trace::Row;
use model::name::ServiceName;
use study::{CapacityRule, Recording};

use super::load::LoadWords;
use super::show;
use crate::arguments::{CommandContext, wait_for};
use crate::failure::Failure;

/// Fewer steps of load say nothing of a policy.
pub(super) const ROWS_MIN: usize = 60;

/// What was learned of a service.
#[derive(Clone, Debug)]
pub(super) struct Learned(v1::Learned);

impl Learned {
    /// Asks the server what it has learned of `service`.
    pub(super) fn of(context: &CommandContext, service: &ServiceName) -> Result<Self, Failure> {
        let client = context.client()?;
        let path = format!("/v1/services/{service}/learned");
        wait_for(async { client.get(&path).await.map(Self).map_err(Failure::from) })
    }

    /// What a replica carries, and what of it is certain; `None` before anything was seen of that.
    pub(super) fn capacity(&self) -> Option<CapacityRule> {
        let seen = self.0.capacity.as_ref()?;
        let rate = Capacity::per_second(seen.requests_per_second).ok()?;
        if seen.ground == "declared" {
            return Some(CapacityRule::Given(rate));
        }
        let least = Capacity::per_second(seen.lower).ok()?;
        Some(CapacityRule::Learned { rate, least })
    }

    /// From a start until a replica usually carries what it will; `None` before a start was seen.
    pub(super) fn start_up(&self) -> Option<Duration> {
        let start = self.0.start_seconds?;
        Duration::try_from_secs_f64(start + self.0.warmup_seconds.unwrap_or(0.0)).ok()
    }

    /// How long the latest starts took, and the latest warm-ups.
    pub(super) fn starts(&self) -> (Vec<Duration>, Vec<Duration>) {
        let times = |seconds: &[f64]| {
            seconds.iter().filter_map(|it| Duration::try_from_secs_f64(*it).ok()).collect::<Vec<_>>()
        };
        (times(&self.0.starts_seconds), times(&self.0.warmups_seconds))
    }

    /// What was taken for what a replica carries, in a sentence.
    pub(super) fn note_on_capacity(&self) -> String {
        let Some(seen) = &self.0.capacity else {
            return format!(
                "what a replica of {} carries has not been learned yet, or is never learned without scale.slo",
                self.0.target
            );
        };
        let v1::LearnedCapacity { requests_per_second, lower, upper, windows, ground, generation } = seen;
        let (rate, lower, upper) = (show::rate(*requests_per_second), show::rate(*lower), show::rate(*upper));
        let version = generation.unwrap_or(0);
        let grounds = match ground.as_str() {
            "declared" => {
                return format!(
                    "a replica carries {rate} requests a second, as declared in scale.slo.capacity: nothing has been learned about it yet"
                );
            }
            "before" => {
                format!(
                    "most of what version {version} carries, because little is known about the current one"
                )
            }
            "overload" => format!("version {version} was only seen overloaded, in {windows} windows"),
            _ => format!("learned from {windows} windows of version {version}"),
        };
        format!(
            "a replica of {} was seen to carry {rate} requests a second within its promise ({lower} to {upper}, {grounds}); AT LEAST says how many \
             requests it would be broken for if that were {lower}",
            self.0.target
        )
    }

    /// What was taken for the time of a start, in a sentence; `assumed` where none was seen.
    pub(super) fn note_on_starts(&self, assumed: Duration) -> String {
        let (starts, warmups) = (&self.0.starts_seconds, &self.0.warmups_seconds);
        let Some(usual) = self.0.start_seconds else {
            return format!("no start of a replica has been seen yet: each is assumed to take {assumed:?}");
        };
        let warm = match self.0.warmup_seconds {
            Some(usual) => format!(
                "a warm-up is added to each, from the {} that were seen ({}, usually {usual:.1} s), as if a replica carried nothing until then",
                warmups.len(),
                span(warmups)
            ),
            None => "no warm-up has been seen, and none is added".to_owned(),
        };
        format!(
            "starts take what the latest {} took ({}, usually {usual:.1} s); {warm}",
            starts.len(),
            span(starts)
        )
    }

    /// The load as the server remembers it, step by step.
    ///
    /// # Errors
    ///
    /// Why it is of no use, and what is, in a sentence.
    pub(super) fn recording(&self, arguments: &LoadWords) -> Result<Recording, String> {
        let target = &self.0.target;
        let Some(load) = self.0.load.as_ref().filter(|load| load.unit == "requests/s") else {
            return Err(format!(
                "no requests are remembered of {target}: that needs spec.expose, and scale.slo or scale.forecast, be it in mode shadow; give its load \
                 as --trace (HS0018)"
            ));
        };
        let step = Duration::from_secs_f64(load.step_seconds.clamp(1.0, 3600.0));
        let from = load.from.parse::<Timestamp>().map_err(|error| error.to_string())?;
        let row = |(nth, value): (usize, &Option<f64>)| {
            let at = from.checked_add(step * u32::try_from(nth).ok()?).ok()?;
            Some(Row { at, value: (*value)? })
        };
        let rows: Vec<Row> = load.loads.iter().enumerate().filter_map(row).collect();
        if rows.len() < ROWS_MIN {
            return Err(format!(
                "of the load of {target} {} of the {ROWS_MIN} steps of {step:?} are known that it takes at least: let it run for longer, or give its \
                 load as --trace (HS0018)",
                rows.len()
            ));
        }
        Ok(arguments.of_rows(format!("the load of {target}"), rows, step))
    }
}

/// From the least to the most.
fn span(seconds: &[f64]) -> String {
    let least = seconds.iter().copied().fold(f64::INFINITY, f64::min);
    let most = seconds.iter().copied().fold(0.0, f64::max);
    format!("{least:.1} to {most:.1} s")
}
