//! The environment of the demo: a `homeostat up` with its folder; everything is stopped at the end.

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

/// The example of the demo.
pub(super) const EXAMPLE: &str = "examples/flash-sale";
/// The default address of the API.
const API: &str = "127.0.0.1:7460";
/// The address at which the examples expose the shop.
const SHOP: &str = "127.0.0.1:8080";

/// Longest time until Homeostat and two replicas of the shop respond.
///
/// 30 s: it takes about one on an idle machine, and ten times as long on a busy one.
const READY_WAIT_MAX: Duration = Duration::from_secs(30);

/// Longest time until Homeostat has stopped with its replicas.
///
/// 40 s: the default grace of a replica is 30 s, and all are stopped at the same time.
const STOP_WAIT_MAX: Duration = Duration::from_secs(40);

/// Timeout of a request.
///
/// 2 s: four times the interval between samples; a longer time means that the API hangs.
const RESPONSE_WAIT_MAX: Duration = Duration::from_secs(2);

/// Interval between checks of a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A running `homeostat up`. Stops it when dropped.
pub(super) struct Stage {
    up: Child,
    root: PathBuf,
    /// The folder of the release binaries.
    binaries: PathBuf,
    /// The output of the programs, and the data of Homeostat unless the user chose another folder.
    folder: PathBuf,
    /// The processes of the shop, which outlive a crash of Homeostat.
    shops: Leftovers,
    is_interrupted: Arc<AtomicBool>,
    is_stopped: bool,
}

impl Stage {
    /// Starts Homeostat with the example and waits until it and the shop respond.
    ///
    /// Fails, with everything stopped, when a port is in use, when Homeostat exits, or when it does not respond in
    /// time; the error has the port or the end of the log.
    pub(super) fn start(
        root: &Path,
        example: &str,
        folder: &Path,
        data: Option<&Path>,
        is_interrupted: Arc<AtomicBool>,
    ) -> anyhow::Result<Self> {
        ensure!(root.join(example).is_dir(), "could not find the example {example}");
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
        // In a process group of its own, so that Ctrl-C reaches only the demo, which stops Homeostat.
        let up = call.process_group(0).spawn().context("could not start homeostat")?;
        let mut stage = Self {
            up,
            root: root.to_path_buf(),
            binaries,
            folder: folder.to_path_buf(),
            shops,
            is_interrupted,
            is_stopped: false,
        };
        println!("started homeostat up -f {example} as process {}", stage.up.id());
        stage.wait_until_url_responds(&format!("http://{API}/readyz"))?;
        stage.wait_until_url_responds(&stage.shop_address())?;
        stage.wait_until_all_are_ready()?;
        Ok(stage)
    }

    /// The URL for the load.
    pub(super) fn shop_address(&self) -> String {
        format!("http://{SHOP}/")
    }

    /// Starts `homeostat load` against the shop, with its report as JSON on standard output.
    pub(super) fn start_load(&self, arguments: &[String]) -> anyhow::Result<Child> {
        let mut call = self.homeostat();
        call.args(["load", &self.shop_address()]).args(arguments).args(["-o", "json"]);
        println!("running {}", cargo::command_line(&call));
        call.stdout(File::create(self.report_path())?).stderr(File::create(self.folder.join("load.err"))?);
        call.process_group(0).spawn().context("could not start homeostat load")
    }

    /// The report of `homeostat load`.
    ///
    /// Fails, with the end of its log, when the report is not the expected JSON.
    pub(super) fn load_report<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        let text =
            std::fs::read_to_string(self.report_path()).context("could not read the report of the load")?;
        serde_json::from_str(&text).with_context(|| {
            format!("homeostat load printed no report; the end of its log: {}", self.log_tail("load.err"))
        })
    }

    fn report_path(&self) -> PathBuf {
        self.folder.join("load.json")
    }

    /// Runs a command of `homeostat` and parses its output as JSON.
    pub(super) fn query<T: DeserializeOwned>(&self, arguments: &[&str]) -> anyhow::Result<T> {
        let mut call = self.homeostat();
        call.args(arguments).args(["-o", "json"]);
        let output =
            call.output().with_context(|| format!("could not start {}", cargo::command_line(&call)))?;
        let command_line = cargo::command_line(&call);
        ensure!(
            output.status.success(),
            "{command_line} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("{command_line} printed unexpected JSON"))
    }

    fn homeostat(&self) -> Command {
        let mut call = Command::new(self.binaries.join("homeostat"));
        call.current_dir(&self.root).env_remove("HOMEOSTAT_SERVER").stdin(Stdio::null());
        call
    }

    /// Fails after Ctrl-C, or when Homeostat has exited.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        ensure!(!self.is_interrupted.load(Ordering::Relaxed), "interrupted");
        if let Some(status) = self.up.try_wait().context("could not check the process of homeostat")? {
            bail!(
                "homeostat up exited by itself ({status}); the end of its log: {}",
                self.log_tail("up.err")
            );
        }
        Ok(())
    }

    fn wait_until_url_responds(&mut self, url: &str) -> anyhow::Result<()> {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().timeout_global(Some(RESPONSE_WAIT_MAX)).build().into();
        let start = Instant::now();
        loop {
            self.check()?;
            let Err(problem) = agent.get(url).call() else {
                println!("{url} responded after {:.1} s", start.elapsed().as_secs_f64());
                return Ok(());
            };
            if start.elapsed() > READY_WAIT_MAX {
                let log = self.log_tail("up.err");
                bail!(
                    "{url} did not respond within {} s ({problem}); the end of the log: {log}",
                    READY_WAIT_MAX.as_secs()
                );
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    fn wait_until_all_are_ready(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            self.check()?;
            let ServiceStatus { desired_replicas, ready_replicas, .. } = self.status()?;
            if ready_replicas >= desired_replicas && ready_replicas > 0 {
                return Ok(());
            }
            let waited = READY_WAIT_MAX.as_secs();
            ensure!(
                start.elapsed() < READY_WAIT_MAX,
                "only {ready_replicas} of {desired_replicas} replicas of the shop were ready within {waited} s"
            );
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// The current status of the shop.
    pub(super) fn status(&self) -> anyhow::Result<ServiceStatus> {
        Ok(self.query::<Service>(&["get", "service/shop"])?.status)
    }

    fn log_tail(&self, file: &str) -> String {
        let text = std::fs::read_to_string(self.folder.join(file)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        if lines.is_empty() {
            "nothing".to_owned()
        } else {
            lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
        }
    }

    /// Stops Homeostat with SIGINT and waits until it has exited.
    ///
    /// Fails when it had to be killed, or when replicas remain.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        self.is_stopped = true;
        let has_exited = stop(&mut self.up);
        let left = self.shops.end();
        ensure!(has_exited, "homeostat up did not stop within {} s and was killed", STOP_WAIT_MAX.as_secs());
        ensure!(left == 0, "homeostat up stopped, but {left} processes of the shop remain");
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.is_stopped {
            stop(&mut self.up);
            self.shops.end();
        }
    }
}

/// Sends SIGINT to a process and waits for its exit; kills it after [`STOP_WAIT_MAX`]. Returns whether it exited without being
/// killed.
pub(super) fn stop(child: &mut Child) -> bool {
    let start = Instant::now();
    if let Ok(None) = child.try_wait() {
        let _ = kill_process(Pid::from_child(child), Signal::INT);
    }
    while start.elapsed() < STOP_WAIT_MAX {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(POLL_INTERVAL),
            Ok(Some(_)) | Err(_) => return true,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}

fn ensure_free(address: &str) -> anyhow::Result<()> {
    let socket: SocketAddr = address.parse().with_context(|| format!("{address} is not a valid address"))?;
    TcpListener::bind(socket).map(drop).with_context(|| {
        format!(
            "port {} of this machine is in use, but the demo needs it: stop the program that listens there",
            socket.port()
        )
    })
}

fn path_with(folder: &Path) -> anyhow::Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_path_buf()).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).with_context(|| format!("{} cannot be added to PATH", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");

        let error = ensure_free(&address.to_string()).expect_err("it is taken").to_string();
        assert!(error.contains(&format!("port {} of this machine is in use", address.port())), "{error}");
    }

    #[test]
    fn a_child_is_stopped_by_an_interrupt() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep is installed");

        assert!(stop(&mut child));
        assert!(child.try_wait().expect("it is a child").is_some());
    }
}
