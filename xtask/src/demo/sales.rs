//! The demo with sales that repeat themselves: when replicas were started, held against when the load rose.
//!
//! Nobody knows of the first sales; the later ones are to find replicas that were started before them.

use anyhow::ensure;

use super::story::Run;
use super::watch::Point;

/// The example, and the load that goes with it.
pub(super) const EXAMPLE: &str = "examples/foresight/sales";

/// The arguments with which `homeostat load` replays the trace.
pub(super) fn load_arguments() -> Vec<String> {
    let trace = format!("{EXAMPLE}/sales.csv");
    ["--trace", &trace, "--unit", "rate", "--between", "hold"].map(str::to_owned).into()
}

/// A load so many times the least is a sale.
const RISEN: f64 = 1.5;

/// From this sale on, counted from 1, it has to be foreseen.
///
/// 7: a period shows once it was seen three times, and in the rehearsal the fourth is foreseen; three more are for a machine that is busy.
const FORESEEN_FROM: usize = 7;

/// Fewest sales that have to be foreseen, so that something was shown.
const FORESEEN_MIN: usize = 3;

/// What was seen of one sale.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sale {
    /// When the load began to rise, in seconds.
    rises: f64,
    /// When the number wanted began to grow from its lowest since the sale before; `None` when it did not.
    grows: Option<f64>,
    /// Replicas that were ready when the load began to rise.
    ready: u32,
    /// Most replicas that were wanted meanwhile.
    most: u32,
}

impl Sale {
    /// How long before the rise the number began to grow; below 0 after it.
    fn lead(&self) -> Option<f64> {
        Some(self.rises - self.grows?)
    }

    /// When the number began to grow, and how long before the load or after it that is.
    fn in_words(&self) -> (String, String) {
        match (self.grows, self.lead()) {
            (Some(grows), Some(lead)) if lead > 0.0 => {
                (format!("{grows:.1} s"), format!("{lead:.1} s before"))
            }
            (Some(grows), Some(lead)) => (format!("{grows:.1} s"), format!("{:.1} s after", -lead)),
            _ => ("-".to_owned(), "never".to_owned()),
        }
    }

    /// Whether replicas were started before it, so that half as many again were ready as when the `first` one began.
    fn is_foreseen(&self, first: &Self) -> bool {
        self.lead().is_some_and(|lead| lead > 0.0) && 2 * self.ready >= 3 * first.ready
    }
}

fn sales(run: &Run) -> Vec<Sale> {
    let begins = begins(&run.load.series);
    let ends = begins.iter().skip(1).copied().chain([f64::INFINITY]);
    let mut before = 0.0;
    let mut found = Vec::new();
    for (rises, next) in begins.iter().copied().zip(ends) {
        let middle = if next.is_finite() { f64::midpoint(rises, next) } else { rises + (rises - before) };
        let seen: Vec<(f64, u32, u32)> = run
            .samples
            .iter()
            .map(|sample| {
                (sample.at.as_secs_f64(), sample.status.desired_replicas, sample.status.ready_replicas)
            })
            .filter(|(at, ..)| (before..middle).contains(at))
            .collect();
        found.push(of(rises, &seen));
        before = middle;
    }
    found
}

/// When the load goes above the usual one.
fn begins(series: &[Point]) -> Vec<f64> {
    let rate = |point: &Point| point.sent as f64 / point.seconds.max(f64::MIN_POSITIVE);
    let mut rates: Vec<f64> = series.iter().map(rate).collect();
    rates.sort_by(f64::total_cmp);
    let usual = rates.get(rates.len() / 3).copied().unwrap_or(0.0);
    let is_risen = |point: &Point| rate(point) > usual * RISEN;
    let risen = series.iter().zip(series.iter().skip(1));
    risen.filter(|(one, next)| !is_risen(one) && is_risen(next)).map(|(_, next)| next.at_seconds).collect()
}

/// What was seen of the sale that rises then: times, replicas wanted, replicas ready, from the middle of the calm before it on.
fn of(rises: f64, seen: &[(f64, u32, u32)]) -> Sale {
    let until = seen.iter().take_while(|(at, ..)| *at <= rises);
    let (lowest, ready) =
        until.fold((u32::MAX, 0), |(low, _), (_, wanted, ready)| (low.min(*wanted), *ready));
    let since = seen.iter().rposition(|(at, wanted, _)| *at <= rises && *wanted == lowest);
    let after = since.map_or(&[][..], |since| &seen[since..]);
    let grows = after.iter().find(|(_, wanted, _)| *wanted > lowest).map(|(at, ..)| *at);
    Sale { rises, grows, ready, most: seen.iter().map(|(_, wanted, _)| *wanted).max().unwrap_or(0) }
}

/// Prints, for each sale, when replicas were started.
pub(super) fn print(run: &Run) {
    println!("sale   the load rises at   replicas grow from   which is        ready then   most wanted");
    for (nth, sale) in sales(run).iter().enumerate() {
        let (grows, which) = sale.in_words();
        let Sale { rises, ready, most, .. } = *sale;
        println!("{:>4}   {rises:>15.1} s   {grows:>18}   {which:<13}   {ready:>10}   {most:>11}", nth + 1);
    }
    println!();
}

/// Whether the later sales were foreseen; fails with the first thing that is not so.
pub(super) fn verdict(run: &Run) -> anyhow::Result<()> {
    let sales = sales(run);
    ensure!(run.load.failed == 0, "{} of {} requests failed; none may", run.load.failed, run.load.requests);
    let later = sales.get(FORESEEN_FROM - 1..).unwrap_or_default();
    ensure!(
        later.len() >= FORESEEN_MIN,
        "{} sales were seen; {} are needed to show anything",
        sales.len(),
        FORESEEN_FROM - 1 + FORESEEN_MIN
    );
    for (sale, nth) in later.iter().zip(FORESEEN_FROM..) {
        let (_, which) = sale.in_words();
        ensure!(
            sale.is_foreseen(&sales[0]),
            "sale {nth} was not foreseen: replicas grew {which}, and {} were ready when the load began to rise",
            sale.ready
        );
    }
    let leads: Vec<f64> = later.iter().filter_map(Sale::lead).collect();
    let mean = leads.iter().sum::<f64>() / leads.len() as f64;
    println!(
        "from sale {FORESEEN_FROM} on, replicas were started {mean:.1} s before the load rose, in the mean, and no request failed"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::demo::story::Sample;
    use crate::demo::watch::{LoadReport, Quantiles, ServiceStatus, Usage};

    /// Twelve sales of twelve seconds each half minute, each met so many seconds before it begins.
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
    fn a_sale_is_foreseen_when_replicas_are_there_before_it() {
        let run = run(|sale| if sale < 4 { -2 } else { 3 });
        let leads: Vec<Option<f64>> = sales(&run).iter().map(Sale::lead).collect();
        assert_eq!(leads, [[Some(-2.0); 4].as_slice(), &[Some(3.0); 8]].concat());
        assert!(verdict(&run).is_ok());
    }

    #[test]
    fn a_later_sale_that_was_not_foreseen_is_reported() {
        let leads = |sale| match sale {
            0..4 => -2,
            9 => -1,
            _ => 3,
        };
        let output = verdict(&run(leads)).expect_err("it was not foreseen");
        assert!(
            output.to_string().starts_with("sale 10 was not foreseen: replicas grew 1.0 s after"),
            "{output}"
        );
        let few = Run { samples: Vec::new(), ..run(|_| 3) };
        assert!(verdict(&few).is_err());
    }
}
