//! `proxy`: the cost of a request and of a connection through Homeostat, nginx and HAProxy, in alternating rounds.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use procfs::process::Process;
use serde_json::{Value, json};

use super::client::ClientReport;
use super::h2load::{self, H2loadOptions};
use super::peer::{self, Choice, ClientProtocol, Kind, NGINX, Peer, Setup};
use super::wrk::{self, WrkOptions};
use super::{certificate, ensure_tools};
use crate::figure::{Findings, Target, Unit};
use crate::idle::cpu_time;
use crate::instance::{self, Instance, InstanceFolder};

/// Rounds of each; the median is reported. Many short rounds rather than few long ones: the p99 of a round depends most on what else the
/// machine did during it, and the median of five such figures varied by half from run to run.
const ROUNDS: usize = 15;
/// How long a round lasts.
const ROUND: Duration = Duration::from_secs(2);
/// The connections at a time.
const CONNECTIONS: u32 = 64;
/// The requests at a time on each connection of HTTP/2.
const STREAMS: u32 = 4;

/// How clients send requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ClientMode {
    name: &'static str,
    protocol: ClientProtocol,
    is_secure: bool,
    is_closing: bool,
}

const CLIENT_MODES: [ClientMode; 5] = [
    ClientMode::http1("kept connections", false, false),
    ClientMode::http1("a connection each", false, true),
    ClientMode::http1("TLS 1.3, kept connections", true, false),
    ClientMode::http1("TLS 1.3, a connection each", true, true),
    ClientMode {
        name: "HTTP/2 over TLS 1.3",
        protocol: ClientProtocol::Http2,
        is_secure: true,
        is_closing: false,
    },
];

impl ClientMode {
    const fn http1(name: &'static str, is_secure: bool, is_closing: bool) -> Self {
        Self { name, protocol: ClientProtocol::Http1, is_secure, is_closing }
    }
}

/// The results of one round.
#[derive(Clone, Copy, Debug)]
struct Round {
    report: ClientReport,
    /// Processor time of the proxy for each request, in seconds.
    cpu: f64,
}

/// A server under test: its address, and the processes that answer.
struct Server {
    name: &'static str,
    plain: SocketAddr,
    secure: Option<SocketAddr>,
    processes: Vec<Process>,
}

/// Sends requests to one backend directly, through Homeostat, nginx and HAProxy, alternately, in each mode of clients.
pub(crate) fn run() -> anyhow::Result<Findings> {
    ensure_tools()?;
    let mut findings = Findings::of("proxy");
    findings.describe(format!(
        "server backend (nginx, 2 workers, 1 KB body); wrk with {CONNECTIONS} connections on 2 threads, h2load for HTTP/2 with {STREAMS} requests at a time on each; {ROUNDS} rounds of {} s each, interleaved, medians; \
         nginx and HAProxy with 2 workers or threads; ours is the whole of `homeostat up`; a certificate of ECDSA on P-256, no TLS session taken up again; client, proxies and backend each in a session of its own",
        ROUND.as_secs()
    ));
    let instance_folder = InstanceFolder::new()?;
    let folder = instance_folder.path().to_path_buf();
    certificate::write(&folder)?;
    let instance = start_homeostat(instance_folder)?;
    let backend = instance.backends[0];
    let nginx = start_peer(&folder, Kind::Nginx, backend)?;
    let haproxy = start_peer(&folder, Kind::Haproxy, backend)?;
    let servers = [
        instance.server()?,
        nginx.server("nginx")?,
        haproxy.server("HAProxy")?,
        Server { name: "no proxy", plain: backend, secure: None, processes: Vec::new() },
    ];
    for mode in CLIENT_MODES {
        measure(&folder, mode, &servers, &mut findings)?;
    }
    Ok(findings)
}

/// Sends requests to each server in one mode, alternately, and notes the medians and their ratios.
fn measure(
    folder: &Path,
    mode: ClientMode,
    servers: &[Server],
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let tested = || servers.iter().filter(|server| !mode.is_secure || server.secure.is_some());
    let mut rounds: Vec<Vec<Round>> = tested().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (server, done) in tested().zip(&mut rounds) {
            done.push(run_round(folder, mode, server)?);
        }
    }
    let medians: Vec<Medians> = rounds.iter().map(|rounds| Medians::of(rounds)).collect();
    for (server, medians) in tested().zip(&medians) {
        let note = |findings: &mut Findings, what: &str, value, unit| {
            findings.note(format!("{}: {}: {what}", mode.name, server.name), value, unit);
        };
        note(findings, "requests", medians.per_second, Unit::PerSecond);
        note(findings, "p50", medians.p50, Unit::Seconds);
        note(findings, "p99", medians.p99, Unit::Seconds);
        note(findings, "failed requests, all rounds", medians.failed, Unit::Count);
        if !server.processes.is_empty() {
            note(findings, "processor time of a request", medians.cpu, Unit::Seconds);
        }
    }
    if let [ours, nginx, haproxy, ..] = medians.as_slice() {
        compare(mode, ours, nginx, haproxy, findings);
    }
    Ok(())
}

/// Compares Homeostat's figures with those of the peers.
fn compare(mode: ClientMode, ours: &Medians, nginx: &Medians, haproxy: &Medians, findings: &mut Findings) {
    let beside_nginx = ours.per_second / nginx.per_second;
    if mode.protocol == ClientProtocol::Http2 {
        // Without a target.
        for (what, ratio) in [
            ("requests a second, homeostat ÷ nginx", beside_nginx),
            ("requests a second, homeostat ÷ HAProxy", ours.per_second / haproxy.per_second),
            ("processor time, homeostat ÷ nginx", ours.cpu / nginx.cpu),
            ("processor time, homeostat ÷ HAProxy", ours.cpu / haproxy.cpu),
            ("p99, homeostat ÷ nginx", ours.p99 / nginx.p99),
        ] {
            findings.note(format!("{}: {what}", mode.name), ratio, Unit::Ratio);
        }
        return;
    }
    let mut hold = |what: &str, value, target| {
        findings.compare(format!("{}: {what}", mode.name), value, Unit::Ratio, target);
    };
    if mode.is_closing {
        hold("connections a second, homeostat ÷ nginx", beside_nginx, Target::AtLeast(0.8));
        return;
    }
    hold("requests a second, homeostat ÷ nginx", beside_nginx, Target::AtLeast(1.0));
    hold(
        "requests a second, homeostat ÷ HAProxy",
        ours.per_second / haproxy.per_second,
        Target::AtLeast(0.8),
    );
    hold("processor time, homeostat ÷ HAProxy", ours.cpu / haproxy.cpu, Target::AtMost(1.2));
    hold("p99, homeostat ÷ nginx", ours.p99 / nginx.p99, Target::AtMost(1.0));
}

/// The median of each figure over several rounds; failures are summed.
struct Medians {
    per_second: f64,
    p50: f64,
    p99: f64,
    cpu: f64,
    failed: f64,
}

impl Medians {
    fn of(rounds: &[Round]) -> Self {
        let middle = |figure: fn(&Round) -> f64| {
            let mut all: Vec<f64> = rounds.iter().map(figure).collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
        };
        Self {
            per_second: middle(|round| round.report.per_second),
            p50: middle(|round| round.report.p50),
            p99: middle(|round| round.report.p99),
            cpu: middle(|round| round.cpu),
            failed: rounds.iter().map(|round| round.report.failed as f64).sum(),
        }
    }
}

fn run_round(folder: &Path, mode: ClientMode, server: &Server) -> anyhow::Result<Round> {
    let cpu_used = || server.processes.iter().map(cpu_time).sum::<anyhow::Result<Duration>>();
    let url = match server.secure {
        Some(secure) if mode.is_secure => format!("https://{secure}/"),
        _ => format!("http://{}/", server.plain),
    };
    let before = cpu_used()?;
    let report = send(folder, mode, url).with_context(|| format!("{}, {}", server.name, mode.name))?;
    let cpu = cpu_used()?.saturating_sub(before);
    Ok(Round { report, cpu: cpu.as_secs_f64() / report.requests as f64 })
}

/// Runs the client of a mode for one round.
fn send(folder: &Path, mode: ClientMode, url: String) -> anyhow::Result<ClientReport> {
    let (connections, span) = (CONNECTIONS, ROUND);
    match mode.protocol {
        ClientProtocol::Http1 => {
            wrk::run(folder, &WrkOptions { url, connections, is_closing: mode.is_closing, span })
        }
        ClientProtocol::Http2 => {
            h2load::run(folder, &H2loadOptions { url, connections, streams: STREAMS, span })
        }
    }
}

/// A Homeostat with two equal services, one exposed without TLS and one over TLS.
struct OurProxy {
    instance: Instance,
    backends: [SocketAddr; 2],
    listens: [SocketAddr; 2],
}

impl OurProxy {
    fn server(&self) -> anyhow::Result<Server> {
        let [plain, secure] = self.listens;
        Ok(Server {
            name: "homeostat",
            plain,
            secure: Some(secure),
            processes: vec![self.instance.process()?],
        })
    }
}

fn start_homeostat(instance_folder: InstanceFolder) -> anyhow::Result<OurProxy> {
    let folder = instance_folder.path().to_path_buf();
    let backends = [instance::free_address(), instance::free_address()];
    let listens = [instance::free_address(), instance::free_address()];
    let exposes = [
        json!({"listen": listens[0], "port": "http"}),
        json!({"listen": listens[1], "port": "http", "tls": certificate::manifest(&folder)}),
    ];
    let mut manifests = Vec::new();
    for ((name, backend), expose) in ["plain", "secure"].into_iter().zip(backends).zip(exposes) {
        manifests.push(manifest(&folder, name, backend, &expose)?);
    }
    Ok(OurProxy { instance: Instance::up(instance_folder, &manifests, &[])?, backends, listens })
}

/// A peer in front of the same backend.
struct PeerProxy {
    peer: Peer,
    plain: SocketAddr,
    secure: SocketAddr,
}

impl PeerProxy {
    fn server(&self, name: &'static str) -> anyhow::Result<Server> {
        let processes = self.peer.processes()?;
        Ok(Server { name, plain: self.plain, secure: Some(self.secure), processes })
    }
}

fn start_peer(folder: &Path, kind: Kind, backend: SocketAddr) -> anyhow::Result<PeerProxy> {
    let (plain, secure) = (instance::free_address(), instance::free_address());
    let setup = Setup {
        kind,
        plain,
        protocol: ClientProtocol::Http1,
        secure: Some((secure, certificate::combined(folder))),
        backends: vec![backend],
        choice: Choice::RoundRobin,
    };
    Ok(PeerProxy { peer: Peer::start(folder, &setup)?, plain, secure })
}

/// The backend as a service, so that all proxies have the same one.
fn manifest(folder: &Path, name: &str, backend: SocketAddr, expose: &Value) -> anyhow::Result<Value> {
    let body = "x".repeat(1024);
    let conf = folder.join(format!("{name}.conf"));
    let server = format!("server {{ listen {backend} reuseport; location / {{ return 200 \"{body}\"; }} }}");
    std::fs::write(&conf, peer::nginx_conf(folder, name, &server))
        .with_context(|| format!("could not write {}", conf.display()))?;
    let command = [
        NGINX.to_owned(),
        "-p".into(),
        folder.display().to_string(),
        "-c".into(),
        conf.display().to_string(),
    ];
    Ok(json!({
        "apiVersion": "homeostat/v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "run": {"command": command, "workingDirectory": folder},
            "ports": [{"name": "http", "protocol": "http", "number": backend.port()}],
            "probes": {"readiness": {"http": {"path": "/"}, "every": "1s"}},
            "scale": {"replicas": 1},
            "expose": expose,
        },
    }))
}
