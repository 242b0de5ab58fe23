//! The shape of the load: a constant rate, steps, a flash sale, or a recorded trace.

use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use load::profile::{FlashSale, Profile, Step};
use load::rate::{Factor, Rate};
use load::replay::{Reading, Replay, Scale, Shape};
use load::trace::Trace;
use model::resource::Span;

use crate::failure::Failure;

/// The shape of the load.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "The load")]
pub(super) struct ShapeArguments {
    /// The shape of the load; by default, the one that the other options belong to
    #[arg(long, value_enum, conflicts_with = "trace")]
    profile: Option<Kind>,
    /// Requests a second
    #[arg(long, value_name = "RATE", requires = "duration")]
    rate: Option<Rate>,
    /// How long the load lasts, such as 30s
    #[arg(long, value_name = "DURATION", requires = "rate")]
    duration: Option<Span>,
    /// A step, such as 50:30s; may be given several times
    #[arg(long, value_name = "RATE:DURATION", value_parser = step, conflicts_with_all = ["rate", "duration"])]
    step: Vec<Step>,
    #[command(flatten)]
    sale: SaleArguments,
    #[command(flatten)]
    trace: TraceArguments,
}

/// The named shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// One rate: --rate and --duration
    Constant,
    /// Steps: --step several times
    Steps,
    /// A low rate, a steep rise, a plateau, a fall, and the low rate again
    FlashSale,
}

/// The options of the other shapes: next to one of them, those of a flash sale would have no effect.
const OTHER_SHAPES: [&str; 4] = ["rate", "duration", "step", "trace"];

/// A flash sale.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "A flash sale")]
struct SaleArguments {
    /// Requests a second before and after
    #[arg(long, value_name = "RATE", default_value = "20", conflicts_with_all = OTHER_SHAPES)]
    base: Rate,
    /// Requests a second at the peak
    #[arg(long, value_name = "RATE", default_value = "250", conflicts_with_all = OTHER_SHAPES)]
    peak: Rate,
    /// How long the rate is low before the rise
    #[arg(long, value_name = "DURATION", default_value = "10s", conflicts_with_all = OTHER_SHAPES)]
    lead: Span,
    /// How long the rise takes
    #[arg(long, value_name = "DURATION", default_value = "10s", conflicts_with_all = OTHER_SHAPES)]
    rise: Span,
    /// How long the peak lasts
    #[arg(long, value_name = "DURATION", default_value = "40s", conflicts_with_all = OTHER_SHAPES)]
    hold: Span,
    /// How long the fall takes
    #[arg(long, value_name = "DURATION", default_value = "5s", conflicts_with_all = OTHER_SHAPES)]
    fall: Span,
    /// How long the rate is low after the fall
    #[arg(long, value_name = "DURATION", default_value = "15s", conflicts_with_all = OTHER_SHAPES)]
    tail: Span,
}

/// A recorded load.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "A recorded load")]
struct TraceArguments {
    /// Replay a trace: CSV with one `timestamp,value` per line
    #[arg(long, value_name = "CSV", conflicts_with_all = ["rate", "duration", "step"])]
    trace: Option<PathBuf>,
    /// Only rows A to B, counted from 0, without B
    #[arg(long, value_name = "A..B", value_parser = rows, requires = "trace", conflicts_with_all = ["skip", "take"])]
    rows: Option<Range<usize>>,
    /// How much recorded time to skip at the beginning
    #[arg(long, value_name = "DURATION", requires = "trace")]
    skip: Option<Span>,
    /// The maximum of recorded time to replay
    #[arg(long, value_name = "DURATION", requires = "trace")]
    take: Option<Span>,
    /// How many times faster than recorded to replay; the rate stays the same
    #[arg(long, value_name = "FACTOR", requires = "trace")]
    speed: Option<Factor>,
    /// The factor to multiply the rate by
    #[arg(long, value_name = "FACTOR", requires = "trace", conflicts_with = "peak_at")]
    scale: Option<Factor>,
    /// Scale so that the highest rate is this
    #[arg(long, value_name = "RATE", requires = "trace")]
    peak_at: Option<Rate>,
    /// The unit of the values; by default, count
    #[arg(long, value_enum, requires = "trace")]
    unit: Option<Unit>,
    /// The time that each value covers; by default, the interval of the rows
    #[arg(long, value_name = "DURATION", requires = "trace")]
    interval: Option<Span>,
    /// The rate between two rows; by default, line
    #[arg(long, value_enum, requires = "trace")]
    between: Option<Between>,
}

/// The unit of the values of a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Unit {
    /// Requests between two rows
    #[default]
    Count,
    /// Requests a second
    Rate,
}

/// The rate between two rows of a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Between {
    /// From the rate of one row to that of the next in a straight line: no jumps, but an interval has as many requests as the mean of both
    /// rates gives, not exactly its own count
    #[default]
    Line,
    /// The rate of the first row, with a jump at the next: each interval has exactly its recorded count
    Hold,
}

fn step(text: &str) -> Result<Step, String> {
    let (rate, hold) = text.split_once(':').ok_or("write a step as RATE:DURATION, such as 50:30s")?;
    let rate = Rate::from_str(rate).map_err(|error| error.to_string())?;
    let hold = Span::parse(hold).map_err(|error| error.to_string())?.as_duration();
    Ok(Step { rate, hold })
}

fn rows(text: &str) -> Result<Range<usize>, String> {
    let wrong = || "write rows as A..B, such as 100..400".to_owned();
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let number = |text: &str| text.trim().parse::<usize>().map_err(|_| wrong());
    let range = number(from)?..number(to)?;
    if range.is_empty() {
        Err("the range of rows is empty: the second number must be larger than the first".to_owned())
    } else {
        Ok(range)
    }
}

impl ShapeArguments {
    /// The profile that the arguments ask for.
    pub(super) fn profile(&self) -> Result<Profile, Failure> {
        match &self.trace.trace {
            Some(path) => return self.trace.profile(path),
            None if self.trace.has_options() => {
                return Err(Failure::usage(
                    "the options for the replay of a trace need a trace: give --trace CSV",
                ));
            }
            None => {}
        }
        let profile = match (self.profile, self.rate.zip(self.duration), self.step.as_slice()) {
            (None | Some(Kind::Constant), Some((rate, duration)), []) => {
                Profile::constant(rate, duration.as_duration())
            }
            (None | Some(Kind::Steps), None, steps @ [_, ..]) => Profile::steps(steps),
            (Some(Kind::FlashSale), None, []) => Profile::flash_sale(&self.sale.shape()),
            (None, None, []) => {
                return Err(Failure::usage(
                    "the load is missing: give --rate and --duration, --step, --profile flash-sale, or --trace",
                ));
            }
            (Some(Kind::Constant), _, _) => {
                return Err(Failure::usage("a constant load takes only --rate and --duration"));
            }
            (Some(Kind::Steps), _, _) => {
                return Err(Failure::usage("a load in steps takes only --step, at least once"));
            }
            (Some(Kind::FlashSale), _, _) => {
                return Err(Failure::usage(
                    "a flash sale takes neither --rate nor --step; give --base and --peak",
                ));
            }
            (None, Some(_), [_, ..]) => return Err(Failure::usage("give either --rate or --step")),
        };
        profile.map_err(Failure::usage)
    }
}

impl SaleArguments {
    fn shape(&self) -> FlashSale {
        FlashSale {
            base: self.base,
            peak: self.peak,
            lead: self.lead.as_duration(),
            rise: self.rise.as_duration(),
            hold: self.hold.as_duration(),
            fall: self.fall.as_duration(),
            tail: self.tail.as_duration(),
        }
    }
}

impl TraceArguments {
    /// Whether an option for the replay is given. clap does not require the trace when another option conflicts with it.
    fn has_options(&self) -> bool {
        let times = [self.skip, self.take, self.interval].iter().any(Option::is_some);
        let factors = self.speed.is_some() || self.scale.is_some() || self.peak_at.is_some();
        times || factors || self.rows.is_some() || self.unit.is_some() || self.between.is_some()
    }

    fn profile(&self, path: &std::path::Path) -> Result<Profile, Failure> {
        let whole = Trace::open(path).context("could not replay the trace (HS0016)")?;
        let (skip, take) = match &self.rows {
            Some(rows) => times_of(rows, &whole),
            None => (
                self.skip.map_or(Duration::ZERO, Span::as_duration),
                self.take.map_or(Duration::MAX, Span::as_duration),
            ),
        };
        let trace = whole.part(skip, take).ok_or_else(|| {
            let len = whole.rows().len();
            Failure::usage(format!(
                "the trace {} has {len} rows, and none of them is selected",
                path.display()
            ))
        })?;
        let reading = match self.unit.unwrap_or_default() {
            Unit::Count => Reading::Count,
            Unit::Rate => Reading::Rate,
        };
        let shape = match self.between.unwrap_or_default() {
            Between::Line => Shape::Linear,
            Between::Hold => Shape::Hold,
        };
        let scale = match (self.scale, self.peak_at) {
            (_, Some(peak)) => Scale::PeakAt(peak),
            (scale, None) => Scale::By(scale.unwrap_or(Factor::ONE)),
        };
        let interval = self.interval.map(Span::as_duration);
        let replay = Replay { reading, interval, shape, speed: self.speed.unwrap_or(Factor::ONE), scale };
        replay.profile_of(&trace).map_err(Failure::usage)
    }
}

/// The time from the start of a trace to the first of `rows`, and from there to the first row behind them.
fn times_of(rows: &Range<usize>, trace: &Trace) -> (Duration, Duration) {
    let all = trace.rows();
    let since_begin = |row: usize| {
        let found = all.get(row).zip(all.first());
        found.map_or(Duration::MAX, |(row, first)| {
            Duration::try_from(row.at.duration_since(first.at)).unwrap_or_default()
        })
    };
    let (from, to) = (since_begin(rows.start), since_begin(rows.end));
    (from, to.saturating_sub(from))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use clap::error::ErrorKind;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        shape: ShapeArguments,
    }

    fn parsed(options: &str) -> Result<ShapeArguments, ErrorKind> {
        let line = Line::try_parse_from(["load"].into_iter().chain(options.split_whitespace()));
        line.map(|line| line.shape).map_err(|error| error.kind())
    }

    #[test]
    fn an_option_of_another_shape_is_refused_not_ignored() {
        for shape in ["--trace t.csv", "--step 5:1s", "--rate 5 --duration 1s"] {
            assert!(parsed(shape).is_ok(), "{shape}");
            for other in
                ["--base 1", "--peak 9", "--lead 1s", "--rise 1s", "--hold 1s", "--fall 1s", "--tail 1s"]
            {
                assert_eq!(
                    parsed(&format!("{shape} {other}")).unwrap_err(),
                    ErrorKind::ArgumentConflict,
                    "{shape} {other}"
                );
            }
        }
        for both in ["--trace t.csv --duration 1s", "--trace t.csv --rate 5", "--step 5:1s --duration 1s"] {
            assert_eq!(parsed(both).unwrap_err(), ErrorKind::ArgumentConflict, "{both}");
        }
        assert!(parsed("--profile flash-sale --peak 9 --hold 1s").is_ok());
    }
}
