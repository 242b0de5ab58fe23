//! What the tests need from the machine besides Rust, and how it gets there.

use std::path::Path;
use std::process::Command;

use anyhow::bail;

use crate::cargo;

/// A program that is called and that a fresh machine may lack.
pub(crate) struct Need {
    pub(crate) program: &'static str,
    /// The package of Debian that has it.
    pub(crate) package: &'static str,
    pub(crate) used_for: &'static str,
}

/// What is called, by tests or by xtask; `cargo xtask tidy needs` fails when a test calls something else.
const NEEDS: &[Need] = &[
    Need { program: "nginx", package: "nginx", used_for: "being a balancer of somebody else" },
    Need { program: "haproxy", package: "haproxy", used_for: "being a balancer of somebody else" },
    Need { program: "git", package: "git", used_for: "telling tidy which files belong to the house" },
    Need { program: "c++", package: "g++", used_for: "compiling libFuzzer, which is written in it" },
    Need {
        program: "curl",
        package: "curl",
        used_for: "asking the proxy over TLS and HTTP/2 as a user would",
    },
    Need {
        program: "prometheus",
        package: "prometheus",
        used_for: "answering PromQL about a page that it has scraped",
    },
    Need {
        program: "redis-server",
        package: "redis-server",
        used_for: "keeping queues whose length is measured",
    },
    Need { program: "redis-cli", package: "redis-tools", used_for: "filling and draining queues in Redis" },
    // Debian keeps the server itself beside its version and not on PATH; this one comes with it.
    Need {
        program: "pg_ctlcluster",
        package: "postgresql",
        used_for: "having a PostgreSQL that answers queries for a number",
    },
    Need { program: "psql", package: "postgresql-client", used_for: "filling tables of PostgreSQL" },
    Need {
        program: "pebble",
        package: "pebble",
        used_for: "being an authority that certificates are asked of by ACME",
    },
    Need {
        program: "pebble-challtestsrv",
        package: "pebble",
        used_for: "telling that authority where the hosts of a test are",
    },
    Need { program: "promtool", package: "prometheus", used_for: "giving a Prometheus a history of weeks" },
];

/// Programs of packages that every Debian has (those marked essential), of which tests may call these.
const ALWAYS_THERE: &[&str] =
    &["bash", "cat", "cp", "dd", "env", "false", "sh", "sleep", "tail", "true", "unshare", "yes"];

/// Whether a test may call a program: it is on every machine, or provided here.
pub(crate) fn is_provided(program: &str) -> bool {
    ALWAYS_THERE.contains(&program) || NEEDS.iter().any(|need| need.program == program)
}

/// Makes sure that every program the tests call is there; says what it installs and why.
///
/// Installs with apt-get, as root only. Fails with the command to type when it may not or cannot.
pub(crate) fn provide() -> anyhow::Result<()> {
    provide_these(NEEDS)
}

/// The same for some other programs.
pub(crate) fn provide_these(needs: &[Need]) -> anyhow::Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !is_on_path(need.program)).collect();
    for need in needs {
        let state = if is_on_path(need.program) { "is there" } else { "is missing" };
        println!("      {:<8} {state:<10} {}", need.program, need.used_for);
    }
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    let typed = format!("apt-get install {}", packages.join(" "));
    if !rustix::process::geteuid().is_root() || !is_on_path("apt-get") {
        bail!("the tests need programs that are not here, and only root on Debian can install them: {typed}");
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

/// Whether a program of that name lies on `PATH`.
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
