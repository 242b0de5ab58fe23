//! Starts lives.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::Arc;

use model::action::{FailureKind, Outcome, Refusal};
use model::identity::ReplicaId;
use model::quantity::{Bytes, MilliCpu};
use model::resource::{Quantity, Resources};
use platform::{LifeState, StartRequest, Started};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::cgroup::{Cell, ForkThread, Limits};
use crate::descriptor_reserve;
use crate::driver::{Driver, Place};
use crate::ending;
use crate::failure::Cause;
use crate::launch::{ExecContext, Output, ReservedPorts, Siblings};
use crate::log;
use crate::process_table::{identify, life_token};
use crate::record::{NewLife, Record};
use crate::tracked_life::TrackedLife;

/// Applies a start; the caller holds the lock of the place. Blocks for some milliseconds.
pub(crate) fn start(driver: &Arc<Driver>, place: &Place, request: &StartRequest) -> Started {
    let attempt = format!("could not start {}", request.replica);
    if let Err(outcome) = driver.fence.admit(request.action.epoch, &attempt) {
        return Started { outcome, life: None };
    }
    if let Some(last) = place.last() {
        let (known, requested) = (last.record.incarnation(), request.incarnation);
        match last.state() {
            _ if last.record.action() == request.action => return applied(&last),
            LifeState::Running | LifeState::Stopping if known == requested => return applied(&last),
            LifeState::Exited(_) if known < requested => {}
            LifeState::Running | LifeState::Stopping | LifeState::Exited(_) => {
                return refused(Refusal::OtherIncarnation);
            }
        }
    }
    match begin(driver, request) {
        Ok(tracked) => {
            place.fill(tracked.clone());
            ending::watch(driver, &tracked);
            driver.create_spares_later();
            applied(&tracked)
        }
        Err(cause) => Started { outcome: Outcome::Failed(cause.failure(&attempt)), life: None },
    }
}

fn applied(tracked: &TrackedLife) -> Started {
    Started { outcome: Outcome::Applied, life: Some(tracked.life()) }
}

fn refused(refusal: Refusal) -> Started {
    Started { outcome: Outcome::Refused(refusal), life: None }
}

/// Starts the life, after all checks. After a failure nothing of it stays.
fn begin(driver: &Arc<Driver>, request: &StartRequest) -> Result<Arc<TrackedLife>, Cause> {
    descriptor_reserve::check(driver)?;
    let spec = &request.declared.spec;
    let numbers = driver.ports_of_siblings(&request.replica);
    let siblings = Siblings { numbers, have_same_user: spec.run.user.is_none() };
    let ports = driver.port_allocator().reserve(&spec.ports, &siblings)?;
    let numbers = ports.numbers.clone();
    let begun = begin_with_ports(driver, request, ports);
    if begun.is_err() {
        driver.release_ports(&numbers);
    }
    begun
}

fn begin_with_ports(
    driver: &Arc<Driver>,
    request: &StartRequest,
    ports: ReservedPorts,
) -> Result<Arc<TrackedLife>, Cause> {
    let (spec, replica) = (&request.declared.spec, &request.replica);
    let random = os::token().map_err(|error| Cause::new(FailureKind::Other, error))?;
    let token = life_token(&driver.claim.id, &random);
    let context = ExecContext::of(&spec.run, replica, &token, &ports.numbers, &driver.settings)?;
    let log = log::open_for_writing(&driver.settings.logs(), replica)
        .map_err(|error| Cause::of(&error, format!("its log could not be opened ({error})")))?;
    let (cell, fork_thread) = limited_cell(driver, &cell_name(replica, &random), &spec.resources)?.unzip();
    let record = Record::begin(NewLife {
        replica: replica.clone(),
        incarnation: request.incarnation,
        generation: request.declared.generation,
        action: request.action,
        token,
        boot: driver.boot.clone(),
        ports: ports.numbers.clone(),
        stop_signal: spec.stop.signal,
        cell,
        context,
        resources: spec.resources,
    });
    let fork_thread = fork_thread.flatten();
    launch(driver, record, Program { command: spec.run.command.clone(), log, ports, fork_thread })
}

/// A cell with the limits of a life; after a failure it does not stay.
fn limited_cell(
    driver: &Arc<Driver>,
    name: &str,
    resources: &Resources,
) -> Result<Option<(Cell, Option<ForkThread>)>, Cause> {
    let made = driver.cgroups.cell(name).map_err(|error| {
        Cause::new(FailureKind::Other, format!("its control group could not be created ({error})"))
    })?;
    let Some((cell, fork_thread)) = made else { return Ok(None) };
    match cell.limit(&limits(resources, driver)) {
        Ok(()) => Ok(Some((cell, fork_thread))),
        Err(error) => {
            // Its thread ends, and leaves the cell a moment later.
            drop(fork_thread);
            ending::remove_cell(driver, cell);
            let why = format!("its control group does not accept the limits ({error})");
            Err(Cause::new(FailureKind::Other, why))
        }
    }
}

/// The program to execute, and its resources.
struct Program {
    command: Vec<String>,
    log: File,
    ports: ReservedPorts,
    fork_thread: Option<ForkThread>,
}

/// Runs the program of a life; after a failure neither its intent nor its cell stays.
fn launch(driver: &Arc<Driver>, record: Record, program: Program) -> Result<Arc<TrackedLife>, Cause> {
    let (token, cell) = (record.token.clone(), record.cell.clone());
    let launched = run_recorded(driver, record, program);
    if launched.is_err() {
        driver.records.forget_intent(&token);
        if let Some(cell) = cell {
            ending::remove_cell(driver, cell);
        }
    }
    launched
}

/// Intent, process, record: in this order, so that after a crash between any two the process can be found.
fn run_recorded(driver: &Driver, mut record: Record, program: Program) -> Result<Arc<TrackedLife>, Cause> {
    driver.records.keep_intent(&record)?;
    let mut child = execute(&record, program)?;
    let process = open_pidfd(&child).map_err(|error| {
        discard(&mut child);
        Cause::of(&error, format!("its process cannot be watched ({error})"))
    })?;
    record.process = identify(child.id()).map_err(|error| {
        discard(&mut child);
        Cause::of(&error, format!("its process cannot be identified ({error})"))
    })?;
    driver.records.keep(&record).inspect_err(|_| discard(&mut child))?;
    driver.records.forget_intent(&record.token);
    reset_oom_score(child.id());
    Ok(Arc::new(TrackedLife::running(record, process, false)))
}

/// Executes the program in its fork thread; or else from this thread, in which case the new process enters its cell by itself.
fn execute(record: &Record, program: Program) -> Result<Child, Cause> {
    let enter_failed = |error: std::io::Error| {
        Cause::of(&error, format!("its control group could not be entered ({error})"))
    };
    let Program { command, log, ports, fork_thread } = program;
    let context = record.context.clone();
    let executed = match (fork_thread, &record.cell) {
        (Some(fork_thread), _) => fork_thread
            .run(move || context.execute(&command, Vec::new(), Output::Log(log), Some(ports)))
            .map_err(enter_failed)?,
        (None, cell) => {
            let procs_files = cell.as_ref().map_or_else(|| Ok(Vec::new()), Cell::procs_files);
            context.execute(&command, procs_files.map_err(enter_failed)?, Output::Log(log), Some(ports))
        }
    };
    Ok(executed?)
}

/// Opens a pidfd of the child, which was not reaped yet, so no other process can have its pid.
fn open_pidfd(child: &Child) -> std::io::Result<OwnedFd> {
    let pid =
        i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(std::io::ErrorKind::InvalidData)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

fn discard(child: &mut Child) {
    // Fails if the child has ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

/// Resets the child's protection against the out-of-memory killer, which it inherits if this process is protected.
fn reset_oom_score(pid: u32) {
    if std::fs::read_to_string("/proc/self/oom_score_adj").is_ok_and(|score| score.trim().starts_with('-')) {
        // Fails if it has ended in the meantime.
        let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), "0");
    }
}

/// A different one for each life: the cell of the last one may still open_pidfd processes that are being killed.
fn cell_name(replica: &ReplicaId, random: &str) -> String {
    format!("{replica}.{}", &random[..8])
}

pub(crate) fn limits(resources: &Resources, driver: &Driver) -> Limits {
    let cpu = resources.cpu.map(|cpu| MilliCpu(u64::try_from(cpu.milli()).unwrap_or(0)));
    let memory =
        resources.memory.map(|memory: Quantity| Bytes(u64::try_from(memory.units_ceil()).unwrap_or(0)));
    Limits { cpu, policy: driver.settings.cpu, memory }
}
