//! Detects the end of lives, and cleans up after them.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use model::input::{Exit, ExitStatus};
use platform::Event;

use crate::cgroup::Cell;
use crate::driver::Driver;
use crate::process_end::ProcessEnd;
use crate::process_table::find_by_token;
use crate::tracked_life::TrackedLife;

/// How often the removal of a cell is attempted, with twice the pause each time: for 20 s in all.
const CELL_TRIES_MAX: u32 = 12;

/// The first of these pauses.
const CELL_PAUSE: Duration = Duration::from_millis(5);

/// Watches for the end of a life, in a task that ends with it or with the driver.
pub(crate) fn watch(driver: &Arc<Driver>, tracked: &Arc<TrackedLife>) {
    let Some(handles) = tracked.handles() else { return };
    let watched = ProcessEnd::of(handles.process.as_fd());
    let (driver, tracked) = (driver.clone(), tracked.clone());
    let tasks = driver.tasks.clone();
    tasks.spawn(async move {
        match watched {
            Ok(watched) => {
                // Both are cancel safe: the process stays ended.
                tokio::select! {
                    _ended = watched.happened() => {}
                    () = driver.closed.cancelled() => return,
                }
            }
            Err(error) => {
                tracing::warn!(replica = %tracked.record.replica(), %error, "process_watched_by_polling");
                if !ended_by_polling(&driver, &tracked).await {
                    return;
                }
            }
        }
        // On a thread of its own: it writes to the disk, which may hang.
        let tasks = driver.tasks.clone();
        tasks.spawn_blocking(move || finish(&driver, &tracked));
    });
}

/// Waits for the end by polling, when descriptors have run out; returns `false` when the driver is closed first.
async fn ended_by_polling(driver: &Driver, tracked: &TrackedLife) -> bool {
    const PAUSE: Duration = Duration::from_millis(100);
    loop {
        let alive = tracked.handles().is_some_and(|handles| {
            rustix::event::poll(
                &mut [rustix::event::PollFd::new(&handles.process, rustix::event::PollFlags::IN)],
                Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 }),
            ) == Ok(0)
        });
        if !alive {
            return true;
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = driver.closed.cancelled() => return false,
        }
    }
}

/// Kills the remaining processes of a life whose main process has ended, records how it ended, and sends the event. Blocks for a disk write.
fn finish(driver: &Arc<Driver>, tracked: &Arc<TrackedLife>) {
    // Before the process is reaped: until then no other process group can have its id.
    tracked.kill_everything();
    let status = match tracked.reap() {
        Ok(Some(status)) => status,
        Ok(None) => ExitStatus::Unknown,
        Err(error) => {
            tracing::warn!(replica = %tracked.record.replica(), %error, "exit_status_unavailable");
            ExitStatus::Unknown
        }
    };
    let cell = tracked.record.cell.as_ref();
    let exit = Exit { status, out_of_memory: ran_out_of_memory(cell, status), ran_for: tracked.record.age() };
    tracked.allotted().is_over = true;
    // Before the event is sent: a successor writes its own record to the same place.
    if let Err(error) = driver.records.keep(&tracked.record.ended(exit)) {
        // The next run then finds no such process, and does not know how it ended.
        tracing::warn!(replica = %tracked.record.replica(), error = %error.source, "end_not_recorded");
    }
    driver.release_ports(&tracked.record.ports);
    tracked.end(exit, |life| {
        // Fails when there are no receivers; the inventory has it, too.
        let _ = driver.events.send(Event::Ended(life));
    });
    match &tracked.record.cell {
        Some(cell) => remove_cell(driver, cell.clone()),
        None => kill_escaped(driver, &tracked.record.token),
    }
}

/// Whether the out-of-memory killer has ended a life, according to its cell.
pub(crate) fn ran_out_of_memory(cell: Option<&Cell>, status: ExitStatus) -> bool {
    is_killed(status) && cell.is_some_and(|cell| cell.out_of_memory_kills() > 0)
}

/// Whether it was SIGKILL, directly or as a shell reports it of its child; an unknown end may have been.
fn is_killed(status: ExitStatus) -> bool {
    match status {
        ExitStatus::Signal(signal) => signal == libc::SIGKILL,
        ExitStatus::Code(code) => code == 128 + libc::SIGKILL,
        ExitStatus::Unknown => true,
    }
}

/// Removes the cell as soon as the killed processes have left it.
///
/// A killed process takes a moment to end, and where the cell has no `cgroup.kill` it may have forked before. So remaining processes are
/// killed again at each attempt.
pub(crate) fn remove_cell(driver: &Arc<Driver>, cell: Cell) {
    if cell.remove().is_ok() {
        return;
    }
    let closed = driver.closed.clone();
    driver.tasks.spawn(async move {
        let mut pause = CELL_PAUSE;
        for _ in 0..CELL_TRIES_MAX {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = closed.cancelled() => return,
            }
            match cell.remove() {
                Ok(()) => return,
                Err(_busy) => pause *= 2,
            }
            cell.kill();
        }
        tracing::warn!(?cell, "cgroup_not_removed");
    });
}

/// Kills processes that have left their process group, where there is no control group: they are recognized by their environment.
fn kill_escaped(driver: &Arc<Driver>, token: &str) {
    let token = token.to_owned();
    driver.tasks.spawn_blocking(move || kill_by_token(&[&token]));
}

/// Kills all processes whose environment contains one of the tokens.
pub(crate) fn kill_by_token(tokens: &[&str]) {
    let found = match find_by_token(tokens) {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, "processes_not_searched");
            return;
        }
    };
    for process in found.into_values().flatten() {
        if let Some(pid) = i32::try_from(process.pid).ok().and_then(rustix::process::Pid::from_raw) {
            // Fails when the process is gone already.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}
