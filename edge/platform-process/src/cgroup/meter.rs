//! What a cell accounts, read again and again.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use model::quantity::Bytes;

use super::Version;

/// More than `memory.stat` has: some 40 lines of version 1 and 60 of version 2, of 30 bytes at most.
const TEXT_MAX: usize = 8 * 1024;

/// The files of a cell's accounts, kept open: looking their names up costs more than reading them, twice a second for each replica.
#[derive(Debug)]
pub(crate) struct Meter {
    time: Account,
    memory: Account,
    droppable: Account,
}

/// One number in a file.
#[derive(Debug)]
struct Account {
    file: File,
    /// The name that stands before it; the file is nothing but the number without.
    name: Option<&'static str>,
}

impl Meter {
    /// Opens the accounts of processor time, in `cpu`, and of memory, in `memory`; none when one of them cannot be opened.
    pub(super) fn open(cpu: (&Path, Version), memory: (&Path, Version)) -> Option<Self> {
        let time = match cpu.1 {
            Version::V1 => Account::open(cpu.0, "cpuacct.usage", None),
            Version::V2 => Account::open(cpu.0, "cpu.stat", Some("usage_usec")),
        };
        let (used, droppable) = match memory.1 {
            Version::V1 => ("memory.usage_in_bytes", "total_inactive_file"),
            Version::V2 => ("memory.current", "inactive_file"),
        };
        Some(Self {
            time: time?,
            memory: Account::open(memory.0, used, None)?,
            droppable: Account::open(memory.0, "memory.stat", Some(droppable))?,
        })
    }

    /// Processor time spent so far, and memory in use without file pages that the kernel can drop at once, as Kubernetes
    /// counts it; none once the cell is gone.
    pub(crate) fn read(&self) -> Option<(Duration, Bytes)> {
        let time = self.time.read()?;
        let time = match self.time.name {
            None => Duration::from_nanos(time),
            Some(_) => Duration::from_micros(time),
        };
        let used = self.memory.read()?;
        let droppable = self.droppable.read().unwrap_or(0);
        Some((time, Bytes(used.saturating_sub(droppable))))
    }
}

impl Account {
    fn open(folder: &Path, file: &str, name: Option<&'static str>) -> Option<Self> {
        File::open(folder.join(file)).ok().map(|file| Self { file, name })
    }

    fn read(&self) -> Option<u64> {
        let mut text = [0; TEXT_MAX];
        let length = self.file.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text[..length]).ok()?;
        match self.name {
            None => text.trim_ascii_end().parse().ok(),
            Some(name) => super::cell::value(text, name),
        }
    }
}
