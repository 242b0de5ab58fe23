//! Calls of cargo, and the root of the workspace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// Whether cargo keeps what a next build can go on from.
const INCREMENTAL: &str = "CARGO_INCREMENTAL";

/// How optimized binaries are compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Crate by crate: what the demo and the simulation run.
    Release,
    /// All crates as one, which takes minutes more: what is installed, and what benches measure.
    Dist,
}

impl Profile {
    /// Its name, which is that of its folder, too.
    fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dist => "dist",
        }
    }
}

/// The root of the workspace: the folder above this crate's own.
///
/// Fixed when xtask is compiled, which `cargo xtask` does in the checkout it is called in.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().expect("xtask lies in a folder of the workspace").to_path_buf()
}

/// Where the binaries of a profile come to lie; follows `CARGO_TARGET_DIR`.
pub(crate) fn optimized_dir(root: &Path, profile: Profile) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let folder = root.join(target).join(profile.name());
    // As the system names it, so that a running program can be recognised by its file.
    folder.canonicalize().unwrap_or(folder)
}

/// Where debug binaries come to lie.
pub(crate) fn debug_dir(root: &Path) -> PathBuf {
    optimized_dir(root, Profile::Release).with_file_name("debug")
}

/// A call of the cargo that called us, standing in the root of the workspace.
///
/// The variables that it set for our own package are removed: some build scripts would take it for a change, and be run again with all that follows
/// from them, whenever somebody calls cargo by hand in between.
///
/// A first build keeps nothing for a next one to go on from, which would cost it a quarter more, unless the environment says how it is to be.
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

/// Whether `kept`, where cargo keeps what a next build goes on from, has that of xtask alone, which was compiled to get here.
fn is_first(kept: &Path) -> bool {
    let Ok(crates) = fs::read_dir(kept) else { return true };
    crates.flatten().all(|one| one.file_name().to_string_lossy().starts_with("xtask-"))
}

/// Builds `packages` and runs the program of the last one with `arguments`.
///
/// Those before it are programs that it starts itself: they lie beside it. Fails when the build fails or when
/// the program ends with anything but success.
pub(crate) fn run_optimized(profile: Profile, packages: &[&str], arguments: &[String]) -> anyhow::Result<()> {
    let root = root();
    build_optimized(&root, profile, packages)?;
    let program = packages.last().context("there is nothing to run")?;
    run(Command::new(optimized_dir(&root, profile).join(program)).args(arguments).current_dir(&root))
}

/// Builds `packages`.
pub(crate) fn build_optimized(root: &Path, profile: Profile, packages: &[&str]) -> anyhow::Result<()> {
    let mut call = command(root);
    call.args(["build", "--profile", profile.name()]);
    call.args(packages.iter().flat_map(|package| ["--package", package]));
    run(&mut call)
}

/// Runs a command to its end with our own output; fails, naming it, unless it succeeds.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("could not start {}", spoken(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", spoken(command));
    }
    Ok(())
}

/// The command as one would type it.
pub(crate) fn spoken(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program());
    std::iter::once(name)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_the_first_until_another_crate_than_xtask_was_built() {
        let kept = tempfile::tempdir().expect("a folder");
        assert!(is_first(&kept.path().join("nowhere")) && is_first(kept.path()));

        fs::create_dir(kept.path().join("xtask-0a1b2c")).expect("it is ours");
        assert!(is_first(kept.path()));

        fs::create_dir(kept.path().join("model-0a1b2c")).expect("it is ours");
        assert!(!is_first(kept.path()));
    }

    #[test]
    fn variables_of_our_own_package_are_not_passed_on() {
        let call = command(&root());
        let taken: Vec<_> =
            call.get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
        // Set by whoever runs this test.
        assert!(taken.iter().any(|name| *name == "CARGO_MANIFEST_DIR"), "{taken:?}");
        assert!(taken.iter().any(|name| *name == "CARGO_PKG_NAME"), "{taken:?}");
        assert!(taken.iter().all(|name| *name != "CARGO_HOME" && *name != "CARGO_INCREMENTAL"), "{taken:?}");
    }
}
