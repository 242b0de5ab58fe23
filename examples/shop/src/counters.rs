//! The metrics of the shop, in the text format of Prometheus.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The pages, each with its own counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    Front,
    Product,
    Search,
    Cart,
    Checkout,
}

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A successful response.
    Ok,
    /// An invalid request.
    Invalid,
    /// The queue is full, or the shop is not open.
    Busy,
}

const PAGES: [(Page, &str); 5] = [
    (Page::Front, "front"),
    (Page::Product, "product"),
    (Page::Search, "search"),
    (Page::Cart, "cart"),
    (Page::Checkout, "checkout"),
];
const OUTCOMES: [(Outcome, &str); 3] =
    [(Outcome::Ok, "200"), (Outcome::Invalid, "4xx"), (Outcome::Busy, "503")];

/// Upper bounds of the latency buckets, in milliseconds: from an idle shop to a full queue.
const BOUNDS_MS: [u64; 11] = [2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000];

/// The counters of this process since its start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: [[AtomicU64; OUTCOMES.len()]; PAGES.len()],
    in_flight: AtomicU64,
    /// Of successful responses: one for each bucket, and one above the last bound.
    latencies: [AtomicU64; BOUNDS_MS.len() + 1],
    latency_sum_micros: AtomicU64,
}

/// Counts a request as in flight until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight<'a> {
    counters: &'a Counters,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.counters.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counters {
    /// Counts a request as in flight.
    pub(crate) fn begin(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight { counters: self }
    }

    /// Counts the outcome of a request.
    pub(crate) fn end(&self, page: Page, outcome: Outcome, took: Duration) {
        self.requests[page as usize][outcome as usize].fetch_add(1, Ordering::Relaxed);
        if outcome == Outcome::Ok {
            let bucket = BOUNDS_MS.partition_point(|bound| Duration::from_millis(*bound) < took);
            self.latencies[bucket].fetch_add(1, Ordering::Relaxed);
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            self.latency_sum_micros.fetch_add(micros, Ordering::Relaxed);
        }
    }

    /// Returns all counts in Prometheus' text exposition format, version 0.0.4.
    pub(crate) fn exposition(&self) -> String {
        let mut text = String::new();
        self.write_to(&mut text).expect("writing to a String does not fail");
        text
    }

    fn write_to(&self, text: &mut String) -> std::fmt::Result {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        writeln!(text, "# HELP shop_requests_total Answered requests, by page and status.")?;
        writeln!(text, "# TYPE shop_requests_total counter")?;
        for ((_, page), by_outcome) in PAGES.iter().zip(&self.requests) {
            for ((_, code), requests) in OUTCOMES.iter().zip(by_outcome) {
                writeln!(text, "shop_requests_total{{page=\"{page}\",code=\"{code}\"}} {}", count(requests))?;
            }
        }
        writeln!(text, "# HELP shop_requests_in_flight Requests in progress or in the queue.")?;
        writeln!(text, "# TYPE shop_requests_in_flight gauge")?;
        writeln!(text, "shop_requests_in_flight {}", count(&self.in_flight))?;
        let ok = |page: Page| count(&self.requests[page as usize][Outcome::Ok as usize]);
        writeln!(text, "# HELP shop_carts_open Carts filled minus carts bought, in this replica.")?;
        writeln!(text, "# TYPE shop_carts_open gauge")?;
        writeln!(text, "shop_carts_open {}", ok(Page::Cart).saturating_sub(ok(Page::Checkout)))?;
        writeln!(text, "# HELP shop_request_duration_seconds Latency of successful responses.")?;
        writeln!(text, "# TYPE shop_request_duration_seconds histogram")?;
        let mut below = 0;
        for (bound_ms, latencies) in BOUNDS_MS.iter().zip(&self.latencies) {
            below += count(latencies);
            let bound = *bound_ms as f64 / 1000.0;
            writeln!(text, "shop_request_duration_seconds_bucket{{le=\"{bound}\"}} {below}")?;
        }
        below += self.latencies.last().map_or(0, count);
        writeln!(text, "shop_request_duration_seconds_bucket{{le=\"+Inf\"}} {below}")?;
        let sum = count(&self.latency_sum_micros) as f64 / 1e6;
        writeln!(text, "shop_request_duration_seconds_sum {sum}")?;
        writeln!(text, "shop_request_duration_seconds_count {below}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_and_outcome_has_its_own_counter() {
        for (place, (page, _)) in PAGES.iter().enumerate() {
            assert_eq!(*page as usize, place);
        }
        for (place, (outcome, _)) in OUTCOMES.iter().enumerate() {
            assert_eq!(*outcome as usize, place);
        }
    }

    #[test]
    fn latency_buckets_are_cumulative_and_count_only_successful_responses() {
        let counters = Counters::default();
        counters.end(Page::Front, Outcome::Ok, Duration::from_millis(5));
        counters.end(Page::Front, Outcome::Ok, Duration::from_secs(60));
        counters.end(Page::Front, Outcome::Busy, Duration::ZERO);
        let text = counters.exposition();
        for line in [
            "shop_requests_total{page=\"front\",code=\"503\"} 1",
            "shop_request_duration_seconds_bucket{le=\"0.002\"} 0",
            "shop_request_duration_seconds_bucket{le=\"0.005\"} 1",
            "shop_request_duration_seconds_bucket{le=\"5\"} 1",
            "shop_request_duration_seconds_bucket{le=\"+Inf\"} 2",
            "shop_request_duration_seconds_sum 60.005",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn a_cart_is_open_until_it_is_bought() {
        let counters = Counters::default();
        for (page, open) in [(Page::Cart, 1), (Page::Cart, 2), (Page::Checkout, 1)] {
            counters.end(page, Outcome::Ok, Duration::ZERO);
            counters.end(page, Outcome::Invalid, Duration::ZERO);
            let line = format!("shop_carts_open {open}");
            assert!(counters.exposition().lines().any(|written| written == line), "{line}");
        }
    }

    #[test]
    fn an_abandoned_request_is_no_longer_in_flight() {
        let counters = Counters::default();
        let begun = counters.begin();
        assert!(counters.exposition().contains("shop_requests_in_flight 1"));
        drop(begun);
        assert!(counters.exposition().contains("shop_requests_in_flight 0"));
    }
}
