//! A real `homeostat up` in a temporary folder, with all of its processes and files removed afterwards.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use procfs::process::Process;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

/// How long all declared replicas may take to become ready.
///
/// 60 s: a hundred replicas start in some five seconds on two idle cores.
const READY_WAIT_MAX: Duration = Duration::from_mins(1);

/// How long Homeostat may take to stop its replicas and itself.
///
/// 40 s: twice the default grace and drain timeout of a replica, and a margin.
const STOP_WAIT_MAX: Duration = Duration::from_secs(40);

/// How long the old process may take to exit after a take-over.
const TAKE_OVER_WAIT_MAX: Duration = Duration::from_secs(30);

/// How long one response of the API may take.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(5);

/// The time between two checks of a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A folder for one `homeostat up`: manifests, data, and the working directory of every replica.
#[derive(Debug)]
pub(crate) struct InstanceFolder(TempDir);

/// A running `homeostat up`. Dropping it stops it, and kills the replicas that it has left.
#[derive(Debug)]
pub(crate) struct Instance {
    up: Child,
    folder: InstanceFolder,
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
    /// Desired replicas.
    pub(crate) desired_replicas: u32,
    /// Ready replicas.
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
    /// Whether it is ready.
    pub(crate) ready: bool,
    /// Restarts.
    pub(crate) restarts: u32,
}

impl InstanceFolder {
    /// An empty folder.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self(tempfile::tempdir().context("could not create a temporary folder")?))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Kills every process with this working directory: replicas outlive a killed Homeostat.
    fn kill_processes(&self) {
        let Ok(folder) = self.path().canonicalize() else { return };
        for process in procfs::process::all_processes().into_iter().flatten().flatten() {
            if process.cwd().is_ok_and(|cwd| cwd == folder)
                && let Some(pid) = Pid::from_raw(process.pid)
            {
                // Fails only if it has exited already.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

impl Instance {
    /// Starts Homeostat with these services and waits until every replica of them is ready.
    ///
    /// Each manifest is JSON, which is also YAML; `folder` is the working directory of each replica. Fails with the last lines of
    /// Homeostat's log when that takes too long or it exits.
    pub(crate) fn up(
        folder: InstanceFolder,
        manifests: &[serde_json::Value],
        flags: &[&str],
    ) -> anyhow::Result<Self> {
        let declared = folder.path().join("manifests");
        std::fs::create_dir(&declared).context("could not create a folder for the manifests")?;
        for (number, manifest) in manifests.iter().enumerate() {
            let file = declared.join(format!("{number:03}.yaml"));
            std::fs::write(&file, manifest.to_string())
                .with_context(|| format!("could not write {}", file.display()))?;
        }
        let server = free_address();
        let up = spawn(&folder, server, |call| {
            call.arg("-f").arg(&declared).args(flags);
        })?;
        let client = ureq::Agent::config_builder().timeout_global(Some(ANSWER_WAIT_MAX)).build().into();
        let mut instance = Self { up, folder, server, client };
        instance.wait_until(READY_WAIT_MAX, "every service is ready", |instance| {
            let services = instance.services().ok()?;
            let is_ready = |status: &ServiceStatus| {
                status.desired_replicas > 0 && status.ready_replicas >= status.desired_replicas
            };
            (services.len() == count_services(manifests) && services.iter().all(is_ready)).then_some(())
        })?;
        Ok(instance)
    }

    /// Lets a new process take over from the running one, and waits until the old one has exited.
    pub(crate) fn take_over(&mut self, flags: &[&str]) -> anyhow::Result<()> {
        let next = spawn(&self.folder, self.server, |call| {
            call.arg("--take-over").args(flags);
        })?;
        let mut old = std::mem::replace(&mut self.up, next);
        self.wait_until(TAKE_OVER_WAIT_MAX, "the old process has exited", |_| match old.try_wait() {
            Ok(None) => None,
            Ok(Some(_)) | Err(_) => Some(()),
        })
    }

    /// Its process.
    pub(crate) fn process(&self) -> anyhow::Result<Process> {
        let pid = i32::try_from(self.up.id()).context("a process number does not fit")?;
        Process::new(pid).context("could not read the process of homeostat")
    }

    /// All services.
    pub(crate) fn services(&self) -> anyhow::Result<Vec<ServiceStatus>> {
        let list: List<Resource<ServiceStatus>> = self.get("/v1/services")?;
        Ok(list.items.into_iter().map(|service| service.status).collect())
    }

    /// All replicas that have a process.
    pub(crate) fn replicas(&self) -> anyhow::Result<Vec<ReplicaStatus>> {
        let list: List<Resource<ReplicaStatus>> = self.get("/v1/replicas")?;
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

    fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let text = self.read(&format!("http://{}{path}", self.server))?;
        serde_json::from_str(&text)
            .with_context(|| format!("the response to {path} is not of the expected form"))
    }

    /// The body of the response to a GET of `url`.
    pub(crate) fn read(&self, url: &str) -> anyhow::Result<String> {
        let mut answer = self.client.get(url).call().with_context(|| format!("could not read {url}"))?;
        answer.body_mut().read_to_string().with_context(|| format!("could not read the body of {url}"))
    }

    /// Runs a command of Homeostat's command line against this server.
    pub(crate) fn run(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut call = Command::new(program("homeostat")?);
        call.args(arguments).args(["--server", &format!("http://{}", self.server)]);
        let output = call.stdin(Stdio::null()).output().context("could not start homeostat")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "homeostat {} failed: {}", arguments.join(" "), errors.trim());
        Ok(())
    }

    /// Polls `check` until it returns something; fails after `limit` with the name of the `condition`.
    pub(crate) fn wait_until<T>(
        &mut self,
        limit: Duration,
        condition: &str,
        mut check: impl FnMut(&Self) -> Option<T>,
    ) -> anyhow::Result<T> {
        let begun = os::since_boot();
        loop {
            if let Some(found) = check(self) {
                return Ok(found);
            }
            if let Some(status) = self.up.try_wait().context("could not get the state of homeostat")? {
                bail!("homeostat up exited ({status}); its last log lines: {}", self.last_errors());
            }
            let waited = os::since_boot().saturating_sub(begun);
            ensure!(waited < limit, "waited {} s in vain until {condition}", limit.as_secs());
            pause();
        }
    }

    fn last_errors(&self) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("up.err")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }
}

impl Drop for Instance {
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
        // Both fail only if it has exited already.
        let _ = self.up.kill();
        let _ = self.up.wait();
        self.folder.kill_processes();
    }
}

/// Starts `homeostat up` in `folder`, with the arguments that `add` adds.
fn spawn(
    folder: &InstanceFolder,
    server: SocketAddr,
    add: impl FnOnce(&mut Command),
) -> anyhow::Result<Child> {
    let mut call = in_own_session(program("homeostat")?);
    call.arg("up").arg("--data").arg(folder.path().join("data")).args(["--listen", &server.to_string()]);
    add(&mut call);
    let log = File::options().create(true).append(true).open(folder.path().join("up.err"));
    call.env_remove("HOMEOSTAT_LOG").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log?);
    // In its own session, Ctrl-C reaches only this process, which stops Homeostat, which stops its replicas.
    call.spawn().context("could not start homeostat")
}

/// A call of `program` in a session of its own.
///
/// The kernel shares the processor among sessions first (sched(7), "The autogroup feature"). A replica runs in a session of its own,
/// and so does a server that a system starts. Were a proxy and the client started in the session of the bench, these two would share
/// what the backend alone gets, and the tail of each latency would show that.
pub(crate) fn in_own_session(program: impl AsRef<OsStr>) -> Command {
    let mut call = Command::new("/usr/bin/setsid");
    call.arg(program);
    call
}

/// Waits before the next check of a condition that has a deadline.
pub(crate) fn pause() {
    // tidy: pause between looks
    std::thread::sleep(POLL_INTERVAL);
}

/// The path of a program of the workspace, in the folder of this one.
pub(crate) fn program(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("could not determine the path of this program")?;
    let path = own.with_file_name(name);
    ensure!(path.is_file(), "there is no {}; cargo xtask bench builds it", path.display());
    Ok(path)
}

/// A free address on loopback.
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
    fn only_the_samples_of_the_named_counter_are_summed() {
        let text = "# TYPE a counter\na_total{x=\"1\"} 2\na_total{x=\"2\"} 3\na_total_other 7\n";
        assert!((sum_of(text, "a_total") - 5.0).abs() < f64::EPSILON);
    }
}
