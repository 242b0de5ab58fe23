//! Calls of cargo, and the root of the workspace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// Set to 0 to compile without incremental state.
const INCREMENTAL: &str = "CARGO_INCREMENTAL";

/// The cargo profile of optimized binaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Compiles crate by crate; for the demo and the simulation.
    Release,
    /// Optimizes across crates, which takes minutes longer; for installed binaries and benchmarks.
    Dist,
}

impl Profile {
    /// Its name, which is also the name of its output folder.
    fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dist => "dist",
        }
    }
}

/// The root of the workspace: the parent of the folder of this crate.
///
/// Fixed when xtask is compiled, which `cargo xtask` does in the checkout in which it is called.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().expect("xtask lies in a folder of the workspace").to_path_buf()
}

/// The output folder of a profile; follows `CARGO_TARGET_DIR`.
pub(crate) fn optimized_dir(root: &Path, profile: Profile) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let folder = root.join(target).join(profile.name());
    // Canonical, so that it can be compared with /proc/PID/exe.
    folder.canonicalize().unwrap_or(folder)
}

/// The output folder of debug builds.
pub(crate) fn debug_dir(root: &Path) -> PathBuf {
    optimized_dir(root, Profile::Release).with_file_name("debug")
}

/// A call of the same cargo that runs xtask, in the root of the workspace.
///
/// The variables that cargo set for the package xtask are removed: some build scripts depend on them and would run again, with everything
/// that depends on their output, each time cargo is called directly in between.
///
/// A first build writes no incremental state, which would make it a quarter slower, unless the environment sets `CARGO_INCREMENTAL`.
pub(crate) fn command(root: &Path) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root);
    for (name, _value) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            command.env_remove(name);
        }
    }
    if std::env::var_os(INCREMENTAL).is_none() && is_first(&debug_dir(root).join("incremental")) {
        command.env(INCREMENTAL, "0");
    }
    command
}

/// Whether the folder of incremental state has no crate but xtask, which is always compiled first.
fn is_first(incremental: &Path) -> bool {
    let Ok(crates) = fs::read_dir(incremental) else { return true };
    crates.flatten().all(|entry| entry.file_name().to_string_lossy().starts_with("xtask-"))
}

/// Builds `packages` and runs the program of the last one with `arguments`.
///
/// It starts the programs of the others itself, from the same folder. Fails when the build fails or the program
/// does not succeed.
pub(crate) fn run_optimized(profile: Profile, packages: &[&str], arguments: &[String]) -> anyhow::Result<()> {
    let root = root();
    build_optimized(&root, profile, packages)?;
    let program = packages.last().context("no package to run was given")?;
    run(Command::new(optimized_dir(&root, profile).join(program)).args(arguments).current_dir(&root))
}

/// Builds `packages`.
pub(crate) fn build_optimized(root: &Path, profile: Profile, packages: &[&str]) -> anyhow::Result<()> {
    let mut call = command(root);
    call.args(["build", "--profile", profile.name()]);
    call.args(packages.iter().flat_map(|package| ["--package", package]));
    run(&mut call)
}

/// Runs a command that inherits stdout and stderr; fails, naming the command, unless it succeeds.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("could not start {}", command_line(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", command_line(command));
    }
    Ok(())
}

/// The command as it would be typed in a shell, without quoting.
pub(crate) fn command_line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program());
    std::iter::once(name)
        .chain(command.get_args())
        .map(|argument| argument.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_the_first_until_another_crate_than_xtask_was_built() {
        let incremental = tempfile::tempdir().expect("a folder");
        assert!(is_first(&incremental.path().join("nowhere")) && is_first(incremental.path()));

        fs::create_dir(incremental.path().join("xtask-0a1b2c")).expect("it can be created");
        assert!(is_first(incremental.path()));

        fs::create_dir(incremental.path().join("model-0a1b2c")).expect("it can be created");
        assert!(!is_first(incremental.path()));
    }

    #[test]
    fn variables_of_the_package_xtask_are_not_passed_on() {
        let call = command(&root());
        let removed: Vec<_> =
            call.get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
        // Set by cargo when it runs this test.
        assert!(removed.iter().any(|name| *name == "CARGO_MANIFEST_DIR"), "{removed:?}");
        assert!(removed.iter().any(|name| *name == "CARGO_PKG_NAME"), "{removed:?}");
        assert!(
            removed.iter().all(|name| *name != "CARGO_HOME" && *name != "CARGO_INCREMENTAL"),
            "{removed:?}"
        );
    }
}
