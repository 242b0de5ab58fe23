//! Reads processes from `/proc`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::time::Duration;

use procfs::ProcError;
use procfs::process::{Process, all_processes};
use serde::{Deserialize, Serialize};

use crate::cgroup::Reading;

/// The variable that marks every process of a life.
pub(crate) const LIFE_VARIABLE: &str = "HOMEOSTAT_LIFE";

/// The variable with the name of the replica.
pub(crate) const REPLICA_VARIABLE: &str = "HOMEOSTAT_REPLICA";

/// Identifies a process: pids are reused, but not with the same start time. Its form is that of the records on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProcessIdentity {
    pub(crate) pid: u32,
    /// Clock ticks from boot to its start, field 22 of `/proc/PID/stat`.
    pub(crate) start_ticks: u64,
}

/// The name of this boot of the machine.
pub(crate) fn boot_id() -> io::Result<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned())
}

/// The process that has `pid` now; `None` when there is none, or it belongs to another user who hides it.
///
/// Fails when the system lacks descriptors or memory to tell: a process that may run must not be taken for one that has ended.
pub(crate) fn identify(pid: u32) -> io::Result<Option<ProcessIdentity>> {
    let Ok(raw) = i32::try_from(pid) else { return Ok(None) };
    let stat = readable(Process::new(raw).and_then(|process| process.stat()))?;
    Ok(stat.map(|stat| ProcessIdentity { pid, start_ticks: stat.starttime }))
}

/// What was read of a process; `None` when it has ended or belongs to another user. Fails when the system lacks what reading it takes.
fn readable<T>(read: Result<T, ProcError>) -> io::Result<Option<T>> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(ProcError::Io(error, _)) if is_shortage(&error) => Err(error),
        Err(_gone_or_foreign) => Ok(None),
    }
}

/// Whether it failed for want of descriptors or memory, which says nothing about its object.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

/// The first of these processes that leads a session; among those of a cell, this is the main process.
pub(crate) fn session_leader(pids: impl IntoIterator<Item = i32>) -> Option<ProcessIdentity> {
    pids.into_iter().find_map(|pid| {
        let stat = Process::new(pid).ok()?.stat().ok()?;
        (stat.session == pid)
            .then_some(ProcessIdentity { pid: u32::try_from(pid).ok()?, start_ticks: stat.starttime })
    })
}

/// All processes whose environment contains one of the tokens, by token, the earliest first.
///
/// Reads the whole process table: some 20 µs a process. Fails like [`identify`].
pub(crate) fn find_by_token<'t>(tokens: &[&'t str]) -> io::Result<BTreeMap<&'t str, Vec<ProcessIdentity>>> {
    let mut found: BTreeMap<&str, Vec<ProcessIdentity>> = BTreeMap::new();
    if tokens.is_empty() {
        return Ok(found);
    }
    for process in all_processes().map_err(io::Error::other)? {
        // A process that has just ended, or belongs to another user, is skipped.
        let read = process.and_then(|process| Ok((process.environ()?, process.stat()?)));
        let Some((environment, stat)) = readable(read)? else { continue };
        let Some(value) = environment.get(OsStr::new(LIFE_VARIABLE)) else { continue };
        if let (Some(token), Ok(pid)) =
            (tokens.iter().find(|token| **token == value), u32::try_from(stat.pid))
        {
            found.entry(token).or_default().push(ProcessIdentity { pid, start_ticks: stat.starttime });
        }
    }
    for processes in found.values_mut() {
        processes.sort_by_key(|process| (process.start_ticks, process.pid));
    }
    Ok(found)
}

/// The mark of a life: the id of its data folder, and what no other life has.
pub(crate) fn life_token(folder_id: &str, random: &str) -> String {
    format!("{folder_id}-{random}")
}

/// A replica that runs and that no record knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnrecordedReplica {
    /// Its name when it was started.
    pub replica: String,
    /// Its earliest process.
    pub pid: u32,
}

/// The replicas that were started from the data folder `folder_id`, but are none of the lives that are `recorded`, by their tokens.
///
/// Fails like [`identify`].
pub(crate) fn unrecorded(folder_id: &str, recorded: &BTreeSet<String>) -> io::Result<Vec<UnrecordedReplica>> {
    let prefix = life_token(folder_id, "");
    let mut found: BTreeMap<String, (u64, UnrecordedReplica)> = BTreeMap::new();
    for process in all_processes().map_err(io::Error::other)? {
        let read = process.and_then(|process| Ok((process.environ()?, process.stat()?)));
        let Some((environment, stat)) = readable(read)? else { continue };
        let value = |name: &str| environment.get(OsStr::new(name)).and_then(|value| value.to_str());
        let Some(token) = value(LIFE_VARIABLE).filter(|token| token.starts_with(&prefix)) else { continue };
        let (false, Ok(pid)) = (recorded.contains(token), u32::try_from(stat.pid)) else { continue };
        let replica = value(REPLICA_VARIABLE).unwrap_or_default().to_owned();
        let begun = found.get(token).map(|(begun, _)| *begun);
        if begun.is_none_or(|begun| stat.starttime < begun) {
            found.insert(token.to_owned(), (stat.starttime, UnrecordedReplica { replica, pid }));
        }
    }
    Ok(found.into_values().map(|(_, replica)| replica).collect())
}

/// Processor time and resident memory of whole sessions, by the pid of the session's leader.
///
/// The time of ended processes counts if a parent within the session has reaped them.
pub(crate) fn usage_by_session() -> io::Result<BTreeMap<u32, Reading>> {
    let tick = procfs::ticks_per_second().max(1);
    let page = procfs::page_size();
    let mut usage: BTreeMap<u32, Reading> = BTreeMap::new();
    for process in all_processes().map_err(io::Error::other)? {
        let Ok(stat) = process.and_then(|process| process.stat()) else { continue };
        let Ok(session) = u32::try_from(stat.session) else { continue };
        let reaped = u64::try_from(stat.cutime.max(0) + stat.cstime.max(0)).unwrap_or(0);
        let ticks = stat.utime + stat.stime + reaped;
        let entry = usage.entry(session).or_default();
        entry.cpu_time += Duration::from_micros(ticks.saturating_mul(1_000_000 / tick));
        entry.memory.0 += stat.rss.saturating_mul(page);
    }
    Ok(usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_errno(errno: i32) -> io::Result<Option<()>> {
        readable(Err(ProcError::Io(io::Error::from_raw_os_error(errno), None)))
    }

    #[test]
    fn a_process_that_cannot_be_read_for_want_of_descriptors_is_not_gone() {
        for shortage in [libc::EMFILE, libc::ENFILE, libc::ENOMEM] {
            assert_eq!(of_errno(shortage).unwrap_err().raw_os_error(), Some(shortage));
        }
        assert_eq!(of_errno(libc::ESRCH).unwrap(), None, "it has just ended");
        assert_eq!(readable::<()>(Err(ProcError::NotFound(None))).unwrap(), None);
        assert_eq!(readable::<()>(Err(ProcError::PermissionDenied(None))).unwrap(), None);
    }

    #[test]
    fn a_process_is_known_by_its_id_and_the_time_of_its_start() {
        let own = identify(std::process::id()).unwrap().expect("it runs");
        assert_eq!(identify(std::process::id()).unwrap(), Some(own));
        assert_eq!(identify(u32::MAX).unwrap(), None);
    }
}
