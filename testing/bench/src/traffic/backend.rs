//! Backends for proxies that do not start any themselves.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::instance;

/// How long a backend may take until it listens, at first and after a restart.
const LISTEN_WAIT_MAX: Duration = Duration::from_secs(10);

/// A replica at a fixed address. Ended when dropped.
#[derive(Debug)]
pub(super) struct Backend {
    address: SocketAddr,
    arguments: Vec<String>,
    process: Child,
}

impl Backend {
    /// Starts one with these arguments, and waits until it listens.
    pub(super) fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        let address = instance::free_address();
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        let process = spawn(&instance::program("bench")?, address, &arguments)?;
        wait_for(address)?;
        Ok(Self { address, arguments, process })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills it with -9 and starts it again at once, as a supervisor does; returns when it listens.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill().context("could not kill a backend")?;
        self.process.wait().context("could not wait for a backend")?;
        self.process = spawn(&instance::program("bench")?, self.address, &self.arguments)?;
        wait_for(self.address)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(bench: &PathBuf, address: SocketAddr, arguments: &[String]) -> anyhow::Result<Child> {
    let mut call = instance::in_own_session(bench);
    call.args(["replica", "--port", &address.port().to_string()]).args(arguments);
    call.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    call.spawn().context("could not start a backend")
}

/// Waits until something listens there.
pub(super) fn wait_for(address: SocketAddr) -> anyhow::Result<()> {
    let begun = os::since_boot();
    while std::net::TcpStream::connect(address).is_err() {
        ensure!(
            os::since_boot().saturating_sub(begun) < LISTEN_WAIT_MAX,
            "nothing listens on {address} after {} s",
            LISTEN_WAIT_MAX.as_secs()
        );
        instance::pause();
    }
    Ok(())
}
