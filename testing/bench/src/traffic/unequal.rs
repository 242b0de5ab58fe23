//! `unequal`: the latency for clients when one of four backends has a quarter of the others' speed.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;

use super::backend::Backend;
use super::peer::{Choice, ClientProtocol, Kind, Peer, Setup};
use super::{REPLICAS, ensure_tools, service};
use crate::figure::{Findings, Target, Unit};
use crate::instance::{self, Instance, InstanceFolder};
use crate::loading::LoadRun;

/// How long a backend works on a request; it works on one at a time.
const WORK: &str = "4";
/// The same of the slow one.
const SLOW_WORK: &str = "16";

/// Requests a second: 30 and 60 % of the capacity of the four backends together, which is 3 × 250 + 62.5.
///
/// At the first rate an equal share is just below the capacity of the slow one; at the second it is twice that share.
const LOADS: [f64; 2] = [240.0, 480.0];
/// How long requests are sent at each rate.
const SPAN: Duration = Duration::from_secs(20);

const BESIDE_ROUND_ROBIN: Target = Target::AtMost(0.5);

/// A proxy and its balancing policy.
#[derive(Clone, Copy, Debug)]
enum ProxyPolicy {
    Ours(&'static str),
    Peer(Kind, Choice),
}

const POLICIES: [(&str, ProxyPolicy); 6] = [
    ("homeostat, roundRobin", ProxyPolicy::Ours("roundRobin")),
    ("homeostat, leastLoaded", ProxyPolicy::Ours("leastLoaded")),
    ("nginx, round robin", ProxyPolicy::Peer(Kind::Nginx, Choice::RoundRobin)),
    ("nginx, least_conn", ProxyPolicy::Peer(Kind::Nginx, Choice::LeastConnections)),
    ("HAProxy, roundrobin", ProxyPolicy::Peer(Kind::Haproxy, Choice::RoundRobin)),
    ("HAProxy, leastconn", ProxyPolicy::Peer(Kind::Haproxy, Choice::LeastConnections)),
];

/// The latency of one policy under one load.
struct Latency {
    p50: f64,
    p99: f64,
    failed: u64,
}

/// Sends requests through every proxy with each of its policies, at the same constant rates.
pub(crate) fn run() -> anyhow::Result<Findings> {
    ensure_tools()?;
    let mut findings = Findings::of("unequal");
    findings.describe(format!(
        "{REPLICAS} backends that work on one request at a time, three for {WORK} ms and one for {SLOW_WORK} ms; open-loop load of {} and {} requests a second, \
         which is 30 and 60 % of what they can do, {} s each; latency from when a request was due",
        LOADS[0],
        LOADS[1],
        SPAN.as_secs()
    ));
    let results = POLICIES.iter().map(|(_, policy)| measure(*policy)).collect::<anyhow::Result<Vec<_>>>()?;
    for (number, load) in LOADS.iter().enumerate() {
        for ((name, _), results) in POLICIES.iter().zip(&results) {
            let Latency { p50, p99, failed } = results[number];
            findings.note(format!("{load}/s: {name}: p50"), p50, Unit::Seconds);
            findings.note(format!("{load}/s: {name}: p99"), p99, Unit::Seconds);
            if failed > 0 {
                findings.note(format!("{load}/s: {name}: failed"), failed as f64, Unit::Count);
            }
        }
        let ratio = results[1][number].p99 / results[0][number].p99;
        findings.compare(
            format!("{load}/s: p99, leastLoaded ÷ roundRobin"),
            ratio,
            Unit::Ratio,
            BESIDE_ROUND_ROBIN,
        );
    }
    Ok(findings)
}

fn measure(policy: ProxyPolicy) -> anyhow::Result<[Latency; 2]> {
    let folder = InstanceFolder::new()?;
    let listen = instance::free_address();
    match policy {
        ProxyPolicy::Ours(balance) => {
            // The first replica to create this file is the slow one.
            let first = folder.path().join("slow").display().to_string();
            let arguments = ["--work-ms", WORK, "--slow-work-ms", SLOW_WORK, "--slow-if-first", &first];
            let expose = json!({"listen": listen, "port": "http", "balance": balance});
            let declared = service(folder.path(), &arguments, &expose)?;
            let _instance = Instance::up(folder, &[declared], &[])?;
            measure_rates(listen)
        }
        ProxyPolicy::Peer(kind, choice) => {
            let work = (0..REPLICAS).map(|number| if number == 0 { SLOW_WORK } else { WORK });
            let backends =
                work.map(|work| Backend::start(&["--work-ms", work])).collect::<anyhow::Result<Vec<_>>>()?;
            let addresses = backends.iter().map(Backend::address).collect();
            let setup = Setup {
                kind,
                plain: listen,
                protocol: ClientProtocol::Http1,
                secure: None,
                backends: addresses,
                choice,
            };
            let _peer = Peer::start(folder.path(), &setup)?;
            measure_rates(listen)
        }
    }
}

/// Sends requests at each rate in turn.
fn measure_rates(address: SocketAddr) -> anyhow::Result<[Latency; 2]> {
    let [low, high] = LOADS.map(|load| {
        let report = LoadRun::begin(address, load, SPAN)?.finish()?;
        let latency = report.latency_seconds.context("no request was answered")?;
        anyhow::Ok(Latency { p50: latency.p50, p99: latency.p99, failed: report.failed + report.skipped })
    });
    Ok([low?, high?])
}
