//! Adopting the lives of earlier runs.

use std::io;
use std::num::NonZeroI32;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use model::input::{Exit, ExitStatus};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::cgroup::Cell;
use crate::driver::Driver;
use crate::ending::{self, kill_by_token};
use crate::process_table::{
    ProcessIdentity, UnrecordedReplica, find_by_token, identify, is_shortage, session_leader, unrecorded,
};
use crate::record::{ReadError, Record, Records};
use crate::tracked_life::TrackedLife;

/// How often the process table is searched for the processes of unfinished starts, which exist only after a crash.
const SEARCHES_MAX: u32 = 4;

/// The pause between two searches: the last step of an exec takes some hundred microseconds.
const SEARCH_PAUSE: Duration = Duration::from_millis(10);

/// Whether a process of this boot runs that is in the records, or in an intent.
pub(crate) fn has_running(records: &Records, boot: &str) -> Result<bool, ReadError> {
    for record in records.lives()? {
        let process = record.process.filter(|_| record.boot == boot && record.exit().is_none());
        if let Some(process) = process
            && identify(process.pid).map_err(ReadError::Processes)? == Some(process)
        {
            return Ok(true);
        }
    }
    let intents = records.intents()?;
    let tokens: Vec<&str> =
        intents.iter().filter(|intent| intent.boot == boot).map(|intent| intent.token.as_str()).collect();
    Ok(!find_by_token(&tokens).map_err(ReadError::Processes)?.is_empty())
}

/// Adopts every life in the records, and returns the replicas of this folder that run without a record. Runs before any action is taken.
///
/// Fails when it cannot be told whether one still runs: to take it for ended would kill it.
pub(crate) fn adopt_all(driver: &Arc<Driver>) -> Result<Vec<UnrecordedReplica>, ReadError> {
    let (records, intents) = (driver.records.lives()?, driver.records.intents()?);
    let recorded = records.iter().chain(&intents).map(|record| record.token.clone()).collect();
    let unrecorded = unrecorded(&driver.claim.id, &recorded).map_err(ReadError::Processes)?;
    let mut gone = Vec::new();
    for record in records {
        if let Some(exit) = record.exit() {
            if record.boot != driver.boot || record.is_obsolete(exit) {
                driver.records.forget(&record);
            } else {
                track(driver, TrackedLife::ended(record, exit));
            }
            continue;
        }
        match open_recorded(&record)? {
            Some(process) if record.boot == driver.boot => {
                tracing::info!(replica = %record.replica(), pid = record.process.map(|p| p.pid), "adopted");
                track(driver, TrackedLife::running(record, process, true));
            }
            Some(_) | None => gone.push(record),
        }
    }
    adopt_intents(driver, intents, &mut gone)?;
    record_missed_ends(driver, gone);
    let tracked_lives = driver.tracked_lives();
    let running = tracked_lives.iter().filter(|tracked| !tracked.has_ended());
    let in_use = running.filter_map(|tracked| tracked.record.cell.as_ref()).flat_map(Cell::paths).collect();
    driver.cgroups.remove_empty_cells(&in_use);
    Ok(unrecorded)
}

/// Adopts the processes of starts that were not acknowledged: they have the token in their environment.
fn adopt_intents(
    driver: &Arc<Driver>,
    intents: Vec<Record>,
    gone: &mut Vec<Record>,
) -> Result<(), ReadError> {
    let known: Vec<String> =
        driver.tracked_lives().iter().map(|tracked| tracked.record.token.clone()).collect();
    let (done, open): (Vec<Record>, Vec<Record>) =
        intents.into_iter().partition(|intent| known.contains(&intent.token) || intent.boot != driver.boot);
    for intent in done {
        driver.records.forget_intent(&intent.token);
    }
    let first = processes_of(&open).map_err(ReadError::Processes)?;
    for (mut intent, process) in open.into_iter().zip(first) {
        intent.process = process;
        let token = intent.token.clone();
        match open_recorded(&intent)? {
            Some(process) => {
                tracing::info!(replica = %intent.replica(), pid = intent.process.map(|p| p.pid), "start_adopted");
                match driver.records.keep(&intent) {
                    Ok(()) => driver.records.forget_intent(&token),
                    // The intent stays, so the next run finds it again.
                    Err(error) => tracing::warn!(error = %error.source, "adoption_not_recorded"),
                }
                track(driver, TrackedLife::running(intent, process, true));
            }
            None => {
                driver.records.forget_intent(&token);
                if process.is_some() {
                    gone.push(intent);
                } else if let Some(cell) = intent.cell {
                    ending::remove_cell(driver, cell);
                }
            }
        }
    }
    Ok(())
}

/// The process of each intent, if there is one: the session leader in its cell, or else the first process with its token.
///
/// The lock of the data folder is released only when every child of the last driver has ended or is executing its program, so at most the
/// last step of an exec is outstanding, which makes the new environment visible.
fn processes_of(intents: &[Record]) -> io::Result<Vec<Option<ProcessIdentity>>> {
    let mut found: Vec<Option<ProcessIdentity>> = intents
        .iter()
        .map(|intent| {
            session_leader(
                intent.cell.as_ref()?.members().into_iter().map(Pid::as_raw_nonzero).map(NonZeroI32::get),
            )
        })
        .collect();
    for attempt in 0..SEARCHES_MAX {
        let missing = intents.iter().zip(&found).filter(|(_, process)| process.is_none());
        let tokens: Vec<&str> = missing.map(|(intent, _)| intent.token.as_str()).collect();
        if tokens.is_empty() {
            break;
        }
        if attempt > 0 {
            std::thread::sleep(SEARCH_PAUSE);
        }
        let by_token = find_by_token(&tokens)?;
        for (intent, process) in intents.iter().zip(&mut found) {
            if process.is_none() {
                *process =
                    by_token.get(intent.token.as_str()).and_then(|processes| processes.first().copied());
            }
        }
    }
    Ok(found)
}

fn track(driver: &Arc<Driver>, tracked: TrackedLife) {
    let tracked = Arc::new(tracked);
    if !tracked.has_ended() {
        driver.port_allocator().mark_taken(&tracked.record.ports);
    }
    driver.place(&tracked.record.replica()).fill(tracked.clone());
    ending::watch(driver, &tracked);
}

/// Kills the remaining processes of lives that ended while no driver was running, and records their ends.
fn record_missed_ends(driver: &Arc<Driver>, gone: Vec<Record>) {
    let of_this_boot: Vec<&str> =
        gone.iter().filter(|record| record.boot == driver.boot).map(|record| record.token.as_str()).collect();
    kill_by_token(&of_this_boot);
    for record in gone {
        let (is_of_this_boot, status) = (record.boot == driver.boot, ExitStatus::Unknown);
        let ran_for = if is_of_this_boot { record.age() } else { Duration::ZERO };
        let cell = record.cell.as_ref().filter(|_| is_of_this_boot);
        let exit = Exit { status, out_of_memory: ending::ran_out_of_memory(cell, status), ran_for };
        if let Some(cell) = cell {
            cell.kill();
            ending::remove_cell(driver, cell.clone());
        }
        if let Err(error) = driver.records.keep(&record.ended(exit)) {
            tracing::warn!(replica = %record.replica(), error = %error.source, "end_not_recorded");
        }
        track(driver, TrackedLife::ended(record, exit));
    }
}

/// Opens a pidfd of the process of a life, if that still runs.
fn open_recorded(record: &Record) -> Result<Option<OwnedFd>, ReadError> {
    record.process.map_or(Ok(None), open_pidfd).map_err(ReadError::Processes)
}

/// Opens a pidfd of the process, if it is still the one in the record.
///
/// It is opened before the comparison: while it is open, no other process can get the same pid.
fn open_pidfd(process: ProcessIdentity) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    let held = match pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from) {
        Ok(held) => held,
        Err(error) if is_shortage(&error) => return Err(error),
        Err(_gone) => return Ok(None),
    };
    Ok((identify(process.pid)? == Some(process)).then_some(held))
}
