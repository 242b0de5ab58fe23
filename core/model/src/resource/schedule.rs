//! Times with other bounds: a floor for office hours, a ceiling for the night.
//!
//! A window is a state, not an event: the bounds are the same whenever they are read within it, also after a restart or a change of
//! the clock.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, Zoned};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;
use crate::time::Wall;

/// The minimum and the maximum of replicas; the minimum is never above the maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// The minimum.
    pub min: u32,
    /// The maximum.
    pub max: u32,
}

/// Bounds for a recurring time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Schedule {
    /// When it begins, as in crontab: minute, hour, day of the month, month, day of the week.
    cron: Cron,
    /// The time zone of `cron`, by its IANA name, such as `Asia/Shanghai`. Default: UTC.
    #[serde(default)]
    timezone: Zone,
    /// How long it lasts, 1m to 366d, in elapsed time, whatever the change to or from daylight saving time.
    pub duration: Span,
    /// The minimum of replicas during that time, instead of the usual one. If several schedules apply, the highest counts. It takes
    /// precedence over a lower maximum, the usual one or that of a schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,
    /// The maximum of replicas during that time, instead of the usual one. If several schedules apply, the lowest counts. It takes
    /// precedence over a higher usual minimum, but not over the minimum of a schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    #[serde(skip)]
    latest: Latest,
}

/// A cache of when a schedule began last, as of the minute of the last query.
///
/// Crontab times have a resolution of a minute, and searching the calendar takes longer than the rest of a decision. The cache does not
/// affect equality.
#[derive(Debug, Default)]
struct Latest(
    /// The minute of the query in the upper half, the minute of the begin in the lower half; zero before the first query.
    AtomicU64,
);

/// A time during which a schedule applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Its begin.
    pub from: Wall,
    /// Its end, which is not part of it.
    pub until: Wall,
}

impl Schedule {
    /// A schedule without bounds.
    pub fn new(cron: Cron, timezone: Zone, duration: Span) -> Self {
        Self { cron, timezone, duration, min: None, max: None, latest: Latest::default() }
    }

    /// When it begins.
    pub fn cron(&self) -> &Cron {
        &self.cron
    }

    /// The time zone of its begin.
    pub fn timezone(&self) -> &Zone {
        &self.timezone
    }

    /// The window at `at`; `None` between two windows.
    ///
    /// Of overlapping windows it is the one that began last.
    pub fn window(&self, at: Wall) -> Option<Window> {
        self.last(at).filter(|window| at < window.until)
    }

    /// The latest window that began at or before `at`, whether it is over or not; `None` at the ends of the calendar.
    pub fn last(&self, at: Wall) -> Option<Window> {
        let begun = self.latest.get(at).or_else(|| {
            let begun = self.cron.begun(at, &self.timezone)?;
            self.latest.set(at, begun);
            Some(begun)
        });
        Some(Window::of(begun?, self.duration))
    }

    /// When a window begins or ends next after `at`; `None` at the end of the calendar. Searches the calendar each time.
    pub fn next_change(&self, at: Wall) -> Option<Wall> {
        let ends = self.window(at).map(|window| window.until);
        let begins = self.cron.begins(at, &self.timezone).filter(|begins| at < *begins);
        ends.into_iter().chain(begins).min()
    }
}

const MINUTE_MS: u64 = 60_000;

impl Latest {
    /// When the schedule began last, if it was queried before in the minute of `at`.
    fn get(&self, at: Wall) -> Option<Wall> {
        let cached = self.0.load(Ordering::Relaxed);
        let is_of_minute = cached != 0 && cached >> 32 == at.as_millis() / MINUTE_MS;
        is_of_minute.then(|| Wall::from_millis(u64::from(cached as u32) * MINUTE_MS))
    }

    /// Caches an answer for the rest of its minute. One that is not a whole minute is not cached: some zones were seconds off until 1972.
    fn set(&self, at: Wall, begun: Wall) {
        let minute = |wall: Wall| u32::try_from(wall.as_millis() / MINUTE_MS).ok();
        if let (Some(queried), Some(from), true) =
            (minute(at), minute(begun), begun.as_millis().is_multiple_of(MINUTE_MS))
        {
            self.0.store(u64::from(queried) << 32 | u64::from(from), Ordering::Relaxed);
        }
    }
}

impl Clone for Latest {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.0.load(Ordering::Relaxed)))
    }
}

impl PartialEq for Latest {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Latest {}

impl Window {
    /// The window that begins at `from` and has this duration.
    pub(super) fn of(from: Wall, duration: Span) -> Self {
        Self { from, until: Wall::from_millis(from.as_millis().saturating_add(duration.as_millis())) }
    }
}

impl Bounds {
    /// The bounds at `at`: these ones, except where a schedule has others.
    ///
    /// If bounds contradict each other, the minimum counts: too many replicas cost money, too few cost requests.
    #[must_use]
    pub fn at(self, at: Wall, schedule: &[Schedule]) -> Self {
        self.under(schedule.iter().filter(|schedule| schedule.window(at).is_some()))
    }

    /// The bounds while all of `schedules` apply.
    #[must_use]
    pub fn under<'s>(self, schedules: impl IntoIterator<Item = &'s Schedule>) -> Self {
        let (mut min, mut max) = (None, None);
        for schedule in schedules {
            min = min.max(schedule.min);
            max = match (max, schedule.max) {
                (Some(one), Some(other)) => Some(u32::min(one, other)),
                (one, other) => one.or(other),
            };
        }
        match (min, max) {
            (Some(min), Some(max)) => Self { min, max: max.max(min) },
            (Some(min), None) => Self { min, max: self.max.max(min) },
            (None, Some(max)) => Self { min: self.min.min(max), max },
            (None, None) => self,
        }
    }
}

/// A time as in crontab: five fields, or a nickname such as `@daily`.
///
/// When both a day of the month and a day of the week are given, one of them suffices, as in Vixie cron. A fixed time that a change to
/// daylight saving time skips occurs at the change; one that the change back repeats occurs once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cron {
    text: String,
    pattern: croner::Cron,
}

/// Why a text is not a crontab time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// It cannot be parsed.
    #[error(
        "{text:?} is not a crontab time ({why}); write minute, hour, day of month, month and day of week, as in 0 8 * * 1-5"
    )]
    Unreadable {
        /// The text.
        text: String,
        /// Why.
        why: String,
    },
    /// It never occurs.
    #[error("{text:?} never occurs: there is no such day")]
    Never {
        /// The text.
        text: String,
    },
}

impl Cron {
    /// Parses a crontab time.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let pattern = parser
            .parse(text)
            .map_err(|error| CronError::Unreadable { text: text.to_owned(), why: error.to_string() })?;
        let cron = Self { text: text.to_owned(), pattern };
        // Searched from any day: what does not occur within the calendar's cycle of 28 years never does.
        match cron.before(&Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC)) {
            Some(_) => Ok(cron),
            None => Err(CronError::Never { text: text.to_owned() }),
        }
    }

    /// Its latest occurrence in `zone` at or before `at`; `None` at the ends of the calendar.
    pub(super) fn begun(&self, at: Wall, zone: &Zone) -> Option<Wall> {
        wall(&self.before(&zone.zoned(at)?)?)
    }

    /// Its first occurrence in `zone` after `at`; `None` at the ends of the calendar.
    pub(super) fn begins(&self, at: Wall, zone: &Zone) -> Option<Wall> {
        wall(&self.pattern.find_next_occurrence(&zone.zoned(at)?, false).ok()?)
    }

    /// Its latest occurrence at or before `at`.
    fn before(&self, at: &Zoned) -> Option<Zoned> {
        self.pattern.find_previous_occurrence(at, true).ok()
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Cron {
    type Error = CronError;

    fn try_from(text: String) -> Result<Self, CronError> {
        Self::parse(&text)
    }
}

impl From<Cron> for String {
    fn from(cron: Cron) -> Self {
        cron.text
    }
}

impl JsonSchema for Cron {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cron".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A crontab time: minute, hour, day of the month, month, day of the week; or a nickname such as @daily.",
            "type": "string",
            "minLength": 1,
        })
    }
}

/// A time zone of the IANA database that is part of this binary: the same on every machine, and in a replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(TimeZone);

/// Why a text is not a time zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} is not a time zone of the IANA database; write one such as UTC, Europe/Berlin or Asia/Shanghai"
)]
pub struct ZoneError {
    /// The text.
    pub name: String,
}

impl Zone {
    /// The time zone of this name, case-insensitive.
    pub fn parse(name: &str) -> Result<Self, ZoneError> {
        let zone = TimeZoneDatabase::bundled().get(name);
        zone.map(Self).map_err(|_unknown| ZoneError { name: name.to_owned() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// When clocks in the zone show `time`. Of two times it is the first; a skipped time is shifted by the change to daylight saving time.
    /// `None` before 1970.
    pub(super) fn when(&self, time: DateTime) -> Option<Wall> {
        wall(&time.to_zoned(self.0.clone()).ok()?)
    }

    fn zoned(&self, at: Wall) -> Option<Zoned> {
        let time = Timestamp::from_millisecond(i64::try_from(at.as_millis()).ok()?).ok()?;
        Some(time.to_zoned(self.0.clone()))
    }

    /// The local time at `at`, to the minute and with the zone: `2026-03-29 08:00 CEST`.
    pub fn show(&self, at: Wall) -> String {
        match self.zoned(at) {
            Some(time) => time.strftime("%Y-%m-%d %H:%M %Z").to_string(),
            None => "the end of the calendar".to_owned(),
        }
    }
}

fn wall(at: &Zoned) -> Option<Wall> {
    Some(Wall::from_millis(u64::try_from(at.timestamp().as_millisecond()).ok()?))
}

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TryFrom<String> for Zone {
    type Error = ZoneError;

    fn try_from(name: String) -> Result<Self, ZoneError> {
        Self::parse(&name)
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.name().to_owned()
    }
}

impl JsonSchema for Zone {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Zone".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A time zone by its IANA name: UTC, Europe/Berlin, Asia/Shanghai.",
            "type": "string",
            "minLength": 1,
        })
    }
}

#[cfg(test)]
mod tests;
