//! What is known to come: a sale, a campaign, a holiday.
//!
//! What a calendar knows no history does. Source: holidays and events as S. J. Taylor and B. Letham have them in "Forecasting at scale", 2018; there their effect
//! is learned, here it is given, so that it holds for one that never was before.

use std::fmt;

use jiff::civil::DateTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cron, ObjectName, Quantity, Span, Window, Zone};
use crate::time::Wall;

/// A time that is unlike others, and the load that it brings.
///
/// Its load is expected of it and of no other time: nothing is learned from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "KnownEventFields", into = "KnownEventFields")]
pub struct KnownEvent {
    /// What it is called, in explanations.
    pub name: ObjectName,
    /// When it begins.
    pub begins: Begins,
    /// The time zone in which it does.
    pub timezone: Zone,
    /// How long it lasts from there.
    pub duration: Span,
    /// What is expected of it.
    pub brings: Brings,
}

/// When an event begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begins {
    /// Once.
    At(ClockTime),
    /// Again and again.
    Cron(Box<Cron>),
}

/// The load that an event brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brings {
    /// So many times what is usual then.
    Factor(Factor),
    /// At least so much, in the unit of the forecast.
    Load(Quantity),
}

impl KnownEvent {
    /// The latest of its times that began until `at`, which may be over; `None` before the first.
    pub fn begun(&self, at: Wall) -> Option<Window> {
        let from = match &self.begins {
            Begins::At(time) => self.timezone.when(time.0).filter(|from| *from <= at)?,
            Begins::Cron(cron) => cron.begun(at, &self.timezone)?,
        };
        Some(Window::of(from, self.duration))
    }

    /// The first of its times that begins after `at`; `None` when none does.
    pub fn next(&self, at: Wall) -> Option<Window> {
        let from = match &self.begins {
            Begins::At(time) => self.timezone.when(time.0).filter(|from| *from > at)?,
            Begins::Cron(cron) => cron.begins(at, &self.timezone)?,
        };
        Some(Window::of(from, self.duration))
    }
}

/// What it brings, as in an explanation: `×3`, or `at least 1200`.
impl fmt::Display for Brings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Factor(factor) => write!(f, "×{}", f64::from(*factor)),
            Self::Load(load) => write!(f, "at least {}", load.milli() as f64 / 1000.0),
        }
    }
}

/// A time as a calendar and a clock show it, without a zone, such as `2026-11-27T08:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClockTime(DateTime);

/// Why a text is no such time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no time of a calendar and a clock; write one such as 2026-11-27T08:00, and the zone beside it"
)]
pub struct ClockTimeError(String);

impl ClockTime {
    /// Reads such a time; a date alone is its midnight. One with a zone or an offset is none: that stands beside it.
    pub fn parse(text: &str) -> Result<Self, ClockTimeError> {
        // The parser takes an offset and drops it, which would move the event.
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
            "description": "A time as a calendar and a clock show it: 2026-11-27T08:00.",
            "type": "string",
            "minLength": 1,
        })
    }
}

/// How many times as much, in thousandths, written as a number such as 3 or 0.25; 0 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "f64", into = "f64")]
pub struct Factor(#[schemars(with = "f64")] u32);

/// Why a number is no factor.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{0} is no factor of a load; write one of 0 to 1000, such as 3 for three times as much")]
pub struct FactorError(f64);

/// Thousandths of the largest.
const FACTOR_MAX: f64 = 1_000_000.0;

/// To the nearest thousandth.
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

/// A time that is known to be unlike others, and the load that it brings: `factor` or `load`, from `at` or from `cron` on.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct KnownEventFields {
    /// Its name.
    name: ObjectName,
    /// When it begins, if it comes once: date and time in the time zone, such as `2026-11-27T08:00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<ClockTime>,
    /// When it begins, if it comes again and again: five fields as in crontab, or a nickname such as `@daily`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cron: Option<Cron>,
    /// The time zone of `at` or `cron`, by its IANA name, such as `Europe/Berlin`. Default: UTC.
    #[serde(default)]
    timezone: Zone,
    /// How long it lasts, 1s to 366d, in elapsed time: a change to or from summer time makes it no longer or shorter.
    duration: Span,
    /// The expected load as a multiple of what is usual at that time, 0 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1000.0))]
    factor: Option<Factor>,
    /// The least load that is expected, in the unit of the forecast: requests a second, or replicas for a service that is not
    /// exposed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    load: Option<Quantity>,
}

/// Why the fields of an event contradict each other.
#[derive(Debug, thiserror::Error)]
enum KnownEventError {
    #[error("an event begins once or again and again: give either at, such as 2026-11-27T08:00, or cron")]
    Begins,
    #[error(
        "an event brings one thing: give either factor, such as 3 for three times what is usual, or load"
    )]
    Brings,
}

impl TryFrom<KnownEventFields> for KnownEvent {
    type Error = KnownEventError;

    fn try_from(fields: KnownEventFields) -> Result<Self, KnownEventError> {
        let KnownEventFields { name, at, cron, timezone, duration, factor, load } = fields;
        let begins = match (at, cron) {
            (Some(at), None) => Begins::At(at),
            (None, Some(cron)) => Begins::Cron(Box::new(cron)),
            (Some(_), Some(_)) | (None, None) => return Err(KnownEventError::Begins),
        };
        let brings = match (factor, load) {
            (Some(factor), None) => Brings::Factor(factor),
            (None, Some(load)) => Brings::Load(load),
            (Some(_), Some(_)) | (None, None) => return Err(KnownEventError::Brings),
        };
        Ok(Self { name, begins, timezone, duration, brings })
    }
}

impl From<KnownEvent> for KnownEventFields {
    fn from(event: KnownEvent) -> Self {
        let KnownEvent { name, begins, timezone, duration, brings } = event;
        let (at, cron) = match begins {
            Begins::At(at) => (Some(at), None),
            Begins::Cron(cron) => (None, Some(*cron)),
        };
        let (factor, load) = match brings {
            Brings::Factor(factor) => (Some(factor), None),
            Brings::Load(load) => (None, Some(load)),
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
        whole.as_object_mut().expect("it is one").extend(more);
        serde_json::from_value(whole).map_err(|error| error.to_string())
    }

    fn wall(time: &str) -> Wall {
        let at: jiff::Timestamp = time.parse().expect("it is a time");
        Wall::from_millis(u64::try_from(at.as_millisecond()).expect("it is after 1970"))
    }

    #[test]
    fn it_begins_when_the_clocks_of_its_zone_show_that() {
        let sale = event(&json!({"at": "2026-11-27T08:00", "factor": 3})).expect("it is one");
        assert_eq!(sale.begun(wall("2026-11-27T06:59:59Z")), None);
        let window = sale.begun(wall("2026-11-27T07:00:00Z")).expect("it has begun");
        assert_eq!((window.from, window.until), (wall("2026-11-27T07:00:00Z"), wall("2026-11-27T09:00:00Z")));
        assert_eq!(sale.begun(wall("2027-01-01T00:00:00Z")), Some(window), "it was");
        assert_eq!((sale.next(window.from), sale.next(wall("2026-01-01T00:00:00Z"))), (None, Some(window)));
        let daily = event(&json!({"cron": "0 8 * * *", "load": "1200"})).expect("it is one");
        let window = daily.begun(wall("2026-07-01T20:00:00Z")).expect("it comes each day");
        assert_eq!(window.from, wall("2026-07-01T06:00:00Z"), "in summer");
        let next = daily.next(window.from).expect("it comes each day");
        assert_eq!(next.from, wall("2026-07-02T06:00:00Z"));
    }

    #[test]
    fn it_is_written_as_it_was_read() {
        for fields in [
            json!({"at": "2026-11-27T08:00:00", "factor": 0.25}),
            json!({"cron": "0 8 * * 1-5", "load": "1200"}),
        ] {
            let read = event(&fields).expect("it is one");
            let written = serde_json::to_value(&read).expect("it can be written");
            for (field, value) in fields.as_object().expect("fields are an object") {
                assert_eq!(written[field], *value);
            }
            assert_eq!(serde_json::from_value::<KnownEvent>(written).expect("it is one"), read);
        }
    }

    #[test]
    fn what_contradicts_itself_is_none() {
        for (fields, why) in [
            (json!({"factor": 3}), "give either at"),
            (json!({"at": "2026-11-27", "cron": "@daily", "factor": 3}), "give either at"),
            (json!({"at": "2026-11-27"}), "give either factor"),
            (json!({"at": "2026-11-27", "factor": 3, "load": 4}), "give either factor"),
            (json!({"at": "2026-11-27T08:00Z", "factor": 3}), "is no time of a calendar"),
            (json!({"at": "2026-11-27T08:00-05:00", "factor": 3}), "is no time of a calendar"),
            (json!({"at": "tomorrow", "factor": 3}), "is no time of a calendar"),
            (json!({"at": "2026-11-27", "factor": -1}), "is no factor"),
            (json!({"at": "2026-11-27", "factor": 2000}), "is no factor"),
        ] {
            let said = event(&fields).expect_err("it is none");
            assert!(said.contains(why), "{fields}: {said}");
        }
    }
}
