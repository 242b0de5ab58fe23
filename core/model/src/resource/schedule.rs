//! Times at which other bounds hold: a floor for office hours, a ceiling for the night.
//!
//! A window is a state that is held, not an event: whoever looks in the middle of it, after a restart or a change of the
//! clock, finds the same bounds.

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

/// The fewest and the most replicas; the first is never above the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Fewest.
    pub min: u32,
    /// Most.
    pub max: u32,
}

/// Bounds that hold for some time, again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Schedule {
    /// When it begins, as in crontab: minute, hour, day of the month, month, day of the week.
    cron: Cron,
    /// The time zone of `cron`, by its IANA name, such as `Asia/Shanghai`. Default: UTC.
    #[serde(default)]
    timezone: Zone,
    /// How long it lasts from each beginning, 1m to 366d, in elapsed time: a change to or from summer time makes it no longer or
    /// shorter.
    pub duration: Span,
    /// The fewest replicas during that time, instead of the usual. Where several schedules hold, the highest counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,
    /// The most replicas during that time, instead of the usual. Where several schedules hold, the lowest counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    #[serde(skip)]
    latest: Latest,
}

/// When a schedule began last, as of the minute in which somebody asked last.
///
/// Crontab knows nothing shorter than a minute, and to look back through a calendar takes longer than all else of a decision. It is no part of
/// what was written: schedules are equal whatever they were asked.
#[derive(Debug, Default)]
struct Latest(
    /// The minute of the question above the minute of the beginning; zero before the first.
    AtomicU64,
);

/// A time during which a schedule holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Its beginning.
    pub from: Wall,
    /// Its end; at this time it is over.
    pub until: Wall,
}

impl Schedule {
    /// One that says no other bounds yet.
    pub fn new(cron: Cron, timezone: Zone, duration: Span) -> Self {
        Self { cron, timezone, duration, min: None, max: None, latest: Latest::default() }
    }

    /// When it begins.
    pub fn cron(&self) -> &Cron {
        &self.cron
    }

    /// The time zone in which it does.
    pub fn timezone(&self) -> &Zone {
        &self.timezone
    }

    /// The window that `at` lies in; `None` between two windows.
    ///
    /// Of windows that overlap it is the one that began last.
    pub fn window(&self, at: Wall) -> Option<Window> {
        self.last(at).filter(|window| at < window.until)
    }

    /// The window that began last until `at`, be it over or not; `None` at the ends of the calendar.
    pub fn last(&self, at: Wall) -> Option<Window> {
        let begun = self.latest.known(at).or_else(|| {
            let begun = self.cron.begun(at, &self.timezone)?;
            self.latest.note(at, begun);
            Some(begun)
        });
        Some(Window::of(begun?, self.duration))
    }
}

const MINUTE_MS: u64 = 60_000;

impl Latest {
    /// When the schedule began last until `at`; `None` when another minute was asked for last.
    fn known(&self, at: Wall) -> Option<Wall> {
        let known = self.0.load(Ordering::Relaxed);
        let is_of_minute = known != 0 && known >> 32 == at.as_millis() / MINUTE_MS;
        is_of_minute.then(|| Wall::from_millis(u64::from(known as u32) * MINUTE_MS))
    }

    /// Keeps an answer for the rest of its minute. One that is no whole minute is not kept: some zones were seconds off until 1972.
    fn note(&self, at: Wall, begun: Wall) {
        let minute = |wall: Wall| u32::try_from(wall.as_millis() / MINUTE_MS).ok();
        if let (Some(asked), Some(from), true) =
            (minute(at), minute(begun), begun.as_millis().is_multiple_of(MINUTE_MS))
        {
            self.0.store(u64::from(asked) << 32 | u64::from(from), Ordering::Relaxed);
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
    /// The one that begins at `from` and lasts so long.
    pub(super) fn of(from: Wall, duration: Span) -> Self {
        Self { from, until: Wall::from_millis(from.as_millis().saturating_add(duration.as_millis())) }
    }
}

impl Bounds {
    /// The bounds that hold at `at`: the usual ones, but where a schedule says others.
    ///
    /// Bounds that contradict each other leave the floor: too many replicas cost money, too few cost requests.
    #[must_use]
    pub fn at(self, at: Wall, schedule: &[Schedule]) -> Self {
        self.under(schedule.iter().filter(|schedule| schedule.window(at).is_some()))
    }

    /// The bounds while all of `holding` hold.
    #[must_use]
    pub fn under<'s>(self, holding: impl IntoIterator<Item = &'s Schedule>) -> Self {
        let (mut min, mut max) = (None, None);
        for schedule in holding {
            min = min.max(schedule.min);
            max = match (max, schedule.max) {
                (Some(least), Some(other)) => Some(u32::min(least, other)),
                (known, other) => known.or(other),
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

/// When something begins, as crontab has it: five fields, or a nickname such as `@daily`.
///
/// Days of the month and of the week are joined by or when both are given, as in Vixie cron. At a change to summer time, a fixed time that
/// the clock leaves out comes when the clock goes on; one that comes twice in autumn comes once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cron {
    text: String,
    pattern: croner::Cron,
}

/// Why a text is no crontab time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// It cannot be read.
    #[error(
        "{text:?} is no crontab time ({why}); write minute, hour, day of month, month and day of week, as in 0 8 * * 1-5"
    )]
    Unreadable {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// It never comes.
    #[error("{text:?} never comes: there is no such day")]
    Never {
        /// What was given.
        text: String,
    },
}

impl Cron {
    /// Reads a crontab time.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let pattern = parser
            .parse(text)
            .map_err(|error| CronError::Unreadable { text: text.to_owned(), why: error.to_string() })?;
        let cron = Self { text: text.to_owned(), pattern };
        // From any day on: what does not come within the calendar's cycle of 28 years, or of eight at its rarest, never does.
        match cron.before(&Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC)) {
            Some(_) => Ok(cron),
            None => Err(CronError::Never { text: text.to_owned() }),
        }
    }

    /// The last time that it came in `zone` until `at`, that time included; `None` at the ends of the calendar.
    pub(super) fn begun(&self, at: Wall, zone: &Zone) -> Option<Wall> {
        wall(&self.before(&zone.zoned(at)?)?)
    }

    /// The first time that it comes in `zone` after `at`; `None` at the ends of the calendar.
    pub(super) fn begins(&self, at: Wall, zone: &Zone) -> Option<Wall> {
        wall(&self.pattern.find_next_occurrence(&zone.zoned(at)?, false).ok()?)
    }

    /// The last time that it came until `at`, that time included.
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

/// A time zone of the IANA database, as this binary carries it: the same on every machine, and in a replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(TimeZone);

/// Why a text is no time zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} is no time zone of the IANA database; write one such as UTC, Europe/Berlin or Asia/Shanghai"
)]
pub struct ZoneError {
    /// What was given.
    pub name: String,
}

impl Zone {
    /// The time zone of this name, whatever the case of its letters.
    pub fn parse(name: &str) -> Result<Self, ZoneError> {
        let zone = TimeZoneDatabase::bundled().get(name);
        zone.map(Self).map_err(|_unknown| ZoneError { name: name.to_owned() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// When clocks there show `time`: the first of two times, and later by what a change to summer time leaves out. `None` before 1970.
    pub(super) fn when(&self, time: DateTime) -> Option<Wall> {
        wall(&time.to_zoned(self.0.clone()).ok()?)
    }

    fn zoned(&self, at: Wall) -> Option<Zoned> {
        let time = Timestamp::from_millisecond(i64::try_from(at.as_millis()).ok()?).ok()?;
        Some(time.to_zoned(self.0.clone()))
    }

    /// The time that clocks there show at `at`, to the minute and with the zone: `2026-03-29 08:00 CEST`.
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
