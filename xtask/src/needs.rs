//! The programs that tests need on the machine besides Rust, and their installation.

use std::path::Path;
use std::process::Command;

use anyhow::bail;

use crate::cargo;

/// A program that a new machine may lack.
pub(crate) struct Tool {
    pub(crate) program: &'static str,
    /// The Debian package that contains it.
    pub(crate) package: &'static str,
    pub(crate) used_for: &'static str,
}

/// The programs called by tests or by xtask; `cargo xtask tidy needs` fails when a test calls another one.
const TOOLS: &[Tool] = &[
    Tool { program: "nginx", package: "nginx", used_for: "balancing requests as an external load balancer" },
    Tool {
        program: "haproxy",
        package: "haproxy",
        used_for: "balancing requests as an external load balancer",
    },
    Tool { program: "git", package: "git", used_for: "listing the files of the workspace for tidy" },
    Tool { program: "c++", package: "g++", used_for: "compiling libFuzzer" },
    Tool { program: "curl", package: "curl", used_for: "sending requests over TLS and HTTP/2 to the proxy" },
    Tool {
        program: "prometheus",
        package: "prometheus",
        used_for: "answering PromQL queries about scraped metrics",
    },
    Tool {
        program: "redis-server",
        package: "redis-server",
        used_for: "keeping queues whose length is a metric",
    },
    Tool { program: "redis-cli", package: "redis-tools", used_for: "filling and draining queues in Redis" },
    // Debian installs the server in a folder of its version, not on PATH; this program comes with it.
    Tool {
        program: "pg_ctlcluster",
        package: "postgresql",
        used_for: "running a PostgreSQL that answers queries of metric sources",
    },
    Tool { program: "psql", package: "postgresql-client", used_for: "filling tables of PostgreSQL" },
    Tool { program: "pebble", package: "pebble", used_for: "issuing certificates by ACME" },
    Tool {
        program: "pebble-challtestsrv",
        package: "pebble",
        used_for: "resolving the hosts of a test for the ACME server",
    },
    Tool { program: "promtool", package: "prometheus", used_for: "giving Prometheus weeks of history" },
];

/// Programs of essential Debian packages that tests may call.
const ESSENTIAL: &[&str] =
    &["bash", "cat", "cp", "dd", "env", "false", "nsenter", "sh", "sleep", "tail", "true", "unshare", "yes"];

/// Whether a test may call a program: it is essential or installed by [`provide`].
pub(crate) fn is_provided(program: &str) -> bool {
    ESSENTIAL.contains(&program) || TOOLS.iter().any(|tool| tool.program == program)
}

/// Makes sure that every program of the tests is installed; prints what it installs and why.
///
/// Installs with apt-get, as root only. Otherwise it fails with the command to type.
pub(crate) fn provide() -> anyhow::Result<()> {
    provide_tools(TOOLS)
}

/// The same for the given programs.
pub(crate) fn provide_tools(tools: &[Tool]) -> anyhow::Result<()> {
    let missing: Vec<&Tool> = tools.iter().filter(|tool| !is_on_path(tool.program)).collect();
    for tool in tools {
        let state = if is_on_path(tool.program) { "found" } else { "missing" };
        println!("      {:<8} {state:<10} {}", tool.program, tool.used_for);
    }
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    let command = format!("apt-get install {}", packages.join(" "));
    if !rustix::process::geteuid().is_root() || !is_on_path("apt-get") {
        bail!(
            "the tests need programs that are missing, and only root on Debian can install them: {command}"
        );
    }
    println!("      installing {} with apt-get", packages.join(" "));
    let apt = |arguments: &[&str]| {
        let mut call = Command::new("apt-get");
        call.env("DEBIAN_FRONTEND", "noninteractive").args(["-qq", "-y"]).args(arguments);
        cargo::run(&mut call)
    };
    apt(&["update"])?;
    apt(&[&["install", "--no-install-recommends"], packages.as_slice()].concat())
}

/// Whether a program of that name is on `PATH`.
pub(crate) fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| is_program(&folder.join(program)))
}

fn is_program(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_on_the_path_and_an_unknown_one_is_not() {
        assert!(is_on_path("sh"));
        assert!(!is_on_path("no-such-program-here"));
    }
}
