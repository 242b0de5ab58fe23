//! Reads processes from `/proc`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::time::Duration;

use procfs::process::{Process, all_processes};

use crate::cgroup::Reading;
use crate::record::ProcessRecord;

/// The variable that marks every process of a life.
pub(crate) const LIFE_VARIABLE: &str = "HOMEOSTAT_LIFE";

/// The name of this boot of the machine.
pub(crate) fn boot_id() -> io::Result<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned())
}

/// The process that has `pid` now; none when there is none.
pub(crate) fn identify(pid: u32) -> Option<ProcessRecord> {
    let stat = Process::new(i32::try_from(pid).ok()?).ok()?.stat().ok()?;
    Some(ProcessRecord { pid, start_ticks: stat.starttime })
}

/// The first of these processes that leads a session: of a cell, its main process.
pub(crate) fn session_leader(pids: impl IntoIterator<Item = i32>) -> Option<ProcessRecord> {
    pids.into_iter().find_map(|pid| {
        let stat = Process::new(pid).ok()?.stat().ok()?;
        (stat.session == pid)
            .then_some(ProcessRecord { pid: u32::try_from(pid).ok()?, start_ticks: stat.starttime })
    })
}

/// All processes whose environment holds one of the tokens, the earliest first, by token.
///
/// Reads the whole process table: some 20 µs a process.
pub(crate) fn find_by_token<'t>(tokens: &[&'t str]) -> io::Result<BTreeMap<&'t str, Vec<ProcessRecord>>> {
    let mut found: BTreeMap<&str, Vec<ProcessRecord>> = BTreeMap::new();
    if tokens.is_empty() {
        return Ok(found);
    }
    for process in all_processes().map_err(io::Error::other)? {
        // A process that ends while it is looked at, or belongs to someone else, is none of ours.
        let Ok(process) = process else { continue };
        let (Ok(environment), Ok(stat)) = (process.environ(), process.stat()) else { continue };
        let Some(value) = environment.get(OsStr::new(LIFE_VARIABLE)) else { continue };
        if let (Some(token), Ok(pid)) =
            (tokens.iter().find(|token| **token == value), u32::try_from(stat.pid))
        {
            found.entry(token).or_default().push(ProcessRecord { pid, start_ticks: stat.starttime });
        }
    }
    for processes in found.values_mut() {
        processes.sort_by_key(|process| (process.start_ticks, process.pid));
    }
    Ok(found)
}

/// Processor time and resident memory of whole sessions, by the number of the session's leader.
///
/// Processes that have ended count as long as a parent within the session has waited for them.
pub(crate) fn usage_by_session() -> io::Result<BTreeMap<u32, Reading>> {
    let tick = procfs::ticks_per_second().max(1);
    let page = procfs::page_size();
    let mut usage: BTreeMap<u32, Reading> = BTreeMap::new();
    for process in all_processes().map_err(io::Error::other)? {
        let Ok(stat) = process.and_then(|process| process.stat()) else { continue };
        let Ok(session) = u32::try_from(stat.session) else { continue };
        let waited_for = u64::try_from(stat.cutime.max(0) + stat.cstime.max(0)).unwrap_or(0);
        let ticks = stat.utime + stat.stime + waited_for;
        let entry = usage.entry(session).or_default();
        entry.cpu_time += Duration::from_micros(ticks.saturating_mul(1_000_000 / tick));
        entry.memory.0 += stat.rss.saturating_mul(page);
    }
    Ok(usage)
}
