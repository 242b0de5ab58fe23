//! Figures: a measured value with its unit and target.

use std::fmt;

use serde::Serialize;

/// The results of one bench.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Findings {
    /// The bench.
    pub(crate) bench: &'static str,
    /// The command that repeats it.
    pub(crate) repeat: String,
    /// The conditions of the measurement, in sentences.
    pub(crate) setting: Vec<String>,
    /// The details behind the figures, in rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) sheets: Vec<Sheet>,
    /// What was measured; empty when the bench could not be run.
    pub(crate) figures: Vec<Figure>,
    /// Why it was not run, or not to the end.
    pub(crate) skipped: Option<String>,
}

/// A table of texts.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sheet {
    /// The names of the columns.
    pub(crate) header: Vec<String>,
    /// The rows, each with as many cells as the header.
    pub(crate) rows: Vec<Vec<String>>,
}

/// One number.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) name: String,
    /// The value.
    pub(crate) value: f64,
    /// The unit of the value.
    pub(crate) unit: Unit,
    /// The target; `None` when the figure is only for comparison.
    pub(crate) target: Option<Target>,
    /// Whether the target is met; `None` without a target.
    pub(crate) met: Option<bool>,
}

/// The target of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Target {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
}

/// Units of figures. Each is printed with the most readable prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Unit {
    /// Time.
    Seconds,
    /// Memory or disk.
    Bytes,
    /// Steps, requests, kills.
    Count,
    /// Steps or requests per second.
    PerSecond,
    /// Per cent of one core.
    PercentOfCore,
    /// The ratio of one program's figure to another's.
    Ratio,
    /// A plain number, in the unit given in the name of the figure.
    Plain,
}

impl Findings {
    /// The findings of a bench before it has measured anything.
    pub(crate) fn of(bench: &'static str) -> Self {
        let repeat = format!("cargo xtask bench {bench}");
        Self { bench, repeat, setting: Vec::new(), sheets: Vec::new(), figures: Vec::new(), skipped: None }
    }

    /// The findings of a bench that failed with `error`.
    pub(crate) fn skipped(bench: &'static str, error: &anyhow::Error) -> Self {
        Self { skipped: Some(format!("{error:#}")), ..Self::of(bench) }
    }

    /// Adds a sentence about the conditions of the measurement.
    pub(crate) fn describe(&mut self, sentence: impl Into<String>) {
        self.setting.push(sentence.into());
    }

    /// Adds a figure without a target.
    pub(crate) fn note(&mut self, name: impl Into<String>, value: f64, unit: Unit) {
        self.figures.push(Figure { name: name.into(), value, unit, target: None, met: None });
    }

    /// Adds a figure with a target.
    pub(crate) fn compare(&mut self, name: impl Into<String>, value: f64, unit: Unit, target: Target) {
        let met = Some(target.is_met_by(value));
        self.figures.push(Figure { name: name.into(), value, unit, target: Some(target), met });
    }

    /// How many figures miss their targets.
    pub(crate) fn misses(&self) -> usize {
        self.figures.iter().filter(|figure| figure.met == Some(false)).count()
    }
}

impl Target {
    fn is_met_by(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }

    /// The target as people read it, such as `≤ 10 ms`.
    pub(crate) fn readable(self, unit: Unit) -> String {
        match self {
            Self::AtMost(most) => format!("≤ {}", unit.of(most)),
            Self::AtLeast(least) => format!("≥ {}", unit.of(least)),
        }
    }
}

impl Unit {
    /// `value` as people read it.
    pub(crate) fn of(self, value: f64) -> String {
        match self {
            Self::Seconds if value >= 1.0 => format!("{} s", significant(value)),
            Self::Seconds if value >= 1e-3 => format!("{} ms", significant(value * 1e3)),
            Self::Seconds => format!("{} µs", significant(value * 1e6)),
            Self::Bytes if value >= 1e6 => format!("{} MB", significant(value / 1e6)),
            Self::Bytes if value >= 1e4 => format!("{} kB", significant(value / 1e3)),
            Self::Bytes => format!("{value:.0} B"),
            Self::Count => format!("{value:.0}"),
            Self::PerSecond => format!("{}/s", Grouped(value)),
            Self::PercentOfCore => format!("{} % of a core", significant(value)),
            Self::Ratio => format!("{value:.2} ×"),
            Self::Plain => format!("{value:.3}"),
        }
    }
}

/// At least three significant digits, and no more decimals than they need.
fn significant(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// A whole number with a comma between thousands.
struct Grouped(f64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:.0}", self.0);
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_printed_with_the_most_readable_prefix() {
        assert_eq!(Unit::Seconds.of(0.0123), "12.3 ms");
        assert_eq!(Unit::Seconds.of(4.2e-7), "0.42 µs");
        assert_eq!(Unit::Bytes.of(40e6), "40.0 MB");
        assert_eq!(Unit::PerSecond.of(1_234_567.0), "1,234,567/s");
        assert_eq!(Target::AtMost(0.25).readable(Unit::Seconds), "≤ 250 ms");
    }

    #[test]
    fn a_figure_at_its_target_meets_it() {
        let mut findings = Findings::of("core-step");
        findings.compare("at", 1.0, Unit::Seconds, Target::AtMost(1.0));
        findings.compare("below", 0.9, Unit::Seconds, Target::AtLeast(1.0));
        findings.note("without a target", 5.0, Unit::Count);
        assert_eq!(findings.misses(), 1);
    }
}
