//! The control groups of one life.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::quantity::{Bytes, MilliCpu};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::{Controller, Hierarchy, Meter, Version};
use crate::settings::CpuPolicy;

/// The most processes and threads of one replica: many times what servers use, and far below what would starve the machine
/// (`kernel.threads-max` is some 60,000 on 8 GB).
const TASKS_MAX: u32 = 16_384;

/// The period of a processor quota: the kernel's default.
const QUOTA_WINDOW: Duration = Duration::from_millis(100);

/// The most rounds of killing in a cell without `cgroup.kill`. `pids.max` is 0 by then, so each round leaves fewer processes; many rounds
/// are needed only in hierarchies without `pids`.
const KILL_ROUNDS_MAX: u32 = 100;

/// The limits of a cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) cpu: Option<MilliCpu>,
    pub(crate) policy: CpuPolicy,
    pub(crate) memory: Option<Bytes>,
}

/// The control groups of one life, one folder for each hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cell {
    folders: Vec<Folder>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Folder {
    path: PathBuf,
    version: Version,
    controllers: Vec<Controller>,
}

impl Cell {
    /// Creates the folders; removes them again when one fails.
    pub(super) fn make(hierarchies: &[Hierarchy], name: &str) -> io::Result<Self> {
        let folders = hierarchies.iter().map(|hierarchy| Folder {
            path: hierarchy.root.join(name),
            version: hierarchy.version,
            controllers: hierarchy.controllers.iter().copied().collect(),
        });
        let cell = Self { folders: folders.collect() };
        let make = |(hierarchy, folder): (&Hierarchy, &Folder)| match std::fs::create_dir(&folder.path) {
            // Another driver has removed the root because it was empty, as that of a driver that is gone.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                hierarchy.make_root()?;
                std::fs::create_dir(&folder.path)
            }
            made => made,
        };
        if let Err(error) = hierarchies.iter().zip(&cell.folders).try_for_each(make) {
            // The first error is more useful than one of the cleanup.
            let _ = cell.remove();
            return Err(error);
        }
        Ok(cell)
    }

    /// Renames the folders, for readability only; a folder that cannot be renamed keeps its name.
    pub(super) fn rename(&mut self, name: &str) {
        for folder in &mut self.folders {
            let named = folder.path.with_file_name(name);
            if std::fs::rename(&folder.path, &named).is_ok() {
                folder.path = named;
            }
        }
    }

    /// Writes the limits.
    pub(crate) fn limit(&self, limits: &Limits) -> io::Result<()> {
        self.folders.iter().try_for_each(|folder| folder.limit(limits))
    }

    /// The files through which a process enters, open for writing.
    pub(crate) fn procs_files(&self) -> io::Result<Vec<File>> {
        self.open_all("cgroup.procs")
    }

    /// The files through which a single thread enters, which version 1 has.
    pub(super) fn thread_procs_files(&self) -> io::Result<Vec<File>> {
        self.open_all("tasks")
    }

    fn open_all(&self, file: &str) -> io::Result<Vec<File>> {
        self.folders
            .iter()
            .map(|folder| OpenOptions::new().write(true).open(folder.path.join(file)))
            .collect()
    }

    /// Kills all processes in the cell, which may take a moment to leave it.
    pub(crate) fn kill(&self) {
        for folder in &self.folders {
            if folder.version == Version::V2 && write(&folder.path, "cgroup.kill", "1").is_ok() {
                return;
            }
        }
        if self.members().is_empty() {
            return;
        }
        if let Some(folder) = self.with(Controller::Pids) {
            // Optional: without it, more rounds are needed.
            let _ = write(&folder.path, "pids.max", "0");
        }
        for _ in 0..KILL_ROUNDS_MAX {
            let members = self.members();
            if members.is_empty() {
                return;
            }
            for pid in members {
                // Fails when the process is gone already.
                let _ = kill_process(pid, Signal::KILL);
            }
            std::thread::yield_now();
        }
    }

    /// The processes in the cell, including zombies but not this process, which may have a thread in it.
    pub(crate) fn members(&self) -> Vec<Pid> {
        let Some(folder) = self.folders.first() else { return Vec::new() };
        let Ok(text) = std::fs::read_to_string(folder.path.join("cgroup.procs")) else { return Vec::new() };
        let own = rustix::process::getpid();
        let members = text.lines().filter_map(|line| line.parse().ok().and_then(Pid::from_raw));
        members.filter(|member| *member != own).collect()
    }

    /// How many processes of the cell the out-of-memory killer has killed.
    pub(crate) fn out_of_memory_kills(&self) -> u64 {
        let Some(folder) = self.with(Controller::Memory) else { return 0 };
        let file = match folder.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        field(&folder.path.join(file), "oom_kill").unwrap_or(0)
    }

    /// Opens the usage counters of the cell; `None` unless it has both processor time and memory.
    pub(crate) fn meter(&self) -> Option<Meter> {
        let unified = || self.folders.iter().find(|folder| folder.version == Version::V2);
        let cpu = self.with(Controller::CpuAccounting).or_else(unified)?;
        let memory = self.with(Controller::Memory)?;
        let limited = self.with(Controller::Cpu).map(|folder| folder.path.as_path());
        Meter::open((&cpu.path, cpu.version), limited, (&memory.path, memory.version))
    }

    /// Removes the cell; fails while a process is in it. Removing it again does nothing.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let mut result = Ok(());
        for folder in &self.folders {
            match std::fs::remove_dir(&folder.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => result = Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        result
    }

    /// Its folders.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.folders.iter().map(|folder| folder.path.as_path())
    }

    fn with(&self, controller: Controller) -> Option<&Folder> {
        self.folders.iter().find(|folder| folder.controllers.contains(&controller))
    }
}

impl Folder {
    fn limit(&self, limits: &Limits) -> io::Result<()> {
        for controller in &self.controllers {
            match (controller, self.version) {
                (Controller::Cpu, _) => self.limit_cpu(limits)?,
                (Controller::Memory, _) => self.limit_memory(limits)?,
                (Controller::Pids, _) => write(&self.path, "pids.max", &TASKS_MAX.to_string())?,
                (Controller::CpuAccounting, _) => {}
            }
        }
        Ok(())
    }

    fn limit_cpu(&self, limits: &Limits) -> io::Result<()> {
        let Some(cpu) = limits.cpu else { return Ok(()) };
        let window_us = QUOTA_WINDOW.as_micros();
        // The kernel refuses less than 1 ms.
        let quota_us = (u128::from(cpu.0) * window_us / 1000).max(1000);
        match (limits.policy, self.version) {
            (CpuPolicy::Share, Version::V1) => write(&self.path, "cpu.shares", &shares(cpu).to_string()),
            (CpuPolicy::Share, Version::V2) => write(&self.path, "cpu.weight", &weight(cpu).to_string()),
            (CpuPolicy::Quota, Version::V1) => {
                write(&self.path, "cpu.cfs_period_us", &window_us.to_string())?;
                write(&self.path, "cpu.cfs_quota_us", &quota_us.to_string())
            }
            (CpuPolicy::Quota, Version::V2) => {
                write(&self.path, "cpu.max", &format!("{quota_us} {window_us}"))
            }
        }
    }

    fn limit_memory(&self, limits: &Limits) -> io::Result<()> {
        let Some(Bytes(memory)) = limits.memory else { return Ok(()) };
        let memory = memory.to_string();
        match self.version {
            Version::V1 => {
                let limit = || write(&self.path, "memory.limit_in_bytes", &memory);
                let with_swap = || write_if_there(&self.path, "memory.memsw.limit_in_bytes", &memory);
                match limit() {
                    // The limit that includes swap may never be the lower one: if it would be, it is raised first.
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                        with_swap()?;
                        limit()
                    }
                    Err(error) => Err(error),
                    Ok(()) => with_swap(),
                }
            }
            Version::V2 => {
                write(&self.path, "memory.max", &memory)?;
                write_if_there(&self.path, "memory.swap.max", "0")?;
                // A replica without some of its processes is useless, so all are killed together.
                write_if_there(&self.path, "memory.oom.group", "1")
            }
        }
    }
}

/// `cpu.shares` of version 1: 1024 a core, at least 2 (as in Kubernetes' MilliCPUToShares).
fn shares(cpu: MilliCpu) -> u64 {
    (cpu.0.saturating_mul(1024) / 1000).clamp(2, 262_144)
}

/// `cpu.weight` of version 2: 100 a core, at least 1 and at most 10,000.
///
/// A replica that declares nothing keeps the kernel's default, which is that of one core: 100, and 1024 in version 1.
fn weight(cpu: MilliCpu) -> u64 {
    (cpu.0 / 10).clamp(1, 10_000)
}

fn write(folder: &Path, file: &str, value: &str) -> io::Result<()> {
    let path = folder.join(file);
    // Not `fs::write`: it would create a missing file, which the kernel refuses with an error about permissions.
    let written =
        OpenOptions::new().write(true).open(&path).and_then(|mut file| file.write_all(value.as_bytes()));
    written.map_err(|error| io::Error::new(error.kind(), format!("{value} to {}: {error}", path.display())))
}

/// Writes to a file that some kernels do not have.
fn write_if_there(folder: &Path, file: &str, value: &str) -> io::Result<()> {
    match write(folder, file, value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The value behind `name` in a file of `name value` lines.
fn field(path: &Path, name: &str) -> Option<u64> {
    value(&std::fs::read_to_string(path).ok()?, name)
}

/// The value behind `name` in lines of `name value`.
pub(super) fn value(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use model::input::Throttling;

    use super::super::Reading;
    use super::*;

    #[test]
    fn shares_and_weights_are_proportional_to_declarations() {
        assert_eq!([1000, 250, 0].map(|milli| shares(MilliCpu(milli))), [1024, 256, 2]);
        assert_eq!([1000, 250, 150, 10, 0].map(|milli| weight(MilliCpu(milli))), [100, 25, 15, 1, 1]);
        assert_eq!(weight(MilliCpu(u64::MAX)), 10_000);
    }

    #[test]
    fn a_cell_is_created_even_if_its_root_was_removed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("homeostat/scope");
        let hierarchy = Hierarchy { version: Version::V1, root: root.clone(), controllers: BTreeSet::new() };
        let cell = Cell::make(&[hierarchy], "shop-0.1").unwrap();
        assert!(root.join("shop-0.1").is_dir());
        cell.remove().unwrap();
    }

    /// A cell of version 2 in a folder with these files, in place of the kernel's.
    fn fake_group(folder: &Path, files: &[(&str, &str)]) -> Cell {
        for (name, text) in files {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let controllers = vec![Controller::Cpu, Controller::Memory, Controller::Pids];
        Cell { folders: vec![Folder { path: folder.to_owned(), version: Version::V2, controllers }] }
    }

    fn text(folder: &Path, file: &str) -> String {
        std::fs::read_to_string(folder.join(file)).unwrap()
    }

    /// The files of a kernel with all features.
    const FILES: [(&str, &str); 6] = [
        ("cpu.max", ""),
        ("cpu.weight", ""),
        ("memory.max", ""),
        ("memory.swap.max", ""),
        ("memory.oom.group", ""),
        ("pids.max", ""),
    ];

    #[test]
    fn limits_are_written_to_the_files_of_version_2() {
        let folder = tempfile::tempdir().unwrap();
        let cell = fake_group(folder.path(), &FILES);
        let limits = |policy| Limits { cpu: Some(MilliCpu(250)), policy, memory: Some(Bytes(64 << 20)) };
        let written = || FILES.map(|(file, _)| text(folder.path(), file));
        cell.limit(&limits(CpuPolicy::Quota)).unwrap();
        assert_eq!(written(), ["25000 100000", "", "67108864", "0", "1", "16384"]);
        cell.limit(&limits(CpuPolicy::Share)).unwrap();
        assert_eq!(written()[1], "25");
    }

    #[test]
    fn a_kernel_that_does_not_limit_swap_limits_memory() {
        let folder = tempfile::tempdir().unwrap();
        let cell = fake_group(folder.path(), &[("memory.max", ""), ("pids.max", "")]);
        let limits = Limits { cpu: None, policy: CpuPolicy::Share, memory: Some(Bytes(1 << 20)) };
        cell.limit(&limits).unwrap();
        assert_eq!(text(folder.path(), "memory.max"), "1048576");
        assert!(!folder.path().join("memory.swap.max").exists(), "it must not be created");
    }

    #[test]
    fn the_counters_of_version_2_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let time = "usage_usec 1970000\nuser_usec 1900000\nsystem_usec 70000\n";
        let limited = format!("{time}nr_periods 99\nnr_throttled 90\nthrottled_usec 5678\nnr_bursts 0\n");
        let cell = fake_group(
            folder.path(),
            &[
                ("cpu.stat", &limited),
                ("memory.current", "5738496\n"),
                (
                    "memory.stat",
                    "anon 4096\nfile 8192\ninactive_anon 1\ninactive_file 738496\nactive_file 7\n",
                ),
                ("memory.events", "low 0\nhigh 0\nmax 31\noom 1\noom_kill 2\noom_group_kill 1\n"),
            ],
        );
        let read = cell.meter().and_then(|meter| meter.read());
        let (cpu_time, memory) = (Duration::from_millis(1970), Bytes(5_000_000));
        let throttling = Throttling { windows: 99, throttled: 90, waited: Duration::from_micros(5678) };
        assert_eq!(read, Some(Reading { cpu_time, memory, throttling: Some(throttling) }));
        for unlimited in [time, &format!("{time}nr_periods 0\nnr_throttled 0\nthrottled_usec 0\n")] {
            std::fs::write(folder.path().join("cpu.stat"), unlimited).unwrap();
            let read = cell.meter().and_then(|meter| meter.read());
            assert_eq!(read, Some(Reading { cpu_time, memory, throttling: None }));
        }
        assert_eq!(cell.out_of_memory_kills(), 2);
    }
}
