//! `cargo xtask cgroup2`: the process platform on a kernel with control groups of version 2, whatever this machine has.
//!
//! The kernel is User Mode Linux: Linux as a program, which takes the folder tree of this machine as its own root. So what is built
//! here runs there, and it boots in a second.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use crate::needs::{self, Need};
use crate::{cargo, test::Done};

/// A kernel of 64-bit PCs, and none of the [needs](crate::needs) of other tests, as they do without.
const KERNEL: Need = Need {
    program: "linux.uml",
    package: "user-mode-linux",
    used_for: "being a kernel with control groups of version 2",
};

/// The first process of the guest.
const GUEST: &str = include_str!("cgroup2/guest.sh");

/// What a kernel of this kind lacks on the processors of today.
const EXTENDED_STATE: &str = include_str!("cgroup2/xstate.c");

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

/// Runs it where such a kernel can be had.
pub(crate) fn try_to_run() -> anyhow::Result<Done> {
    if let Err(error) = needs::provide_these(&[KERNEL]) {
        return Ok(Done::LeftOut(format!("{error:#}")));
    }
    let machine = Machine::prepare()?;
    let said = machine.boot(None, BOOT_MAX)?;
    let Some(kernel) = said.iter().find(|line| line.starts_with("cgroup2: Linux")) else {
        let last = said.last().map_or("nothing", String::as_str);
        return Ok(Done::LeftOut(format!("{} does not start here; it said: {last}", KERNEL.program)));
    };
    println!("      {kernel}");
    let said = machine.boot(Some(&test_program()?), TESTS_MAX)?;
    if !said.iter().any(|line| line == PASSED) {
        bail!("not all is well under control groups of version 2");
    }
    Ok(Done::Passed)
}

/// The integration tests of the process platform, built.
fn test_program() -> anyhow::Result<PathBuf> {
    let mut call = cargo::command(&cargo::root());
    call.args(["test", "--package", "platform-process", "--test", "it", "--no-run"]);
    let built = call.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit()).output()?;
    if !built.status.success() {
        bail!("the tests of the process platform do not compile");
    }
    let messages = String::from_utf8(built.stdout)?;
    let mut programs = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_it = message["target"]["name"] == "it";
        message["executable"].as_str().filter(|_| is_it).map(PathBuf::from)
    });
    programs.next_back().context("cargo did not say where the tests of the process platform are")
}

/// A machine that can be booted again and again.
struct Machine {
    /// Outside of the folders that the guest has of its own.
    folder: tempfile::TempDir,
}

impl Machine {
    fn prepare() -> anyhow::Result<Self> {
        let release = cargo::release_dir(&cargo::root());
        let target = release.parent().context("there is a folder around that of release")?;
        std::fs::create_dir_all(target)?;
        let machine = Self { folder: tempfile::Builder::new().prefix("cgroup2-").tempdir_in(target)? };
        std::fs::write(machine.init(), GUEST)?;
        std::fs::set_permissions(machine.init(), std::fs::Permissions::from_mode(0o755))?;
        let source = machine.folder.path().join("xstate.c");
        std::fs::write(&source, EXTENDED_STATE)?;
        let mut compile = Command::new("cc");
        cargo::run(compile.args(["-O2", "-shared", "-fPIC", "-o"]).args([machine.preloaded(), source]))?;
        Ok(machine)
    }

    fn init(&self) -> PathBuf {
        self.folder.path().join("guest.sh")
    }

    fn preloaded(&self) -> PathBuf {
        self.folder.path().join("xstate.so")
    }

    /// Boots it, with tests to run or none, and returns what it said once it is off. Says it at once when there are tests.
    fn boot(&self, tests: Option<&Path>, time: Duration) -> anyhow::Result<Vec<String>> {
        let mut call = Command::new(KERNEL.program);
        call.args("mem=768M rootfstype=hostfs rootflags=/ rw quiet loglevel=1 panic=-1".split(' '))
            .args("con=null con0=null,fd:1".split(' '))
            .arg(format!("init={}", self.init().display()))
            .arg(format!("uml_dir={}", self.folder.path().display()))
            .args(tests.map(|tests| format!("TESTS={}", tests.display())))
            .env("LD_PRELOAD", self.preloaded())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // With the processes that are those of the guest.
            .process_group(0);
        let mut kernel = call.spawn().with_context(|| format!("could not start {}", KERNEL.program))?;
        let group = i32::try_from(kernel.id()).ok().and_then(Pid::from_raw).context("it has a number")?;
        let (is_off, off) = channel::<()>();
        let watchdog = std::thread::spawn(move || {
            let is_late = off.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
            // It has not been waited for yet, so the number is its own.
            let _gone_already = kill_process_group(group, Signal::KILL);
            is_late
        });
        let mut said = Vec::new();
        let output = kernel.stdout.take().context("its output is a pipe")?;
        for line in BufReader::new(output).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).trim_end().to_owned();
            if tests.is_some() && !line.is_empty() {
                println!("      {line}");
            }
            said.push(line);
        }
        drop(is_off);
        let is_late = watchdog.join().expect("the watchdog does not panic");
        kernel.wait()?;
        if is_late && tests.is_some() {
            bail!("the guest was not done after {} s", time.as_secs());
        }
        Ok(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_says_at_last_that_it_passed_in_the_words_that_are_waited_for() {
        assert!(GUEST.contains(&format!("[ $failures -eq 0 ] && echo \"{PASSED}\"")));
    }
}
