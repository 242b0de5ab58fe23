//! Known events: a sale, a campaign, a holiday.
//!
//! History does not predict them. Source: holidays and events in S. J. Taylor and B. Letham, "Forecasting at scale", 2018; there their
//! effect is learned, here it is declared, so that it is also known for a first occurrence.

use std::fmt;

use jiff::civil::DateTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cron, ObjectName, Quantity, Span, Window, Zone};
use crate::time::Wall;

/// An event with an unusual load.
///
/// Its load is expected only during the event, and nothing is learned from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "KnownEventFields", into = "KnownEventFields")]
pub struct KnownEvent {
    /// Its name, in explanations.
    pub name: ObjectName,
    /// When it begins.
    pub start: EventStart,
    /// The time zone of its begin.
    pub timezone: Zone,
    /// How long it lasts.
    pub duration: Span,
    /// Its effect on the load.
    pub effect: EventEffect,
}

/// When an event begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventStart {
    /// Once.
    At(ClockTime),
    /// Periodically.
    Cron(Box<Cron>),
}

/// The effect of an event on the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventEffect {
    /// A multiple of the usual load at that time.
    Factor(Factor),
    /// A minimum load, in the unit of the forecast.
    Load(Quantity),
}

impl KnownEvent {
    /// Its latest occurrence that began at or before `at`, and may be over; `None` before the first.
    pub fn begun(&self, at: Wall) -> Option<Window> {
        let from = match &self.start {
            EventStart::At(time) => self.timezone.when(time.0).filter(|from| *from <= at)?,
            EventStart::Cron(cron) => cron.begun(at, &self.timezone)?,
        };
        Some(Window::of(from, self.duration))
    }

    /// Its first occurrence after `at`; `None` if there is none.
    pub fn next(&self, at: Wall) -> Option<Window> {
        let from = match &self.start {
            EventStart::At(time) => self.timezone.when(time.0).filter(|from| *from > at)?,
            EventStart::Cron(cron) => cron.begins(at, &self.timezone)?,
        };
        Some(Window::of(from, self.duration))
    }
}

/// As in an explanation: `×3` or `at least 1200`.
impl fmt::Display for EventEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Factor(factor) => write!(f, "×{}", f64::from(*factor)),
            Self::Load(load) => write!(f, "at least {}", load.milli() as f64 / 1000.0),
        }
    }
}

/// A local date and time without a zone, such as `2026-11-27T08:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClockTime(DateTime);

/// Why a text is not a local date and time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a date and time; write one such as 2026-11-27T08:00, and the time zone in timezone")]
pub struct ClockTimeError(String);

impl ClockTime {
    /// Parses a date and time; a date alone is its midnight. A zone or an offset is rejected: it is declared separately.
    pub fn parse(text: &str) -> Result<Self, ClockTimeError> {
        // The parser accepts an offset and drops it, which would move the event.
        let has_zone = text.contains(['Z', 'z', '+', '[']) || text.matches('-').count() > 2;
        let time = text.parse().ok().filter(|_| !has_zone);
        time.map(Self).ok_or_else(|| ClockTimeError(text.to_owned()))
    }
}

impl TryFrom<String> for ClockTime {
    type Error = ClockTimeError;

    fn try_from(text: String) -> Result<Self, ClockTimeError> {
        Self::parse(&text)
    }
}

impl From<ClockTime> for String {
    fn from(time: ClockTime) -> Self {
        time.0.to_string()
    }
}

impl JsonSchema for ClockTime {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ClockTime".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A local date and time: 2026-11-27T08:00.",
            "type": "string",
            "minLength": 1,
        })
    }
}

/// A factor in thousandths, written as a number such as 3 or 0.25; 0 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "f64", into = "f64")]
pub struct Factor(#[schemars(with = "f64")] u32);

/// Why a number is not a factor.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{0} is not a factor; write a number from 0 to 1000, such as 3 for three times the load")]
pub struct FactorError(f64);

/// The largest factor, in thousandths.
const FACTOR_MAX: f64 = 1_000_000.0;

/// Rounded to the nearest thousandth.
impl TryFrom<f64> for Factor {
    type Error = FactorError;

    fn try_from(times: f64) -> Result<Self, FactorError> {
        let milli = (times * 1000.0).round();
        if (0.0..=FACTOR_MAX).contains(&milli) { Ok(Self(milli as u32)) } else { Err(FactorError(times)) }
    }
}

impl From<Factor> for f64 {
    fn from(factor: Factor) -> Self {
        Self::from(factor.0) / 1000.0
    }
}

/// An event with an unusual load: `factor` or `load`, from `at` or from `cron` on.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct KnownEventFields {
    /// Its name.
    name: ObjectName,
    /// When it begins, for an event that occurs once: date and time in the time zone, such as `2026-11-27T08:00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<ClockTime>,
    /// When it begins, for a recurring event: five fields as in crontab, or a nickname such as `@daily`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cron: Option<Cron>,
    /// The time zone of `at` or `cron`, by its IANA name, such as `Europe/Berlin`. Default: UTC.
    #[serde(default)]
    timezone: Zone,
    /// How long it lasts, 1s to 366d, in elapsed time, whatever the change to or from daylight saving time.
    duration: Span,
    /// The expected load as a multiple of the usual load at that time, 0 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1000.0))]
    factor: Option<Factor>,
    /// The minimum of the expected load, in the unit of the forecast: requests a second, or replicas for a service that is not exposed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    load: Option<Quantity>,
}

/// Why the fields of an event contradict each other.
#[derive(Debug, thiserror::Error)]
enum KnownEventError {
    #[error("give either at, such as 2026-11-27T08:00, or cron")]
    Start,
    #[error("give either factor, such as 3 for three times the usual load, or load")]
    Effect,
}

impl TryFrom<KnownEventFields> for KnownEvent {
    type Error = KnownEventError;

    fn try_from(fields: KnownEventFields) -> Result<Self, KnownEventError> {
        let KnownEventFields { name, at, cron, timezone, duration, factor, load } = fields;
        let start = match (at, cron) {
            (Some(at), None) => EventStart::At(at),
            (None, Some(cron)) => EventStart::Cron(Box::new(cron)),
            (Some(_), Some(_)) | (None, None) => return Err(KnownEventError::Start),
        };
        let effect = match (factor, load) {
            (Some(factor), None) => EventEffect::Factor(factor),
            (None, Some(load)) => EventEffect::Load(load),
            (Some(_), Some(_)) | (None, None) => return Err(KnownEventError::Effect),
        };
        Ok(Self { name, start, timezone, duration, effect })
    }
}

impl From<KnownEvent> for KnownEventFields {
    fn from(event: KnownEvent) -> Self {
        let KnownEvent { name, start, timezone, duration, effect } = event;
        let (at, cron) = match start {
            EventStart::At(at) => (Some(at), None),
            EventStart::Cron(cron) => (None, Some(*cron)),
        };
        let (factor, load) = match effect {
            EventEffect::Factor(factor) => (Some(factor), None),
            EventEffect::Load(load) => (None, Some(load)),
        };
        Self { name, at, cron, timezone, duration, factor, load }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(fields: &serde_json::Value) -> Result<KnownEvent, String> {
        let mut whole = json!({"name": "sale", "duration": "2h", "timezone": "Europe/Berlin"});
        let more = fields.as_object().expect("fields are an object").clone();
        whole.as_object_mut().expect("it is valid").extend(more);
        serde_json::from_value(whole).map_err(|error| error.to_string())
    }

    fn wall(time: &str) -> Wall {
        let at: jiff::Timestamp = time.parse().expect("it is a time");
        Wall::from_millis(u64::try_from(at.as_millisecond()).expect("it is after 1970"))
    }

    #[test]
    fn an_event_begins_at_the_local_time_of_its_zone() {
        let sale = event(&json!({"at": "2026-11-27T08:00", "factor": 3})).expect("it is valid");
        assert_eq!(sale.begun(wall("2026-11-27T06:59:59Z")), None);
        let window = sale.begun(wall("2026-11-27T07:00:00Z")).expect("it has begun");
        assert_eq!((window.from, window.until), (wall("2026-11-27T07:00:00Z"), wall("2026-11-27T09:00:00Z")));
        assert_eq!(sale.begun(wall("2027-01-01T00:00:00Z")), Some(window), "the past occurrence");
        assert_eq!((sale.next(window.from), sale.next(wall("2026-01-01T00:00:00Z"))), (None, Some(window)));
        let daily = event(&json!({"cron": "0 8 * * *", "load": "1200"})).expect("it is valid");
        let window = daily.begun(wall("2026-07-01T20:00:00Z")).expect("it comes each day");
        assert_eq!(window.from, wall("2026-07-01T06:00:00Z"), "in summer");
        let next = daily.next(window.from).expect("it comes each day");
        assert_eq!(next.from, wall("2026-07-02T06:00:00Z"));
    }

    #[test]
    fn an_event_is_serialized_as_written() {
        for fields in [
            json!({"at": "2026-11-27T08:00:00", "factor": 0.25}),
            json!({"cron": "0 8 * * 1-5", "load": "1200"}),
        ] {
            let read = event(&fields).expect("it is valid");
            let written = serde_json::to_value(&read).expect("it can be written");
            for (field, value) in fields.as_object().expect("fields are an object") {
                assert_eq!(written[field], *value);
            }
            assert_eq!(serde_json::from_value::<KnownEvent>(written).expect("it is valid"), read);
        }
    }

    #[test]
    fn contradictory_and_invalid_fields_are_rejected() {
        for (fields, why) in [
            (json!({"factor": 3}), "give either at"),
            (json!({"at": "2026-11-27", "cron": "@daily", "factor": 3}), "give either at"),
            (json!({"at": "2026-11-27"}), "give either factor"),
            (json!({"at": "2026-11-27", "factor": 3, "load": 4}), "give either factor"),
            (json!({"at": "2026-11-27T08:00Z", "factor": 3}), "is not a date and time"),
            (json!({"at": "2026-11-27T08:00-05:00", "factor": 3}), "is not a date and time"),
            (json!({"at": "tomorrow", "factor": 3}), "is not a date and time"),
            (json!({"at": "2026-11-27", "factor": -1}), "is not a factor"),
            (json!({"at": "2026-11-27", "factor": 2000}), "is not a factor"),
        ] {
            let error = event(&fields).expect_err("it is invalid");
            assert!(error.contains(why), "{fields}: {error}");
        }
    }
}
