//! `cargo xtask cgroup2`: the process platform on a kernel with control groups of version 2, whatever this machine has.
//!
//! The kernel is User Mode Linux: Linux as a program, which uses the file system of this machine as its own root. So it runs what was
//! built here, and it boots in a second.

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

use crate::needs::{self, Need};
use crate::{cargo, cargo::Profile, test::Done};

/// A kernel of 64-bit PCs, and none of the [needs] of other tests, as they do without.
const KERNEL: Need = Need {
    program: "linux.uml",
    package: "user-mode-linux",
    used_for: "being a kernel with control groups of version 2",
};

/// The first process of a guest with the tests.
const TESTS: Guest = Guest { name: "tests.sh", text: include_str!("cgroup2/tests.sh") };

/// The first process of a guest with systemd, and what looks after the unit there.
const UNIT: Guest = Guest { name: "unit.sh", text: include_str!("cgroup2/unit.sh") };

/// What a kernel of this kind lacks on the processors of today.
const EXTENDED_STATE: &str = include_str!("cgroup2/xstate.c");

/// Of the crate whose tests are run.
const MANIFEST: &str = "edge/platform-process/Cargo.toml";

/// For a boot that only says what the kernel can do, which takes a second.
const BOOT_MAX: Duration = Duration::from_secs(30);

/// For all tests, which take a minute on an idle machine.
const TESTS_MAX: Duration = Duration::from_mins(5);

/// What the guest says last when everything was as it should be.
const PASSED: &str = "cgroup2: passed";

/// Runs it; fails, too, where no such kernel can be had.
pub(crate) fn run() -> anyhow::Result<()> {
    match try_to_run()? {
        Done::Passed => Ok(()),
        Done::PassedWithout(why) | Done::LeftOut(why) => bail!(why),
    }
}

/// Runs it where such a kernel can be had, and the part with systemd where that starts on it.
pub(crate) fn try_to_run() -> anyhow::Result<Done> {
    if let Err(error) = needs::provide_these(&[KERNEL]) {
        return Ok(Done::LeftOut(format!("{error:#}")));
    }
    let machine = Machine::prepare()?;
    let trial = Boot { guest: TESTS, kernel_arguments: Vec::new(), time: BOOT_MAX, is_echoed: false };
    let result = machine.boot(&trial)?.unwrap_or_default();
    let Some(kernel) = result.iter().find(|line| line.starts_with("cgroup2: Linux")) else {
        let last = result.last().map_or("nothing", String::as_str);
        return Ok(Done::LeftOut(format!("{} does not start here; it said: {last}", KERNEL.program)));
    };
    println!("      {kernel}");
    let kernel_arguments = vec![format!("TESTS={}", test_program()?.display())];
    let tests = Boot { guest: TESTS, kernel_arguments, time: TESTS_MAX, is_echoed: true };
    let Some(result) = machine.boot(&tests)? else { return Ok(Done::LeftOut(too_slow())) };
    if !has_passed(&result) {
        bail!("not all is well under control groups of version 2");
    }
    let kernel_arguments = vec![
        format!("HOMEOSTAT={}", homeostat().display()),
        format!("SHARED={}", machine.folder.path().display()),
    ];
    let unit = Boot { guest: UNIT, kernel_arguments, time: TESTS_MAX, is_echoed: true };
    let Some(result) = machine.boot(&unit)? else { return Ok(Done::PassedWithout(too_slow())) };
    if !result.iter().any(|line| line.starts_with("cgroup2: systemd")) {
        return Ok(Done::PassedWithout("no systemd starts on this kernel, so no unit was tried".to_owned()));
    }
    if !has_passed(&result) {
        bail!("not all is well with the unit of docs/operating.md");
    }
    Ok(Done::Passed)
}

fn too_slow() -> String {
    format!(
        "the kernel was not done within {} s, which it is in one or two minutes on an idle machine",
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
    Ok(unit.context("docs/operating.md has no unit")?.0.to_owned())
}

/// Homeostat, as it was built with its tests.
fn homeostat() -> PathBuf {
    cargo::debug_dir(&cargo::root()).join("homeostat")
}

/// The integration tests of the process platform, built with all others.
fn test_program() -> anyhow::Result<PathBuf> {
    let mut call = cargo::command(&cargo::root());
    // Of the whole workspace: those are mostly there, and a package by itself has its parts compiled anew, with fewer features.
    call.args(["test", "--workspace", "--tests", "--no-run"]);
    let built = call.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit()).output()?;
    if !built.status.success() {
        bail!("the tests of the process platform do not compile");
    }
    let messages = String::from_utf8(built.stdout)?;
    let mut programs = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_it = message["target"]["name"] == "it"
            && message["manifest_path"].as_str().is_some_and(|path| path.ends_with(MANIFEST));
        message["executable"].as_str().filter(|_| is_it).map(PathBuf::from)
    });
    programs.next_back().context("cargo did not say where the tests of the process platform are")
}

/// The script that is the first process of a guest.
#[derive(Clone, Copy)]
struct Guest {
    name: &'static str,
    text: &'static str,
}

/// How the machine is booted.
struct Boot {
    guest: Guest,
    /// The arguments on the command line of its kernel.
    kernel_arguments: Vec<String>,
    time: Duration,
    /// Whether its output is passed on at once.
    is_echoed: bool,
}

/// A machine that can be booted again and again.
struct Machine {
    /// Outside of the folders that the guest has of its own.
    folder: tempfile::TempDir,
}

impl Machine {
    fn prepare() -> anyhow::Result<Self> {
        let release = cargo::optimized_dir(&cargo::root(), Profile::Release);
        let target = release.parent().context("there is a folder around that of release")?;
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

    /// Boots it and returns what it said, once it is off; `None` when it was not off in time.
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
            // With the processes that are those of the guest.
            .process_group(0);
        let mut kernel = call.spawn().with_context(|| format!("could not start {}", KERNEL.program))?;
        let group = i32::try_from(kernel.id()).ok().and_then(Pid::from_raw).context("it has a number")?;
        let (is_off, off) = channel::<()>();
        let time = boot.time;
        let watchdog = std::thread::spawn(move || {
            let is_late = off.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
            // It has not been waited for yet, so the number is its own.
            let _gone_already = kill_process_group(group, Signal::KILL);
            is_late
        });
        let mut result = Vec::new();
        let output = kernel.stdout.take().context("its output is a pipe")?;
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
        let unit = unit().expect("the page has one");
        assert!(
            unit.contains("ExecStart=/usr/local/bin/homeostat up ") && unit.contains("KillMode=process"),
            "{unit}"
        );
    }
}
