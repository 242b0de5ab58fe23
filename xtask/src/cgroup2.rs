//! `cargo xtask cgroup2`: tests the process platform on a kernel with control groups of version 2, independent of the kernel of this
//! machine.
//!
//! The kernel is User Mode Linux: Linux as a program, with the file system of this machine as its root. So it runs the programs built
//! here, and boots in a second.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use crate::needs::{self, Tool};
use crate::{cargo, cargo::Profile, test::Done};

/// A kernel for x86-64. Not among the [needs] of all tests, since only this step uses it.
const KERNEL: Tool = Tool {
    program: "linux.uml",
    package: "user-mode-linux",
    used_for: "running a kernel with control groups of version 2",
};

/// The first process of a guest with the tests.
const TESTS: Guest = Guest { name: "tests.sh", text: include_str!("cgroup2/tests.sh") };

/// The first process of a guest with systemd, and the check of the unit.
const UNIT: Guest = Guest { name: "unit.sh", text: include_str!("cgroup2/unit.sh") };

/// A library that lets User Mode Linux run on processors with more extended state than it knows; its source has the details.
const EXTENDED_STATE: &str = include_str!("cgroup2/xstate.c");

/// The manifest of the crate whose tests are run.
const MANIFEST: &str = "edge/platform-process/Cargo.toml";

/// Limit of a boot that only prints what the kernel supports, which takes a second.
const BOOT_MAX: Duration = Duration::from_secs(30);

/// Limit of all tests, which take a minute on an idle machine.
const TESTS_MAX: Duration = Duration::from_mins(5);

/// The last line of the guest when everything has passed.
const PASSED: &str = "cgroup2: passed";

/// Runs the tests; fails if the kernel cannot be installed or does not start.
pub(crate) fn run() -> anyhow::Result<()> {
    match try_to_run()? {
        Done::Passed => Ok(()),
        Done::PassedInPart(why) | Done::Skipped(why) => bail!(why),
    }
}

/// Runs the tests if the kernel can be installed and starts, and the part with systemd if that starts too.
pub(crate) fn try_to_run() -> anyhow::Result<Done> {
    if let Err(error) = needs::provide_tools(&[KERNEL]) {
        return Ok(Done::Skipped(format!("{error:#}")));
    }
    let machine = Machine::prepare()?;
    let trial = Boot { guest: TESTS, kernel_arguments: Vec::new(), time: BOOT_MAX, is_echoed: false };
    let result = machine.boot(&trial)?.unwrap_or_default();
    let Some(kernel) = result.iter().find(|line| line.starts_with("cgroup2: Linux")) else {
        let last = result.last().map_or("nothing", String::as_str);
        return Ok(Done::Skipped(format!(
            "{} does not start on this machine; its last output: {last}",
            KERNEL.program
        )));
    };
    println!("      {kernel}");
    let kernel_arguments = vec![format!("TESTS={}", test_program()?.display())];
    let tests = Boot { guest: TESTS, kernel_arguments, time: TESTS_MAX, is_echoed: true };
    let Some(result) = machine.boot(&tests)? else { return Ok(Done::Skipped(too_slow())) };
    if !has_passed(&result) {
        bail!("tests failed with control groups of version 2; the lines above name them");
    }
    let kernel_arguments = vec![
        format!("HOMEOSTAT={}", homeostat().display()),
        format!("SHARED={}", machine.folder.path().display()),
    ];
    let unit = Boot { guest: UNIT, kernel_arguments, time: TESTS_MAX, is_echoed: true };
    let Some(result) = machine.boot(&unit)? else { return Ok(Done::PassedInPart(too_slow())) };
    if !result.iter().any(|line| line.starts_with("cgroup2: systemd")) {
        return Ok(Done::PassedInPart(
            "systemd does not start on this kernel, so the unit was not tested".to_owned(),
        ));
    }
    if !has_passed(&result) {
        bail!("the unit of docs/operating.md failed its tests; the lines above name them");
    }
    Ok(Done::Passed)
}

fn too_slow() -> String {
    format!(
        "the tests in the kernel did not end within {} s; on an idle machine they take one or two minutes",
        TESTS_MAX.as_secs()
    )
}

fn has_passed(result: &[String]) -> bool {
    result.iter().any(|line| line == PASSED)
}

/// The unit for systemd of docs/operating.md.
fn unit() -> anyhow::Result<String> {
    let path = cargo::root().join("docs/operating.md");
    let page =
        std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
    let unit = page.split_once("```ini\n").and_then(|(_, rest)| rest.split_once("```"));
    Ok(unit.context("docs/operating.md has no block ```ini with the unit")?.0.to_owned())
}

/// The debug build of Homeostat.
fn homeostat() -> PathBuf {
    cargo::debug_dir(&cargo::root()).join("homeostat")
}

/// Builds the integration tests of the process platform, and returns their program.
fn test_program() -> anyhow::Result<PathBuf> {
    let mut call = cargo::command(&cargo::root());
    // Of the whole workspace, which is mostly built already; a single package would be compiled again with fewer features.
    call.args(["test", "--workspace", "--tests", "--no-run"]);
    let built = call.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit()).output()?;
    if !built.status.success() {
        bail!("the tests of the process platform do not compile");
    }
    let messages = String::from_utf8(built.stdout)?;
    let mut programs = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_test_program = message["target"]["name"] == "it"
            && message["manifest_path"].as_str().is_some_and(|path| path.ends_with(MANIFEST));
        message["executable"].as_str().filter(|_| is_test_program).map(PathBuf::from)
    });
    programs.next_back().context("cargo did not report the program of the tests of the process platform")
}

/// The script that is the first process of a guest.
#[derive(Clone, Copy)]
struct Guest {
    name: &'static str,
    text: &'static str,
}

/// The parameters of a boot.
struct Boot {
    guest: Guest,
    /// The arguments on the command line of its kernel.
    kernel_arguments: Vec<String>,
    time: Duration,
    /// Whether its output is printed.
    is_echoed: bool,
}

/// A virtual machine that can be booted repeatedly.
struct Machine {
    /// Outside of the folders over which the guest mounts its own.
    folder: tempfile::TempDir,
}

impl Machine {
    fn prepare() -> anyhow::Result<Self> {
        let release = cargo::optimized_dir(&cargo::root(), Profile::Release);
        let target = release.parent().context("the release folder has a parent")?;
        std::fs::create_dir_all(target)?;
        let machine = Self { folder: tempfile::Builder::new().prefix("cgroup2-").tempdir_in(target)? };
        for guest in [TESTS, UNIT] {
            let path = machine.folder.path().join(guest.name);
            std::fs::write(&path, guest.text)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        }
        std::fs::write(machine.folder.path().join("homeostat.service"), unit()?)?;
        let source = machine.folder.path().join("xstate.c");
        std::fs::write(&source, EXTENDED_STATE)?;
        let mut compile = Command::new("cc");
        cargo::run(compile.args(["-O2", "-shared", "-fPIC", "-o"]).args([machine.preloaded(), source]))?;
        Ok(machine)
    }

    fn preloaded(&self) -> PathBuf {
        self.folder.path().join("xstate.so")
    }

    /// Boots it and returns its output when it is off; `None` if it was not off in time.
    fn boot(&self, boot: &Boot) -> anyhow::Result<Option<Vec<String>>> {
        let mut call = Command::new(KERNEL.program);
        call.args("mem=768M rootfstype=hostfs rootflags=/ rw quiet loglevel=1 panic=-1".split(' '))
            .args("con=null con0=null,fd:1".split(' '))
            .arg(format!("init={}", self.folder.path().join(boot.guest.name).display()))
            .arg(format!("uml_dir={}", self.folder.path().display()))
            .args(&boot.kernel_arguments)
            .env("LD_PRELOAD", self.preloaded())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Its processes of the guest are in the same group.
            .process_group(0);
        let mut kernel = call.spawn().with_context(|| format!("could not start {}", KERNEL.program))?;
        let group =
            i32::try_from(kernel.id()).ok().and_then(Pid::from_raw).context("the process has an id")?;
        let (is_off, off) = channel::<()>();
        let time = boot.time;
        let watchdog = std::thread::spawn(move || {
            let is_late = off.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
            // It has not been waited for yet, so its id cannot be reused.
            let _is_gone_already = kill_process_group(group, Signal::KILL);
            is_late
        });
        let mut result = Vec::new();
        let output = kernel.stdout.take().context("its stdout is a pipe")?;
        for line in BufReader::new(output).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).trim_end().to_owned();
            if boot.is_echoed && !line.is_empty() {
                println!("      {line}");
            }
            result.push(line);
        }
        drop(is_off);
        let is_late = watchdog.join().expect("the watchdog does not panic");
        kernel.wait()?;
        Ok((!is_late).then_some(result))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guests_print_the_success_line_that_is_expected() {
        let last = format!("[ $failures -eq 0 ] && echo \"{PASSED}\"");
        assert!([TESTS, UNIT].iter().all(|guest| guest.text.contains(&last)));
    }

    #[test]
    fn the_tested_unit_file_is_the_documented_one() {
        let unit = unit().expect("the page has a unit");
        assert!(
            unit.contains("ExecStart=/usr/local/bin/homeostat up ") && unit.contains("KillMode=process"),
            "{unit}"
        );
    }
}
