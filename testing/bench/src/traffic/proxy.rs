//! `proxy`: the cost of a request and of a connection through our proxy, through nginx and through HAProxy, in turns.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use procfs::process::Process;
use serde_json::{Value, json};

use super::peer::{self, Choice, ClientProtocol, Kind, NGINX, Peer, Setup};
use super::wrk::{self, WrkOptions};
use super::{certificate, ensure_tools};
use crate::figure::{Findings, Target, Unit};
use crate::house::{self, House, Place};
use crate::idle::cpu_time;

/// Turns of each; the median is reported.
const TURNS: usize = 5;
/// How long a turn lasts.
const TURN: Duration = Duration::from_secs(5);
/// The connections at a time.
const CONNECTIONS: u32 = 64;

/// How clients send requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ClientMode {
    name: &'static str,
    is_secure: bool,
    is_closing: bool,
}

const CLIENT_MODES: [ClientMode; 4] = [
    ClientMode { name: "kept connections", is_secure: false, is_closing: false },
    ClientMode { name: "a connection each", is_secure: false, is_closing: true },
    ClientMode { name: "TLS 1.3, kept connections", is_secure: true, is_closing: false },
    ClientMode { name: "TLS 1.3, a connection each", is_secure: true, is_closing: true },
];

/// One turn.
#[derive(Clone, Copy, Debug)]
struct Turn {
    per_second: f64,
    p50: f64,
    p99: f64,
    /// Processor time of the proxy for each request, in seconds.
    cpu: f64,
    failed: u64,
}

/// A server under test: its address, and the processes that answer.
struct Server {
    name: &'static str,
    plain: SocketAddr,
    secure: Option<SocketAddr>,
    processes: Vec<Process>,
}

/// Sends requests to one backend directly, through us, through nginx and through HAProxy, in turns, in each mode of clients.
pub(crate) fn run() -> anyhow::Result<Findings> {
    ensure_tools()?;
    let mut findings = Findings::of("proxy");
    findings.say(format!(
        "one backend (nginx, 2 workers, 1 KB body); wrk with {CONNECTIONS} connections on 2 threads; {TURNS} turns of {} s each, interleaved, medians; \
         nginx and HAProxy with 2 workers or threads; ours is the whole of `homeostat up`; a certificate of ECDSA on P-256, no session taken up again",
        TURN.as_secs()
    ));
    let place = Place::new()?;
    let folder = place.path().to_path_buf();
    certificate::write(&folder)?;
    let house = ours(place)?;
    let backend = house.backends[0];
    let nginx = peer(&folder, Kind::Nginx, backend)?;
    let haproxy = peer(&folder, Kind::Haproxy, backend)?;
    let servers = [
        house.server()?,
        nginx.server("nginx")?,
        haproxy.server("HAProxy")?,
        Server { name: "no proxy", plain: backend, secure: None, processes: Vec::new() },
    ];
    for mode in CLIENT_MODES {
        measure(&folder, mode, &servers, &mut findings)?;
    }
    Ok(findings)
}

/// Sends requests to all of them in one manner, in turns, and notes the medians and their ratios.
fn measure(
    folder: &Path,
    mode: ClientMode,
    servers: &[Server],
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let able = || servers.iter().filter(|one| !mode.is_secure || one.secure.is_some());
    let mut turns: Vec<Vec<Turn>> = able().map(|_| Vec::new()).collect();
    for _ in 0..TURNS {
        for (one, done) in able().zip(&mut turns) {
            done.push(turn(folder, mode, one)?);
        }
    }
    let medians: Vec<Medians> = turns.iter().map(|turns| Medians::of(turns)).collect();
    for (one, medians) in able().zip(&medians) {
        let note = |findings: &mut Findings, what: &str, value, unit| {
            findings.note(format!("{}: {}: {what}", mode.name, one.name), value, unit);
        };
        note(findings, "requests", medians.per_second, Unit::PerSecond);
        note(findings, "p50", medians.p50, Unit::Seconds);
        note(findings, "p99", medians.p99, Unit::Seconds);
        note(findings, "failed requests, all turns", medians.failed, Unit::Count);
        if !one.processes.is_empty() {
            note(findings, "processor time of a request", medians.cpu, Unit::Seconds);
        }
    }
    if let [ours, nginx, haproxy, ..] = medians.as_slice() {
        compare(mode, ours, nginx, haproxy, findings);
    }
    Ok(())
}

/// Compares the figures with the targets beside the peers.
fn compare(mode: ClientMode, ours: &Medians, nginx: &Medians, haproxy: &Medians, findings: &mut Findings) {
    let mut hold = |what: &str, value, target| {
        findings.hold(format!("{}: {what}", mode.name), value, Unit::Ratio, target);
    };
    let beside_nginx = ours.per_second / nginx.per_second;
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

/// The middle of several turns, each figure by itself; failures are summed.
struct Medians {
    per_second: f64,
    p50: f64,
    p99: f64,
    cpu: f64,
    failed: f64,
}

impl Medians {
    fn of(turns: &[Turn]) -> Self {
        let middle = |figure: fn(&Turn) -> f64| {
            let mut all: Vec<f64> = turns.iter().map(figure).collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
        };
        Self {
            per_second: middle(|turn| turn.per_second),
            p50: middle(|turn| turn.p50),
            p99: middle(|turn| turn.p99),
            cpu: middle(|turn| turn.cpu),
            failed: turns.iter().map(|turn| turn.failed as f64).sum(),
        }
    }
}

fn turn(folder: &Path, mode: ClientMode, one: &Server) -> anyhow::Result<Turn> {
    let spent = || one.processes.iter().map(cpu_time).sum::<anyhow::Result<Duration>>();
    let url = match one.secure {
        Some(secure) if mode.is_secure => format!("https://{secure}/"),
        _ => format!("http://{}/", one.plain),
    };
    let before = spent()?;
    let options = WrkOptions { url, connections: CONNECTIONS, is_closing: mode.is_closing, span: TURN };
    let report = wrk::run(folder, &options).with_context(|| format!("{}, {}", one.name, mode.name))?;
    let cpu = spent()?.saturating_sub(before);
    Ok(Turn {
        per_second: report.per_second(),
        p50: report.p50(),
        p99: report.p99(),
        cpu: cpu.as_secs_f64() / report.requests as f64,
        failed: report.failed,
    })
}

/// A Homeostat with two equal services, one exposed without TLS and one over TLS.
struct OurProxy {
    house: House,
    backends: [SocketAddr; 2],
    listens: [SocketAddr; 2],
}

impl OurProxy {
    fn server(&self) -> anyhow::Result<Server> {
        let [plain, secure] = self.listens;
        Ok(Server { name: "homeostat", plain, secure: Some(secure), processes: vec![self.house.process()?] })
    }
}

fn ours(place: Place) -> anyhow::Result<OurProxy> {
    let folder = place.path().to_path_buf();
    let backends = [house::free_address(), house::free_address()];
    let listens = [house::free_address(), house::free_address()];
    let exposes = [
        json!({"listen": listens[0], "port": "http"}),
        json!({"listen": listens[1], "port": "http", "tls": certificate::manifest(&folder)}),
    ];
    let mut manifests = Vec::new();
    for ((name, backend), expose) in ["plain", "secure"].into_iter().zip(backends).zip(exposes) {
        manifests.push(manifest(&folder, name, backend, &expose)?);
    }
    Ok(OurProxy { house: House::up(place, &manifests, &[])?, backends, listens })
}

/// A peer before the same backend.
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

fn peer(folder: &Path, kind: Kind, backend: SocketAddr) -> anyhow::Result<PeerProxy> {
    let (plain, secure) = (house::free_address(), house::free_address());
    let setup = Setup {
        kind,
        plain,
        protocol: ClientProtocol::Http1,
        secure: Some((secure, certificate::both(folder))),
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
