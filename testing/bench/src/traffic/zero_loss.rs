//! `zero-loss`: failed requests while replicas are killed, added and removed, and while Homeostat's configuration or process is replaced.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::backend::Backend;
use super::peer::{Choice, ClientProtocol, Kind, Peer, Setup};
use super::wrk::{self, WrkOptions};
use super::{REPLICAS, SERVICE, certificate, ensure_tools, service};
use crate::figure::{Findings, Target, Unit};
use crate::instance::{self, Instance, InstanceFolder, ReplicaStatus};

/// Requests of each case.
const REQUESTS: u64 = 1_000_000;
/// The connections at a time.
const CONNECTIONS: u32 = 64;
/// The duration of one run of wrk, which is repeated until there were enough requests.
const ROUND: Duration = Duration::from_secs(20);
/// How long a case may take on a slow machine.
const CASE_MAX: Duration = Duration::from_mins(8);
/// How long everything may take to settle after an event.
const SETTLED_WAIT_MAX: Duration = Duration::from_secs(30);
/// The maximum number of kills: a replica that ends five times in a row is not restarted for ten minutes.
const KILLS_MAX: u64 = 4 * REPLICAS as u64;
/// How long a killed replica may take until its successor is ready: after repeated kills a restart waits for up to a minute.
const SUCCESSOR_WAIT_MAX: Duration = Duration::from_secs(90);

const NONE: Target = Target::AtMost(0.0);

/// Lifts the limit on restarts per minute, which a bench would exceed.
const RESTARTS_UNLIMITED: [&str; 2] = ["--restarts-per-minute", "100000"];

/// What happens repeatedly while clients send requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Kill,
    Scale,
    Roll,
    Configure,
    Certificate,
    HandOver,
}

const CASES: [(Case, &str); 6] = [
    (Case::Kill, "kill -9 of a replica"),
    (Case::Scale, "scale in and out"),
    (Case::Roll, "rolling restart of every replica"),
    (Case::Configure, "configuration change"),
    (Case::Certificate, "certificate change, over TLS"),
    (Case::HandOver, "exchange of the process itself"),
];

/// The results of a case.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    requests: u64,
    failed: u64,
    /// How often it happened.
    times: u64,
}

/// Runs each case with Homeostat, and those that apply to a peer with the peer.
pub(crate) fn run() -> anyhow::Result<Findings> {
    ensure_tools()?;
    let mut findings = Findings::of("zero-loss");
    findings.describe(format!(
        "{REPLICAS} replicas that answer `ok`; wrk with {CONNECTIONS} kept connections that sends GET until {REQUESTS} were answered, while it happens again and again; \
         failed is what got no answer, or one of 400 and more; nginx and HAProxy with 2 workers or threads, set up to try another backend, HAProxy with health checks each 500 ms"
    ));
    for (case, what) in CASES {
        let tally = measure_homeostat(case).with_context(|| format!("homeostat, {what}"))?;
        note(&mut findings, "homeostat", what, tally, Some(NONE));
    }
    for kind in [Kind::Nginx, Kind::Haproxy] {
        for (case, what) in [(Case::Kill, "kill -9 of a replica"), (Case::Configure, "configuration change")]
        {
            let tally = measure_peer(kind, case).with_context(|| format!("{}, {what}", kind.name()))?;
            note(&mut findings, kind.name(), what, tally, None);
        }
    }
    Ok(findings)
}

fn note(findings: &mut Findings, proxy: &str, what: &str, tally: Tally, target: Option<Target>) {
    let name = format!("{proxy}: {what}, {} times: failed of {}", tally.times, tally.requests);
    match target {
        Some(target) => findings.compare(name, tally.failed as f64, Unit::Count, target),
        None => findings.note(name, tally.failed as f64, Unit::Count),
    }
}

/// Sends [`REQUESTS`] requests, while `trigger` is called repeatedly with the number of the call; it returns whether the event has happened.
fn send_until_done(
    folder: &Path,
    url: &str,
    mut trigger: impl FnMut(u64) -> anyhow::Result<bool>,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let begun = os::since_boot();
    while tally.requests < REQUESTS {
        ensure!(
            os::since_boot().saturating_sub(begun) < CASE_MAX,
            "{} requests took too long",
            tally.requests
        );
        let options =
            WrkOptions { url: url.to_owned(), connections: CONNECTIONS, is_closing: false, span: ROUND };
        let mut running = wrk::begin(folder, &options)?;
        while !running.is_over()? {
            tally.times += u64::from(trigger(tally.times + 1)?);
        }
        let report = running.end()?;
        tally.requests += report.requests;
        tally.failed += report.failed;
    }
    Ok(tally)
}

/// The service of Homeostat in one case.
struct RunningService {
    instance: Instance,
    folder: PathBuf,
    declared: Value,
}

fn measure_homeostat(case: Case) -> anyhow::Result<Tally> {
    let place = InstanceFolder::new()?;
    let folder = place.path().to_path_buf();
    let listen = instance::free_address();
    let mut expose = json!({"listen": listen, "port": "http"});
    if case == Case::Certificate {
        certificate::write(&folder)?;
        expose["tls"] = certificate::manifest(&folder);
    }
    let declared = service(&folder, &[], &expose)?;
    let instance = Instance::up(place, std::slice::from_ref(&declared), &RESTARTS_UNLIMITED)?;
    let mut service_under_test = RunningService { instance, folder: folder.clone(), declared };
    let scheme = if case == Case::Certificate { "https" } else { "http" };
    send_until_done(&folder, &format!("{scheme}://{listen}/"), |time| service_under_test.trigger(case, time))
}

impl RunningService {
    /// Causes the event of the case and waits until everything has settled; returns whether it has happened.
    fn trigger(&mut self, case: Case, time: u64) -> anyhow::Result<bool> {
        match case {
            Case::Kill if time > KILLS_MAX => {
                instance::pause();
                return Ok(false);
            }
            Case::Kill => self.kill(time)?,
            Case::Scale => self.scale(time)?,
            Case::Roll => self.roll(time)?,
            Case::Configure => self.configure(time)?,
            Case::Certificate => {
                certificate::write(&self.folder)?;
                // Homeostat checks the files once a second.
                (0..50).for_each(|_| instance::pause());
            }
            Case::HandOver => {
                self.instance.take_over(&RESTARTS_UNLIMITED)?;
                self.wait_until_settled(REPLICAS)?;
            }
        }
        Ok(true)
    }

    /// Kills one replica, and waits for its successor: until the end is reported, the status of the service is as before.
    fn kill(&mut self, time: u64) -> anyhow::Result<()> {
        let replicas = self.instance.replicas()?;
        let chosen = usize::try_from(time)? % replicas.len().max(1);
        let pid =
            replicas.get(chosen).and_then(|replica| replica.pid).context("there is no replica to kill")?;
        kill_process(Pid::from_raw(pid).context("no process has this id")?, Signal::KILL)
            .context("could not kill a replica")?;
        self.instance.wait_until(SUCCESSOR_WAIT_MAX, "the killed replica has a successor", |instance| {
            let replicas = instance.replicas().ok()?;
            let is_alive = |replica: &ReplicaStatus| replica.ready && replica.pid != Some(pid);
            (replicas.len() == REPLICAS && replicas.iter().all(is_alive)).then_some(())
        })
    }

    fn scale(&mut self, time: u64) -> anyhow::Result<()> {
        let wanted = if time.is_multiple_of(2) { REPLICAS } else { REPLICAS / 2 };
        self.instance.run(&["scale", &format!("service/{SERVICE}"), "--replicas", &wanted.to_string()])?;
        self.wait_until_settled(wanted)
    }

    fn roll(&mut self, time: u64) -> anyhow::Result<()> {
        let before: Vec<Option<i32>> = self.instance.replicas()?.iter().map(|replica| replica.pid).collect();
        self.declared["spec"]["run"]["env"] = json!({"TIME": time.to_string()});
        self.apply()?;
        self.instance.wait_until(SETTLED_WAIT_MAX, "every replica was restarted", |instance| {
            let replicas = instance.replicas().ok()?;
            let is_new = replicas.iter().all(|replica| replica.ready && !before.contains(&replica.pid));
            (is_new && replicas.len() == REPLICAS).then_some(())
        })
    }

    fn configure(&mut self, time: u64) -> anyhow::Result<()> {
        let balance = if time.is_multiple_of(2) { "roundRobin" } else { "leastLoaded" };
        self.declared["spec"]["expose"]["balance"] = json!(balance);
        self.apply()
    }

    fn apply(&self) -> anyhow::Result<()> {
        let file = self.folder.join("changed.yaml");
        std::fs::write(&file, self.declared.to_string()).context("could not write the changed manifest")?;
        self.instance.run(&["apply", "-f", &file.to_string_lossy()])
    }

    /// Waits until this many replicas are ready, and no other has a process.
    fn wait_until_settled(&mut self, wanted: usize) -> anyhow::Result<()> {
        self.instance.wait_until(SETTLED_WAIT_MAX, "all desired replicas are ready", |instance| {
            let replicas = instance.replicas().ok()?;
            (replicas.len() == wanted && replicas.iter().all(|replica| replica.ready)).then_some(())
        })
    }
}

/// A peer in front of replicas that a supervisor restarts at once.
fn measure_peer(kind: Kind, case: Case) -> anyhow::Result<Tally> {
    let place = InstanceFolder::new()?;
    let mut backends = (0..REPLICAS).map(|_| Backend::start(&[])).collect::<anyhow::Result<Vec<_>>>()?;
    let plain: SocketAddr = instance::free_address();
    let addresses = backends.iter().map(Backend::address).collect();
    let setup = Setup {
        kind,
        plain,
        protocol: ClientProtocol::Http1,
        secure: None,
        backends: addresses,
        choice: Choice::RoundRobin,
    };
    let peer = Peer::start(place.path(), &setup)?;
    send_until_done(place.path(), &format!("http://{plain}/"), |time| {
        if case == Case::Kill {
            let chosen = usize::try_from(time)? % REPLICAS;
            backends[chosen].kill()?;
        } else {
            peer.reload()?;
        }
        // About as long as Homeostat takes to heal, or to apply a change.
        (0..50).for_each(|_| instance::pause());
        Ok(true)
    })
}
