//! The stage of the demo: one `homeostat up` with its folder, and the certainty that nothing is left behind.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;

use super::leftovers::Leftovers;
use super::watch::{Service, ServiceStatus};
use crate::cargo::{self, Profile};

/// What is shown.
pub(super) const EXAMPLE: &str = "examples/flash-sale";
/// Where the API listens when nobody says otherwise.
const API: &str = "127.0.0.1:7460";
/// Where the examples expose the shop.
const SHOP: &str = "127.0.0.1:8080";

/// How long Homeostat may take until it and two replicas of the shop answer.
///
/// 30 s: it takes about one on an idle machine; a busy one may be ten times slower.
const READY_WAIT_MAX: Duration = Duration::from_secs(30);

/// How long Homeostat may take to stop itself and what it started.
///
/// 40 s: the default grace of a replica is 30 s, all are stopped at once.
const STOP_WAIT_MAX: Duration = Duration::from_secs(40);

/// How long one look at the system from outside may take.
///
/// 2 s: four times the pause between two looks; more means that the API hangs.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(2);

/// The pause between two looks at a condition.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// A running `homeostat up`. Stops it when dropped.
pub(super) struct Stage {
    up: Child,
    root: PathBuf,
    /// Where the release binaries lie.
    binaries: PathBuf,
    /// Holds what the programs wrote, and Homeostat's data unless the user keeps it elsewhere.
    folder: PathBuf,
    /// The shop's processes: they outlive a Homeostat that crashes.
    shops: Leftovers,
    is_interrupted: Arc<AtomicBool>,
    is_cleared: bool,
}

impl Stage {
    /// Starts Homeostat with the example and waits until it and the shop answer.
    ///
    /// Fails, leaving nothing behind, when a port is taken (and says which), when Homeostat ends by itself
    /// (and says its last words), or when it does not answer in time.
    pub(super) fn set(
        root: &Path,
        example: &str,
        folder: &Path,
        data: Option<&Path>,
        is_interrupted: Arc<AtomicBool>,
    ) -> anyhow::Result<Self> {
        ensure!(root.join(example).is_dir(), "could not find {example}, which the demo shows");
        for address in [API, SHOP] {
            ensure_free(address)?;
        }
        let data = data.map_or_else(|| Ok(folder.join("data")), std::path::absolute)?;
        std::fs::create_dir_all(&data).with_context(|| format!("could not create {}", data.display()))?;
        let binaries = cargo::optimized_dir(root, Profile::Release);
        let shops = Leftovers::of(&binaries.join("shop"));
        let mut call = Command::new(binaries.join("homeostat"));
        call.args(["up", "-f", example, "--data"])
            .arg(data)
            .current_dir(root)
            .env("PATH", path_with(&binaries)?);
        call.stdin(Stdio::null()).stdout(File::create(folder.join("up.out"))?);
        call.stderr(File::create(folder.join("up.err"))?);
        // Ctrl-C reaches us alone; we stop Homeostat, and Homeostat what it started.
        let up = call.process_group(0).spawn().context("could not start homeostat")?;
        let mut stage = Self {
            up,
            root: root.to_path_buf(),
            binaries,
            folder: folder.to_path_buf(),
            shops,
            is_interrupted,
            is_cleared: false,
        };
        println!("started homeostat up -f {example} as process {}", stage.up.id());
        stage.wait_until_it_answers(&format!("http://{API}/readyz"))?;
        stage.wait_until_it_answers(&stage.shop_address())?;
        stage.wait_until_all_are_ready()?;
        Ok(stage)
    }

    /// Where the load goes.
    pub(super) fn shop_address(&self) -> String {
        format!("http://{SHOP}/")
    }

    /// Starts `homeostat load` against the shop; its report comes on standard output as JSON.
    pub(super) fn start_load(&self, arguments: &[String]) -> anyhow::Result<Child> {
        let mut call = self.homeostat();
        call.args(["load", &self.shop_address()]).args(arguments).args(["-o", "json"]);
        println!("running {}", cargo::spoken(&call));
        call.stdout(File::create(self.report_path())?).stderr(File::create(self.folder.join("load.err"))?);
        call.process_group(0).spawn().context("could not start homeostat load")
    }

    /// What `homeostat load` printed.
    ///
    /// Fails, with its last words, when that is not the JSON that was agreed on.
    pub(super) fn load_report<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        let text =
            std::fs::read_to_string(self.report_path()).context("could not read the report of the load")?;
        serde_json::from_str(&text).with_context(|| {
            format!("homeostat load printed no report; it said: {}", self.last_words("load.err"))
        })
    }

    fn report_path(&self) -> PathBuf {
        self.folder.join("load.json")
    }

    /// Asks Homeostat something through its command line and reads the JSON of the answer.
    pub(super) fn ask<T: DeserializeOwned>(&self, words: &[&str]) -> anyhow::Result<T> {
        let mut call = self.homeostat();
        call.args(words).args(["-o", "json"]);
        let output = call.output().with_context(|| format!("could not start {}", cargo::spoken(&call)))?;
        let spoken = cargo::spoken(&call);
        ensure!(
            output.status.success(),
            "{spoken} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("{spoken} printed another JSON than agreed on"))
    }

    fn homeostat(&self) -> Command {
        let mut call = Command::new(self.binaries.join("homeostat"));
        call.current_dir(&self.root).env_remove("HOMEOSTAT_SERVER").stdin(Stdio::null());
        call
    }

    /// Fails once somebody pressed Ctrl-C, or when Homeostat is gone.
    pub(super) fn check_on(&mut self) -> anyhow::Result<()> {
        ensure!(!self.is_interrupted.load(Ordering::Relaxed), "interrupted");
        if let Some(status) = self.up.try_wait().context("could not look after homeostat")? {
            bail!("homeostat up ended by itself ({status}); it said: {}", self.last_words("up.err"));
        }
        Ok(())
    }

    fn wait_until_it_answers(&mut self, url: &str) -> anyhow::Result<()> {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().timeout_global(Some(ANSWER_WAIT_MAX)).build().into();
        let start = Instant::now();
        loop {
            self.check_on()?;
            let Err(problem) = agent.get(url).call() else {
                println!("{url} answered after {:.1} s", start.elapsed().as_secs_f64());
                return Ok(());
            };
            if start.elapsed() > READY_WAIT_MAX {
                let words = self.last_words("up.err");
                bail!(
                    "{url} did not answer within {} s ({problem}); homeostat said: {words}",
                    READY_WAIT_MAX.as_secs()
                );
            }
            std::thread::sleep(LOOK_PAUSE);
        }
    }

    fn wait_until_all_are_ready(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            self.check_on()?;
            let ServiceStatus { desired_replicas, ready_replicas, .. } = self.look()?;
            if ready_replicas >= desired_replicas && ready_replicas > 0 {
                return Ok(());
            }
            let waited = READY_WAIT_MAX.as_secs();
            ensure!(
                start.elapsed() < READY_WAIT_MAX,
                "only {ready_replicas} of {desired_replicas} replicas of the shop were ready within {waited} s"
            );
            std::thread::sleep(LOOK_PAUSE);
        }
    }

    /// How many replicas of the shop there are and shall be.
    pub(super) fn look(&self) -> anyhow::Result<ServiceStatus> {
        Ok(self.ask::<Service>(&["get", "service/shop"])?.status)
    }

    fn last_words(&self, file: &str) -> String {
        let text = std::fs::read_to_string(self.folder.join(file)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        if lines.is_empty() {
            "nothing".to_owned()
        } else {
            lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
        }
    }

    /// Stops Homeostat as Ctrl-C does and waits until it is gone.
    ///
    /// Fails when it had to be killed, or when it left replicas behind.
    pub(super) fn clear(mut self) -> anyhow::Result<()> {
        self.is_cleared = true;
        let is_gone_by_itself = stop(&mut self.up);
        let left = self.shops.end();
        ensure!(
            is_gone_by_itself,
            "homeostat up did not stop within {} s and was killed",
            STOP_WAIT_MAX.as_secs()
        );
        ensure!(left == 0, "homeostat up stopped and left {left} processes of the shop behind");
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.is_cleared {
            stop(&mut self.up);
            self.shops.end();
        }
    }
}

/// Interrupts a process and waits; kills it when it does not end. Whether it ended without being killed.
pub(super) fn stop(child: &mut Child) -> bool {
    let start = Instant::now();
    if let Ok(None) = child.try_wait() {
        let _ = kill_process(Pid::from_child(child), Signal::INT);
    }
    while start.elapsed() < STOP_WAIT_MAX {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(LOOK_PAUSE),
            Ok(Some(_)) | Err(_) => return true,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}

fn ensure_free(address: &str) -> anyhow::Result<()> {
    let socket: SocketAddr = address.parse().with_context(|| format!("{address} is no address"))?;
    TcpListener::bind(socket).map(drop).with_context(|| {
        format!(
            "port {} of this machine is taken, and the demo needs it: stop what listens there",
            socket.port()
        )
    })
}

fn path_with(folder: &Path) -> anyhow::Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_path_buf()).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).with_context(|| format!("{} cannot stand in PATH", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");

        let error = ensure_free(&address.to_string()).expect_err("it is taken").to_string();
        assert!(error.contains(&format!("port {} of this machine is taken", address.port())), "{error}");
    }

    #[test]
    fn a_child_is_stopped_by_an_interrupt() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep is everywhere");

        assert!(stop(&mut child));
        assert!(child.try_wait().expect("it is ours").is_some());
    }
}
