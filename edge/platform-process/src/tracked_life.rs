//! A life that this driver manages.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use model::identity::ActionId;
use model::input::{Exit, ExitStatus};
use model::resource::{Resources, Signal as StopSignal};
use platform::{Life, LifeState};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_send_signal, waitid};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cgroup::{Cell, Meter, Reading};
use crate::record::Record;

/// A life that this driver manages, running or ended.
#[derive(Debug)]
pub(crate) struct TrackedLife {
    pub(crate) record: Record,
    pub(crate) adopted: bool,
    allotted: Mutex<Allotted>,
    /// `None` once it has ended: an ended life is remembered for a day, and must not keep descriptors for so long.
    handles: Mutex<Option<Arc<Handles>>>,
    state: watch::Sender<LifeState>,
    /// When it is to be killed; `None` until it is to stop.
    kill_at: watch::Sender<Option<Instant>>,
}

/// The descriptors of a life that runs.
#[derive(Debug)]
pub(crate) struct Handles {
    /// The main process.
    pub(crate) process: OwnedFd,
    /// The meter of its cell, opened when it is first needed; `None` when it cannot be read.
    meter: OnceLock<Option<Meter>>,
}

/// The resource limits of a life.
#[derive(Debug)]
pub(crate) struct Allotted {
    /// The latest action that changed it; the default id when none has since its start.
    pub(crate) by: ActionId,
    /// `None` when they are not known.
    pub(crate) resources: Option<Resources>,
    /// Whether its end is being recorded, and must not be overwritten.
    pub(crate) is_over: bool,
}

impl TrackedLife {
    pub(crate) fn running(record: Record, process: OwnedFd, adopted: bool) -> Self {
        Self::new(record, Some(process), LifeState::Running, adopted)
    }

    pub(crate) fn ended(record: Record, exit: Exit) -> Self {
        Self::new(record, None, LifeState::Exited(exit), true)
    }

    fn new(record: Record, process: Option<OwnedFd>, state: LifeState, adopted: bool) -> Self {
        let handles = process.map(|process| Arc::new(Handles { process, meter: OnceLock::new() }));
        let allotted = Allotted { by: ActionId::default(), resources: record.resources, is_over: false };
        Self {
            record,
            adopted,
            allotted: Mutex::new(allotted),
            handles: Mutex::new(handles),
            state: watch::Sender::new(state),
            kill_at: watch::Sender::new(None),
        }
    }

    pub(crate) fn life(&self) -> Life {
        self.life_in(self.state())
    }

    fn life_in(&self, state: LifeState) -> Life {
        Life { resources: self.allotted().resources, ..self.record.life(state, self.adopted) }
    }

    /// Its resource limits, locked while they are changed.
    pub(crate) fn allotted(&self) -> MutexGuard<'_, Allotted> {
        self.allotted.lock().expect("nothing panics while it holds the limits")
    }

    pub(crate) fn state(&self) -> LifeState {
        *self.state.borrow()
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state(), LifeState::Exited(_))
    }

    /// Whether it ended so long ago that it may be forgotten.
    pub(crate) fn is_obsolete(&self) -> bool {
        match self.state() {
            LifeState::Running | LifeState::Stopping => false,
            LifeState::Exited(exit) => self.record.is_obsolete(exit),
        }
    }

    /// Its descriptors; `None` once it has ended.
    pub(crate) fn handles(&self) -> Option<Arc<Handles>> {
        self.lock_handles().clone()
    }

    fn lock_handles(&self) -> MutexGuard<'_, Option<Arc<Handles>>> {
        self.handles.lock().expect("nothing panics while it holds the descriptors")
    }

    /// Its usage, according to its cell; `None` once it has ended, and without a cell that has the counters.
    pub(crate) fn usage(&self) -> Option<Reading> {
        let open = || self.record.cell.as_ref().and_then(Cell::meter);
        self.handles()?.meter.get_or_init(open).as_ref()?.read()
    }

    /// Whether it runs and its usage was not read yet, for which its meter will be opened.
    pub(crate) fn will_be_measured(&self) -> bool {
        self.handles().is_some_and(|handles| handles.meter.get().is_none())
    }

    pub(crate) fn states(&self) -> watch::Receiver<LifeState> {
        self.state.subscribe()
    }

    pub(crate) fn kill_times(&self) -> watch::Receiver<Option<Instant>> {
        self.kill_at.subscribe()
    }

    /// Marks it as ended and closes its descriptors; calls `notify` before the state changes.
    pub(crate) fn end(&self, exit: Exit, notify: impl FnOnce(Life)) {
        drop(self.lock_handles().take());
        let life = self.life_in(LifeState::Exited(exit));
        self.state.send_modify(|state| {
            notify(life);
            *state = LifeState::Exited(exit);
        });
    }

    /// Sets the time of the kill to `at`, unless it is earlier already; returns whether there was none before.
    pub(crate) fn set_kill_time(&self, at: Instant) -> bool {
        let mut first = false;
        self.kill_at.send_if_modified(|set| {
            first = set.is_none();
            let earlier = set.is_none_or(|set| at < set);
            if earlier {
                *set = Some(at);
            }
            earlier
        });
        self.state.send_if_modified(|state| {
            let was_running = *state == LifeState::Running;
            if was_running {
                *state = LifeState::Stopping;
            }
            was_running
        });
        first
    }

    /// Sends the stop signal to the process group, which may be gone already.
    pub(crate) fn signal_stop(&self) {
        let signal = match self.record.stop_signal {
            StopSignal::Term => Signal::TERM,
            StopSignal::Int => Signal::INT,
            StopSignal::Quit => Signal::QUIT,
            StopSignal::Hup => Signal::HUP,
            StopSignal::Usr1 => Signal::USR1,
            StopSignal::Usr2 => Signal::USR2,
            StopSignal::Kill => Signal::KILL,
        };
        self.signal_group(signal);
    }

    /// Kills everything that belongs to the life.
    ///
    /// Must be called before the main process is reaped: afterwards another process group may have its id.
    pub(crate) fn kill_everything(&self) {
        self.signal_group(Signal::KILL);
        if let Some(handles) = self.handles() {
            // Fails when the process has ended.
            let _ = pidfd_send_signal(&handles.process, Signal::KILL);
        }
        if let Some(cell) = &self.record.cell {
            cell.kill();
        }
    }

    fn signal_group(&self, signal: Signal) {
        if let Some(group) = self.group() {
            // Fails when the group has ended.
            let _ = kill_process_group(group, signal);
        }
    }

    /// The process group, whose id is the pid of the main process.
    fn group(&self) -> Option<Pid> {
        let process = self.record.process?;
        Pid::from_raw(i32::try_from(process.pid).ok()?)
    }

    /// Reaps the main process and returns how it ended; `None` while it runs.
    pub(crate) fn reap(&self) -> io::Result<Option<ExitStatus>> {
        let Some(handles) = self.handles() else { return Ok(Some(ExitStatus::Unknown)) };
        loop {
            return match waitid(
                WaitId::PidFd(handles.process.as_fd()),
                WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
            ) {
                Ok(None) => Ok(None),
                Ok(Some(status)) => Ok(Some(match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => ExitStatus::Code(code),
                    (None, Some(signal)) => ExitStatus::Signal(signal),
                    (None, None) => ExitStatus::Unknown,
                })),
                Err(Errno::INTR) => continue,
                Err(Errno::CHILD) => Ok(Some(ExitStatus::Unknown)),
                Err(error) => Err(error.into()),
            };
        }
    }
}
