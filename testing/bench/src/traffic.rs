//! Benches of the data plane compared with nginx and HAProxy as packaged by Debian, on the same cores and in the same minutes.

mod backend;
mod certificate;
mod client;
mod h2load;
mod peer;
mod wrk;

pub(crate) mod connections;
pub(crate) mod proxy;
pub(crate) mod unequal;
pub(crate) mod zero_loss;

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::instance;

/// The peers and the clients, at Debian's paths, and their packages. Without them a bench is not run: no test needs them.
const TOOLS: [(&str, &str); 4] = [
    (peer::NGINX, "nginx-light"),
    (peer::HAPROXY, "haproxy"),
    (wrk::WRK, "wrk"),
    (h2load::H2LOAD, "nghttp2-client"),
];
const APT_GET: &str = "/usr/bin/apt-get";

/// Replicas behind the proxies where failures and unequal speeds are measured.
const REPLICAS: usize = 4;

/// Checks that all programs are installed; as root, installs those that are missing.
fn ensure_tools() -> anyhow::Result<()> {
    let missing =
        || TOOLS.iter().filter(|(program, _)| !Path::new(program).is_file()).map(|(_, package)| *package);
    if missing().next().is_some() && rustix::process::getuid().is_root() {
        eprintln!("installing {} from the distribution", missing().collect::<Vec<_>>().join(" and "));
        let mut call = Command::new(APT_GET);
        call.args(["install", "-y", "--no-install-recommends"]).args(missing());
        // At this runlevel Debian installs a server without starting it.
        call.env("RUNLEVEL", "1").env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        call.stdout(Stdio::null()).status().context("could not start apt-get")?;
    }
    let still = missing().collect::<Vec<_>>().join(" ");
    ensure!(still.is_empty(), "required programs are missing; install them: apt-get install {still}");
    Ok(())
}

/// A service whose replicas answer `ok`, with these arguments for each and this `expose`.
fn service(folder: &Path, arguments: &[&str], expose: &Value) -> anyhow::Result<Value> {
    let bench = instance::program("bench")?.display().to_string();
    let mut command = vec![bench, "replica".to_owned(), "--port".to_owned(), "$(PORT_HTTP)".to_owned()];
    command.extend(arguments.iter().map(|word| (*word).to_owned()));
    Ok(json!({
        "apiVersion": "homeostat/v1",
        "kind": "Service",
        "metadata": {"name": SERVICE},
        "spec": {
            "run": {"command": command, "workingDirectory": folder},
            "resources": {"cpu": "50m", "memory": "64Mi"},
            "ports": [{"name": "http", "protocol": "http"}],
            "probes": {"readiness": {"http": {"path": "/healthz"}, "every": "500ms"}},
            "scale": {"replicas": REPLICAS},
            "expose": expose,
        },
    }))
}

/// The name of the service.
const SERVICE: &str = "backend";
