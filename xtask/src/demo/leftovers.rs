//! Ends the replicas that remain when Homeostat has ended; they are meant to outlive it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

/// The processes of a program that ran before the demo, to find those that remain after it.
pub(super) struct Leftovers {
    program: PathBuf,
    before: BTreeSet<i32>,
}

impl Leftovers {
    /// Records the running processes of `program`, an absolute path.
    pub(super) fn of(program: &Path) -> Self {
        Self { program: program.to_path_buf(), before: processes_of(program) }
    }

    /// Kills every process of the program that started later; returns their number.
    pub(super) fn end(&self) -> usize {
        let now = processes_of(&self.program);
        let left: Vec<Pid> = now.difference(&self.before).filter_map(|pid| Pid::from_raw(*pid)).collect();
        for pid in &left {
            // Fails when it has ended already.
            let _ = kill_process(*pid, Signal::KILL);
        }
        left.len()
    }
}

/// Processes whose executable is that file; those of other users cannot be inspected and are skipped.
fn processes_of(program: &Path) -> BTreeSet<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|file| file == program))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn only_processes_that_were_started_later_are_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().canonicalize().expect("it is there").join("sleeper");
        // Copied by another process: a child forked by this process while the file is open for writing would keep
        // it busy.
        let copied = Command::new("cp").arg("/bin/sleep").arg(&program).status().expect("cp is installed");
        assert!(copied.success());
        let start = || Command::new(&program).arg("60").spawn().expect("it is a program");
        let mut before = start();
        let leftovers = Leftovers::of(&program);
        let mut after = start();

        assert_eq!(leftovers.end(), 1);
        assert!(!after.wait().expect("it is ours").success());
        assert!(before.try_wait().expect("it is ours").is_none());
        before.kill().expect("it runs");
        before.wait().expect("it is ours");
    }
}
