//! Calls of cargo, and where the house stands.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// The root of the workspace: the folder above this crate's own.
///
/// Fixed when xtask is compiled, which `cargo xtask` does in the checkout it is called in.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().expect("xtask lies in a folder of the workspace").to_path_buf()
}

/// Where release binaries come to lie; follows `CARGO_TARGET_DIR`.
pub(crate) fn release_dir(root: &Path) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    root.join(target).join("release")
}

/// A call of the cargo that called us, standing in the root of the workspace.
pub(crate) fn command(root: &Path) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root);
    command
}

/// Builds `package` in release and runs it with `arguments`, as `cargo run` does.
///
/// Fails when the build fails or when the program ends with anything but success.
pub(crate) fn run_in_release(package: &str, arguments: &[String]) -> anyhow::Result<()> {
    let mut call = command(&root());
    call.args(["run", "--quiet", "--release", "--package", package, "--"]).args(arguments);
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
