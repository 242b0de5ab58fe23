//! A real `homeostat up` with a folder of its own, of which nothing is left behind.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use procfs::process::Process;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

/// How long everything declared may take to become ready.
///
/// 60 s: a hundred replicas start in some five seconds on two idle cores.
const READY_WAIT_MAX: Duration = Duration::from_mins(1);

/// How long Homeostat may take to stop itself and what it started.
///
/// 40 s: the default grace of a replica and its drain, twice, and some room.
const STOP_WAIT_MAX: Duration = Duration::from_secs(40);

/// How long the old process may take to end when another one has taken its place.
const TAKE_OVER_WAIT_MAX: Duration = Duration::from_secs(30);

/// How long one answer of the API may take.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(5);

/// The pause between two looks at a condition.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// A folder for one `homeostat up`: manifests, data, and the working directory of every replica.
#[derive(Debug)]
pub(crate) struct Place(TempDir);

/// A running `homeostat up`. Stops it, and ends whatever it left, when dropped.
#[derive(Debug)]
pub(crate) struct House {
    up: Child,
    place: Place,
    server: SocketAddr,
    client: ureq::Agent,
}

/// The part of a list that is read.
#[derive(Debug, Deserialize)]
struct List<T> {
    items: Vec<T>,
}

/// The part of a service or replica that is read.
#[derive(Debug, Deserialize)]
struct Resource<S> {
    status: S,
}

/// The status of a service.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceStatus {
    /// Replicas wanted.
    pub(crate) desired_replicas: u32,
    /// Replicas that answer.
    pub(crate) ready_replicas: u32,
}

/// The status of a replica.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ReplicaStatus {
    /// The service that it is a replica of.
    pub(crate) service: String,
    /// Its process, while it has one.
    pub(crate) pid: Option<i32>,
    /// Its ports by name.
    pub(crate) ports: BTreeMap<String, u16>,
    /// Whether it answers.
    pub(crate) ready: bool,
    /// Restarts.
    pub(crate) restarts: u32,
}

impl Place {
    /// An empty folder.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self(tempfile::tempdir().context("could not create a temporary folder")?))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Ends every process that works in the folder: replicas outlive a Homeostat that was killed.
    fn sweep(&self) {
        let Ok(folder) = self.path().canonicalize() else { return };
        for process in procfs::process::all_processes().into_iter().flatten().flatten() {
            if process.cwd().is_ok_and(|cwd| cwd == folder)
                && let Some(pid) = Pid::from_raw(process.pid)
            {
                // That it is gone already is fine.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

impl House {
    /// Starts Homeostat with these services and waits until every replica of them is ready.
    ///
    /// Each value is a manifest in JSON, which is also YAML; each replica works in the folder of `place`. When that takes too
    /// long or Homeostat ends by itself, fails with its last words, and leaves nothing behind.
    pub(crate) fn up(place: Place, manifests: &[serde_json::Value], flags: &[&str]) -> anyhow::Result<Self> {
        let declared = place.path().join("manifests");
        std::fs::create_dir(&declared).context("could not create a folder for the manifests")?;
        for (number, manifest) in manifests.iter().enumerate() {
            let file = declared.join(format!("{number:03}.yaml"));
            std::fs::write(&file, manifest.to_string())
                .with_context(|| format!("could not write {}", file.display()))?;
        }
        let server = free_address();
        let up = begin(&place, server, |call| {
            call.arg("-f").arg(&declared).args(flags);
        })?;
        let client = ureq::Agent::config_builder().timeout_global(Some(ANSWER_WAIT_MAX)).build().into();
        let mut house = Self { up, place, server, client };
        house.wait(READY_WAIT_MAX, "every service is ready", |house| {
            let services = house.services().ok()?;
            let is_whole = |status: &ServiceStatus| {
                status.desired_replicas > 0 && status.ready_replicas >= status.desired_replicas
            };
            (services.len() == count_services(manifests) && services.iter().all(is_whole)).then_some(())
        })?;
        Ok(house)
    }

    /// Lets a new process take the place of the running one, and waits until the old one has ended.
    pub(crate) fn succeed(&mut self, flags: &[&str]) -> anyhow::Result<()> {
        let next = begin(&self.place, self.server, |call| {
            call.arg("--take-over").args(flags);
        })?;
        let mut before = std::mem::replace(&mut self.up, next);
        self.wait(TAKE_OVER_WAIT_MAX, "the process before has ended", |_| match before.try_wait() {
            Ok(None) => None,
            Ok(Some(_)) | Err(_) => Some(()),
        })
    }

    /// Its process.
    pub(crate) fn process(&self) -> anyhow::Result<Process> {
        let pid = i32::try_from(self.up.id()).context("a process number does not fit")?;
        Process::new(pid).context("could not look at the process of homeostat")
    }

    /// All services.
    pub(crate) fn services(&self) -> anyhow::Result<Vec<ServiceStatus>> {
        let list: List<Resource<ServiceStatus>> = self.look("/v1/services")?;
        Ok(list.items.into_iter().map(|service| service.status).collect())
    }

    /// All replicas that have a process.
    pub(crate) fn replicas(&self) -> anyhow::Result<Vec<ReplicaStatus>> {
        let list: List<Resource<ReplicaStatus>> = self.look("/v1/replicas")?;
        Ok(list
            .items
            .into_iter()
            .map(|replica| replica.status)
            .filter(|status| status.pid.is_some())
            .collect())
    }

    /// The sum of a counter over all its labels.
    pub(crate) fn counter(&self, name: &str) -> anyhow::Result<f64> {
        let text = self.read(&format!("http://{}/metrics", self.server))?;
        Ok(sum_of(&text, name))
    }

    fn look<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let text = self.read(&format!("http://{}{path}", self.server))?;
        serde_json::from_str(&text).with_context(|| format!("{path} answered another JSON than agreed on"))
    }

    /// The body of the answer of `url`.
    pub(crate) fn read(&self, url: &str) -> anyhow::Result<String> {
        let mut answer = self.client.get(url).call().with_context(|| format!("could not read {url}"))?;
        answer.body_mut().read_to_string().with_context(|| format!("could not read the body of {url}"))
    }

    /// Runs Homeostat's command line with `words` and the address of this server.
    pub(crate) fn tell(&self, words: &[&str]) -> anyhow::Result<()> {
        let mut call = Command::new(program("homeostat")?);
        call.args(words).args(["--server", &format!("http://{}", self.server)]);
        let output = call.stdin(Stdio::null()).output().context("could not start homeostat")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "homeostat {} failed: {}", words.join(" "), said.trim());
        Ok(())
    }

    /// Looks again and again until `seen` returns something; fails after `limit`, naming what was `awaited`.
    pub(crate) fn wait<T>(
        &mut self,
        limit: Duration,
        awaited: &str,
        mut seen: impl FnMut(&Self) -> Option<T>,
    ) -> anyhow::Result<T> {
        let begun = os::since_boot();
        loop {
            if let Some(found) = seen(self) {
                return Ok(found);
            }
            if let Some(status) = self.up.try_wait().context("could not look after homeostat")? {
                bail!("homeostat up ended by itself ({status}); it said: {}", self.last_words());
            }
            let waited = os::since_boot().saturating_sub(begun);
            ensure!(waited < limit, "waited {} s in vain until {awaited}", limit.as_secs());
            pause();
        }
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(self.place.path().join("up.err")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Ok(None) = self.up.try_wait() {
            let _ = kill_process(Pid::from_child(&self.up), Signal::INT);
        }
        let begun = os::since_boot();
        while let Ok(None) = self.up.try_wait()
            && os::since_boot().saturating_sub(begun) < STOP_WAIT_MAX
        {
            pause();
        }
        // Both fail only if it has ended already.
        let _ = self.up.kill();
        let _ = self.up.wait();
        self.place.sweep();
    }
}

/// Starts `homeostat up` over the folder of `place`, with the arguments that `add` adds.
fn begin(place: &Place, server: SocketAddr, add: impl FnOnce(&mut Command)) -> anyhow::Result<Child> {
    let mut call = Command::new(program("homeostat")?);
    call.arg("up").arg("--data").arg(place.path().join("data")).args(["--listen", &server.to_string()]);
    add(&mut call);
    let said = File::options().create(true).append(true).open(place.path().join("up.err"));
    call.env_remove("HOMEOSTAT_LOG").stdin(Stdio::null()).stdout(Stdio::null()).stderr(said?);
    // Ctrl-C reaches only this process, which stops Homeostat, which stops what it started.
    call.process_group(0).spawn().context("could not start homeostat")
}

/// Lets a little time pass before the next look at a condition that has a deadline.
pub(crate) fn pause() {
    // tidy: pause between looks
    std::thread::sleep(LOOK_PAUSE);
}

/// The path of a program of the workspace: beside this one.
pub(crate) fn program(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("could not tell where this program lies")?;
    let path = own.with_file_name(name);
    ensure!(path.is_file(), "there is no {}; cargo xtask bench builds it", path.display());
    Ok(path)
}

/// An address on loopback that nobody listens on.
pub(crate) fn free_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()))
}

fn count_services(manifests: &[serde_json::Value]) -> usize {
    manifests.iter().filter(|manifest| manifest["kind"] == "Service").count()
}

/// The sum of all samples of `name` in an exposition: each line is `name{labels} value`.
pub(crate) fn sum_of(exposition: &str, name: &str) -> f64 {
    let samples = exposition.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let is_name_whole = rest.starts_with(['{', ' ']);
        let value: f64 = rest.rsplit(' ').next()?.parse().ok()?;
        is_name_whole.then_some(value)
    });
    samples.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_counter_are_summed_and_others_left_out() {
        let text = "# TYPE a counter\na_total{x=\"1\"} 2\na_total{x=\"2\"} 3\na_total_other 7\n";
        assert!((sum_of(text, "a_total") - 5.0).abs() < f64::EPSILON);
    }
}
