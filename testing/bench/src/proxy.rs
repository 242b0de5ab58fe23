//! `proxy`: what a request costs through our proxy, and through nginx, in turns.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use procfs::process::Process;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::json;

use crate::figure::{Findings, Unit};
use crate::house::{self, House, Place};
use crate::idle::cpu_time;

/// Turns of each; the median is told.
const TURNS: usize = 5;
/// How long a turn lasts.
const TURN: &str = "6s";
/// How long nginx may take to listen, and to end.
const NGINX_WAIT_MAX: Duration = Duration::from_secs(10);

/// The peer and the client, where Debian has them. A bench that lacks them is not run: no test needs them.
const NGINX: &str = "/usr/sbin/nginx";
const WRK: &str = "/usr/bin/wrk";
const APT_GET: &str = "/usr/bin/apt-get";

/// What is asked.
#[derive(Clone, Copy)]
enum Way {
    Direct,
    Ours,
    Nginx,
}

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

/// What wrk says at its end.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrkReport {
    requests: u64,
    duration_micros: f64,
    p50_micros: f64,
    p99_micros: f64,
    failed: u64,
}

/// Makes wrk end with its report as a line of JSON.
const WRK_SCRIPT: &str = r#"
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{"requests":%d,"durationMicros":%d,"p50Micros":%d,"p99Micros":%d,"failed":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"#;

/// Asks one backend directly, through us and through nginx, by turns.
pub(crate) fn run() -> anyhow::Result<Findings> {
    ensure_tools()?;
    let mut findings = Findings::of("proxy");
    findings.say(format!(
        "one backend (nginx, 2 workers, 1 KB body); wrk with 64 keep-alive connections on 2 threads; {TURNS} turns of {TURN} each, \
         interleaved, medians; nginx as a proxy with 2 workers and `keepalive 64`; ours is the whole of `homeostat up`"
    ));
    let place = Place::new()?;
    let folder = place.path().to_path_buf();
    let [backend, ours, nginx] = [house::free_address()?, house::free_address()?, house::free_address()?];
    let body = "x".repeat(1024);
    write_conf(&folder, "backend.conf", "", &server(backend, &format!("return 200 \"{body}\";")))?;
    let upstream = format!("upstream backend {{ server {backend}; keepalive 64; }}");
    let pass = "proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection \"\";";
    write_conf(&folder, "proxy.conf", &upstream, &server(nginx, pass))?;
    std::fs::write(folder.join("report.lua"), WRK_SCRIPT).context("could not write the script of wrk")?;
    let house = House::up(place, &[manifest(&folder, backend, ours)], &[])?;
    let peer = Nginx::start(&folder, nginx)?;
    let mut turns = [(Way::Direct, Vec::new()), (Way::Ours, Vec::new()), (Way::Nginx, Vec::new())];
    for _ in 0..TURNS {
        for (way, done) in &mut turns {
            let (address, processes) = match way {
                Way::Direct => (backend, Vec::new()),
                Way::Ours => (ours, vec![house.process()?]),
                Way::Nginx => (nginx, peer.processes()?),
            };
            done.push(turn(&folder, address, &processes)?);
        }
    }
    let [direct, ours, nginx] = turns.map(|(_, done)| Medians::of(&done));
    for (name, medians) in [("homeostat", &ours), ("nginx", &nginx), ("no proxy", &direct)] {
        findings.note(format!("{name}: requests"), medians.per_second, Unit::PerSecond);
        findings.note(format!("{name}: p50"), medians.p50, Unit::Seconds);
        findings.note(format!("{name}: p99"), medians.p99, Unit::Seconds);
        findings.note(format!("{name}: failed requests, all turns"), medians.failed, Unit::Count);
    }
    findings.note("homeostat: processor time of a request", ours.cpu, Unit::Seconds);
    findings.note("nginx: processor time of a request", nginx.cpu, Unit::Seconds);
    findings.note("requests a second, homeostat ÷ nginx", ours.per_second / nginx.per_second, Unit::Ratio);
    findings.note("processor time, homeostat ÷ nginx", ours.cpu / nginx.cpu, Unit::Ratio);
    findings.note("p99, homeostat ÷ nginx", ours.p99 / nginx.p99, Unit::Ratio);
    Ok(findings)
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

fn turn(folder: &Path, address: SocketAddr, proxy: &[Process]) -> anyhow::Result<Turn> {
    let spent = || proxy.iter().map(cpu_time).sum::<anyhow::Result<Duration>>();
    let before = spent()?;
    let mut call = Command::new(WRK);
    call.args(["-t2", "-c64", "-d", TURN, "-s"])
        .arg(folder.join("report.lua"))
        .arg(format!("http://{address}/"));
    let output = call.stdin(Stdio::null()).output().context("could not start wrk")?;
    let cpu = spent()?.saturating_sub(before);
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().rev().find(|line| line.starts_with('{'));
    let line = line.with_context(|| format!("wrk printed no report; it said: {}", text.trim()))?;
    let report: WrkReport =
        serde_json::from_str(line).context("wrk printed another report than asked for")?;
    ensure!(report.requests > 0, "nothing at {address} answered wrk");
    Ok(Turn {
        per_second: report.requests as f64 / (report.duration_micros / 1e6),
        p50: report.p50_micros / 1e6,
        p99: report.p99_micros / 1e6,
        cpu: cpu.as_secs_f64() / report.requests as f64,
        failed: report.failed,
    })
}

/// A running nginx. Stops it when dropped.
struct Nginx(Child);

impl Nginx {
    fn start(folder: &Path, listens: SocketAddr) -> anyhow::Result<Self> {
        let mut call = Command::new(NGINX);
        call.arg("-p").arg(folder).arg("-c").arg(folder.join("proxy.conf"));
        call.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let nginx = Self(call.spawn().context("could not start nginx")?);
        let begun = os::since_boot();
        while std::net::TcpStream::connect(listens).is_err() {
            ensure!(
                os::since_boot().saturating_sub(begun) < NGINX_WAIT_MAX,
                "nginx did not listen on {listens}"
            );
            house::pause();
        }
        Ok(nginx)
    }

    /// The master and its workers.
    fn processes(&self) -> anyhow::Result<Vec<Process>> {
        let master = i32::try_from(self.0.id()).context("a process number does not fit")?;
        let all = procfs::process::all_processes().context("could not list the processes")?;
        let is_of_it =
            |process: &Process| process.pid == master || process.stat().is_ok_and(|stat| stat.ppid == master);
        Ok(all.flatten().filter(is_of_it).collect())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master ends its workers when it is asked to; killed, it would leave them.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let begun = os::since_boot();
        while let Ok(None) = self.0.try_wait()
            && os::since_boot().saturating_sub(begun) < NGINX_WAIT_MAX
        {
            house::pause();
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Both programs are there, or are installed where we may.
fn ensure_tools() -> anyhow::Result<()> {
    let is_there = || [NGINX, WRK].iter().all(|program| Path::new(program).is_file());
    if !is_there() && rustix::process::getuid().is_root() {
        eprintln!("installing nginx and wrk from the distribution");
        let mut call = Command::new(APT_GET);
        call.args(["install", "-y", "--no-install-recommends", "nginx-light", "wrk"]);
        // At this runlevel Debian installs a server without starting it.
        call.env("RUNLEVEL", "1").env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        call.stdout(Stdio::null()).status().context("could not start apt-get")?;
    }
    ensure!(
        is_there(),
        "nginx and wrk are needed and not there; install them: apt-get install nginx-light wrk"
    );
    Ok(())
}

fn write_conf(folder: &Path, name: &str, upstream: &str, server: &str) -> anyhow::Result<()> {
    // Root may not lend its temporary folder to the user that nginx would take otherwise.
    let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
    let folder_name = folder.display();
    let conf = format!(
        "{user} worker_processes 2; daemon off; pid {folder_name}/{name}.pid; error_log /dev/null;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; keepalive_requests 100000000;\n\
         client_body_temp_path {folder_name}/{name}.body; proxy_temp_path {folder_name}/{name}.proxy;\n\
         fastcgi_temp_path {folder_name}/{name}.fastcgi; uwsgi_temp_path {folder_name}/{name}.uwsgi;\n\
         scgi_temp_path {folder_name}/{name}.scgi;\n{upstream}\n{server} }}\n"
    );
    std::fs::write(folder.join(name), conf).with_context(|| format!("could not write {name} for nginx"))
}

fn server(listen: SocketAddr, location: &str) -> String {
    format!("server {{ listen {listen} reuseport; location / {{ {location} }} }}")
}

/// The backend as a service, so that both proxies have the same one.
fn manifest(folder: &Path, backend: SocketAddr, listen: SocketAddr) -> serde_json::Value {
    let command = [
        NGINX.to_owned(),
        "-p".into(),
        folder.display().to_string(),
        "-c".into(),
        folder.join("backend.conf").display().to_string(),
    ];
    json!({
        "apiVersion": "homeostat/v1",
        "kind": "Service",
        "metadata": {"name": "backend"},
        "spec": {
            "run": {"command": command, "workingDirectory": folder},
            "ports": [{"name": "http", "protocol": "http", "number": backend.port()}],
            "probes": {"readiness": {"http": {"path": "/"}, "every": "1s"}},
            "scale": {"replicas": 1},
            "expose": {"listen": listen, "port": "http"},
        },
    })
}
