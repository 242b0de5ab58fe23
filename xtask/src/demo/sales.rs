//! The demo with repeated sales: compares when replicas were started with when the load rose.
//!
//! The first sales are not known in advance; for the later ones replicas must be started before they begin.

use anyhow::ensure;

use super::scenario::Run;
use super::watch::Point;

/// The example, in a folder with its load.
pub(super) const EXAMPLE: &str = "examples/foresight/sales";

/// The arguments with which `homeostat load` replays the trace.
pub(super) fn load_arguments() -> Vec<String> {
    let trace = format!("{EXAMPLE}/sales.csv");
    ["--trace", &trace, "--unit", "rate", "--between", "hold"].map(str::to_owned).into()
}

/// A sale is a load above this multiple of the base load.
const SALE_FACTOR: f64 = 1.5;

/// The first sale, counted from 1, that must be anticipated.
///
/// 7: a period is detected after three repetitions, and in the rehearsal the fourth sale is anticipated; three more for a busy machine.
const ANTICIPATED_FROM: usize = 7;

/// Fewest sales that must be anticipated.
const ANTICIPATED_MIN: usize = 3;

/// The measurements of a sale.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sale {
    /// When the load began to rise, in seconds.
    rise: f64,
    /// When the desired number began to grow from its lowest since the last sale; `None` when it did not.
    growth: Option<f64>,
    /// Ready replicas when the load began to rise.
    ready: u32,
    /// Highest desired number of replicas.
    desired_max: u32,
}

impl Sale {
    /// Time from the growth of the desired number to the rise of the load, in seconds; negative if it grew after the rise.
    fn lead(&self) -> Option<f64> {
        Some(self.rise - self.growth?)
    }

    /// When the desired number began to grow, and how long before or after the rise of the load, as text.
    fn as_text(&self) -> (String, String) {
        match (self.growth, self.lead()) {
            (Some(growth), Some(lead)) if lead > 0.0 => {
                (format!("{growth:.1} s"), format!("{lead:.1} s before"))
            }
            (Some(growth), Some(lead)) => (format!("{growth:.1} s"), format!("{:.1} s after", -lead)),
            _ => ("-".to_owned(), "never".to_owned()),
        }
    }

    /// Whether replicas were started before the rise, so that at least 1.5 times as many were ready as at the rise of the `first` sale.
    fn is_anticipated(&self, first: &Self) -> bool {
        self.lead().is_some_and(|lead| lead > 0.0) && 2 * self.ready >= 3 * first.ready
    }
}

fn sales(run: &Run) -> Vec<Sale> {
    let rises = rises(&run.load.series);
    let nexts = rises.iter().skip(1).copied().chain([f64::INFINITY]);
    let mut begin = 0.0;
    let mut sales = Vec::new();
    for (rise, next) in rises.iter().copied().zip(nexts) {
        let end = if next.is_finite() { f64::midpoint(rise, next) } else { rise + (rise - begin) };
        let samples: Vec<(f64, u32, u32)> = run
            .samples
            .iter()
            .map(|sample| {
                (sample.at.as_secs_f64(), sample.status.desired_replicas, sample.status.ready_replicas)
            })
            .filter(|(at, ..)| (begin..end).contains(at))
            .collect();
        sales.push(measure(rise, &samples));
        begin = end;
    }
    sales
}

/// The times at which the load rises above [`SALE_FACTOR`] times the base load.
fn rises(series: &[Point]) -> Vec<f64> {
    let rate = |point: &Point| point.sent as f64 / point.seconds.max(f64::MIN_POSITIVE);
    let mut rates: Vec<f64> = series.iter().map(rate).collect();
    rates.sort_by(f64::total_cmp);
    let base = rates.get(rates.len() / 3).copied().unwrap_or(0.0);
    let is_sale = |point: &Point| rate(point) > base * SALE_FACTOR;
    let pairs = series.iter().zip(series.iter().skip(1));
    pairs.filter(|(point, next)| !is_sale(point) && is_sale(next)).map(|(_, next)| next.at_seconds).collect()
}

/// The measurements of the sale that rises at `rise`, from samples of time, desired and ready replicas since the middle of the pause
/// before it.
fn measure(rise: f64, samples: &[(f64, u32, u32)]) -> Sale {
    let before = samples.iter().take_while(|(at, ..)| *at <= rise);
    let (lowest, ready) =
        before.fold((u32::MAX, 0), |(lowest, _), (_, desired, ready)| (lowest.min(*desired), *ready));
    let last_lowest = samples.iter().rposition(|(at, desired, _)| *at <= rise && *desired == lowest);
    let after = last_lowest.map_or(&[][..], |index| &samples[index..]);
    let growth = after.iter().find(|(_, desired, _)| *desired > lowest).map(|(at, ..)| *at);
    let desired_max = samples.iter().map(|(_, desired, _)| *desired).max().unwrap_or(0);
    Sale { rise, growth, ready, desired_max }
}

/// Prints for each sale when replicas were started.
pub(super) fn print(run: &Run) {
    println!("sale   load rises at   replicas grow at   which is        ready then   desired max");
    for (nth, sale) in sales(run).iter().enumerate() {
        let (growth, lead) = sale.as_text();
        let Sale { rise, ready, desired_max, .. } = *sale;
        println!(
            "{:>4}   {rise:>11.1} s   {growth:>16}   {lead:<13}   {ready:>10}   {desired_max:>11}",
            nth + 1
        );
    }
    println!();
}

/// Checks that the later sales were anticipated; fails with the first that was not.
pub(super) fn verdict(run: &Run) -> anyhow::Result<()> {
    let sales = sales(run);
    ensure!(run.load.failed == 0, "{} of {} requests failed; none may", run.load.failed, run.load.requests);
    let later = sales.get(ANTICIPATED_FROM - 1..).unwrap_or_default();
    ensure!(
        later.len() >= ANTICIPATED_MIN,
        "the load had {} sales; at least {} are needed",
        sales.len(),
        ANTICIPATED_FROM - 1 + ANTICIPATED_MIN
    );
    for (sale, nth) in later.iter().zip(ANTICIPATED_FROM..) {
        let (_, lead) = sale.as_text();
        ensure!(
            sale.is_anticipated(&sales[0]),
            "sale {nth} was not anticipated: replicas grew {lead}, and {} were ready when the load began to rise",
            sale.ready
        );
    }
    let leads: Vec<f64> = later.iter().filter_map(Sale::lead).collect();
    let mean = leads.iter().sum::<f64>() / leads.len() as f64;
    println!(
        "from sale {ANTICIPATED_FROM} on, replicas were started {mean:.1} s before the load rose on average, and no request failed"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::demo::scenario::Sample;
    use crate::demo::watch::{LoadReport, Quantiles, ServiceStatus, Usage};

    /// Twelve sales of twelve seconds, one each half minute; `lead` is the time in seconds by which replicas are started before it.
    fn run(lead: impl Fn(u64) -> i64) -> Run {
        let is_sale = |second: u64| second % 30 >= 18;
        let point = |second: u64| Point {
            at_seconds: second as f64,
            seconds: 1.0,
            sent: if is_sale(second) { 100 } else { 20 },
        };
        let status = |replicas| ServiceStatus {
            desired_replicas: replicas,
            replicas,
            ready_replicas: replicas,
            usage: Usage::default(),
        };
        let sample = |second: u64| {
            let is_met = second as i64 % 30 >= 18 - lead(second / 30);
            Sample { at: Duration::from_secs(second), status: status(if is_met { 8 } else { 2 }) }
        };
        Run {
            at_start: status(2),
            samples: (0..360).map(sample).collect(),
            decisions: Vec::new(),
            killed: None,
            load: LoadReport {
                requests: 100,
                failed: 0,
                skipped: 0,
                duration_seconds: 360.0,
                achieved_rate: 50.0,
                latency_seconds: Quantiles { p50: None, p99: None },
                series: (0..360).map(point).collect(),
            },
        }
    }

    #[test]
    fn a_sale_is_anticipated_when_replicas_are_there_before_it() {
        let run = run(|sale| if sale < 4 { -2 } else { 3 });
        let leads: Vec<Option<f64>> = sales(&run).iter().map(Sale::lead).collect();
        assert_eq!(leads, [[Some(-2.0); 4].as_slice(), &[Some(3.0); 8]].concat());
        assert!(verdict(&run).is_ok());
    }

    #[test]
    fn a_later_sale_that_was_not_anticipated_is_reported() {
        let leads = |sale| match sale {
            0..4 => -2,
            9 => -1,
            _ => 3,
        };
        let output = verdict(&run(leads)).expect_err("it was not anticipated");
        assert!(
            output.to_string().starts_with("sale 10 was not anticipated: replicas grew 1.0 s after"),
            "{output}"
        );
        let few = Run { samples: Vec::new(), ..run(|_| 3) };
        assert!(verdict(&few).is_err());
    }
}
