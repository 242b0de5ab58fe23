//! Reads the resource usage of a cell repeatedly.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use model::input::Throttling;
use model::quantity::Bytes;

use super::Version;
use super::cell::value;

/// More bytes than `memory.stat` has: some 40 lines in version 1 and 60 in version 2, of at most 30 bytes.
const TEXT_MAX: usize = 8 * 1024;

/// In version 2: microseconds spent, then the counters of throttling, of which the last is in microseconds, too.
const TIME_V2: [&str; 4] = ["usage_usec", "nr_periods", "nr_throttled", "throttled_usec"];

/// The counters of throttling in version 1; the last in nanoseconds.
const THROTTLING_V1: [&str; 3] = ["nr_periods", "nr_throttled", "throttled_time"];

/// The usage counters of a cell.
///
/// Their files are kept open: each is read twice a second for each replica, and looking up its name costs more than reading it.
#[derive(Debug)]
pub(crate) struct Meter {
    time: Time,
    memory: CounterFile,
    droppable: CounterFile,
    /// The name of the counter in it of the file pages that the kernel can drop at once.
    droppable_name: &'static str,
}

/// The counters of processor time and throttling.
#[derive(Debug)]
enum Time {
    V1 { spent: CounterFile, limited: Option<CounterFile> },
    V2(CounterFile),
}

/// What the processes of a life have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Processor time so far.
    pub(crate) cpu_time: Duration,
    /// Memory in use without file pages that the kernel can drop at once, as Kubernetes counts it.
    pub(crate) memory: Bytes,
    /// How a processor limit has throttled them; `None` before they have run under one.
    pub(crate) throttling: Option<Throttling>,
}

/// A file with counters.
#[derive(Debug)]
struct CounterFile(File);

impl Meter {
    /// Opens the counters of processor time, in `cpu`, and of memory, in `memory`; `None` when one of them cannot be opened.
    ///
    /// Version 1 counts throttling in a folder of its own, `limited`.
    pub(super) fn open(
        cpu: (&Path, Version),
        limited: Option<&Path>,
        memory: (&Path, Version),
    ) -> Option<Self> {
        let time = match cpu.1 {
            Version::V1 => Time::V1 {
                spent: CounterFile::open(cpu.0, "cpuacct.usage")?,
                limited: limited.and_then(|folder| CounterFile::open(folder, "cpu.stat")),
            },
            Version::V2 => Time::V2(CounterFile::open(cpu.0, "cpu.stat")?),
        };
        let (used, droppable_name) = match memory.1 {
            Version::V1 => ("memory.usage_in_bytes", "total_inactive_file"),
            Version::V2 => ("memory.current", "inactive_file"),
        };
        Some(Self {
            time,
            memory: CounterFile::open(memory.0, used)?,
            droppable: CounterFile::open(memory.0, "memory.stat")?,
            droppable_name,
        })
    }

    /// The usage so far; `None` once the cell is gone.
    pub(crate) fn read(&self) -> Option<Reading> {
        let (cpu_time, throttling) = self.time.read()?;
        let used = self.memory.number()?;
        let [droppable] = self.droppable.values([self.droppable_name]).unwrap_or_default();
        let memory = Bytes(used.saturating_sub(droppable.unwrap_or(0)));
        Some(Reading { cpu_time, memory, throttling })
    }
}

impl Time {
    fn read(&self) -> Option<(Duration, Option<Throttling>)> {
        match self {
            Self::V1 { spent, limited } => {
                let spent = Duration::from_nanos(spent.number()?);
                let limited = limited.as_ref().and_then(|counters| counters.values(THROTTLING_V1));
                Some((spent, limited.and_then(|counts| throttling(counts, Duration::from_nanos))))
            }
            Self::V2(account) => {
                let [spent, counts @ ..] = account.values(TIME_V2)?;
                Some((Duration::from_micros(spent?), throttling(counts, Duration::from_micros)))
            }
        }
    }
}

/// `None` before a period has passed under a limit.
fn throttling(
    [windows, throttled, waited]: [Option<u64>; 3],
    unit: fn(u64) -> Duration,
) -> Option<Throttling> {
    let windows = windows.filter(|windows| *windows > 0)?;
    Some(Throttling { windows, throttled: throttled?, waited: unit(waited?) })
}

impl CounterFile {
    fn open(folder: &Path, file: &str) -> Option<Self> {
        File::open(folder.join(file)).ok().map(Self)
    }

    /// The only number in the file.
    fn number(&self) -> Option<u64> {
        self.read(|text| text.trim_ascii_end().parse().ok())?
    }

    /// The numbers behind these names.
    fn values<const N: usize>(&self, names: [&str; N]) -> Option<[Option<u64>; N]> {
        self.read(|text| names.map(|name| value(text, name)))
    }

    fn read<T>(&self, parse: impl FnOnce(&str) -> T) -> Option<T> {
        let mut text = [0; TEXT_MAX];
        let length = self.0.read_at(&mut text, 0).ok()?;
        std::str::from_utf8(&text[..length]).ok().map(parse)
    }
}
