//! Beginning a life.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::Arc;

use model::action::{Failure, FailureKind, Outcome, Refusal};
use model::identity::ReplicaId;
use model::quantity::{Bytes, MilliCpu};
use model::resource::{Quantity, Resources};
use platform::{LifeState, StartRequest, Started};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::cgroup::{Birthplace, Cell, Limits};
use crate::ending;
use crate::fence::Denied;
use crate::keeper::{Keeper, Place};
use crate::launch::{Output, PortError, ReservedPorts, Surroundings, failure, failure_kind};
use crate::living::Living;
use crate::log;
use crate::process_table::identify;
use crate::record::{Beginning, Record};

/// Does what a start asks for; the caller has the turn of the place. Blocks for some milliseconds.
pub(crate) fn start(keeper: &Arc<Keeper>, place: &Place, request: &StartRequest) -> Started {
    let attempt = format!("could not start {}", request.replica);
    match keeper.fence.admit(request.action.epoch) {
        Ok(()) => {}
        Err(Denied::Stale(refusal)) => return refused(refusal),
        Err(Denied::NotKept(error)) => {
            return failed(failure(
                &attempt,
                failure_kind(&error.source),
                &format!("{error}: {}", error.source),
            ));
        }
    }
    if let Some(last) = place.last() {
        let (known, meant) = (last.record.incarnation(), request.incarnation);
        match last.state() {
            _ if last.record.action() == request.action => return applied(&last),
            LifeState::Running | LifeState::Stopping if known == meant => return applied(&last),
            LifeState::Exited(_) if known < meant => {}
            LifeState::Running | LifeState::Stopping | LifeState::Exited(_) => {
                return refused(Refusal::OtherIncarnation);
            }
        }
    }
    match begin(keeper, request, &attempt) {
        Ok(living) => {
            place.fill(living.clone());
            ending::watch(keeper, &living);
            keeper.make_spares_later();
            applied(&living)
        }
        Err(failure) => failed(failure),
    }
}

fn applied(living: &Living) -> Started {
    Started { outcome: Outcome::Applied, life: Some(living.life()) }
}

fn refused(refusal: Refusal) -> Started {
    Started { outcome: Outcome::Refused(refusal), life: None }
}

fn failed(failure: Failure) -> Started {
    Started { outcome: Outcome::Failed(failure), life: None }
}

/// Everything between the decision that there shall be a process and its record. Whatever fails, nothing stays.
fn begin(keeper: &Arc<Keeper>, request: &StartRequest, attempt: &str) -> Result<Arc<Living>, Failure> {
    let spec = &request.declared.spec;
    let other = |why: &dyn std::fmt::Display| failure(attempt, FailureKind::Other, why);
    let token = os::token().map_err(|error| other(&error))?;
    let reserved = {
        let siblings = keeper.ports_of_siblings(&request.replica);
        let mut book = keeper.port_book();
        book.reserve(&spec.ports, &siblings).map_err(|error| {
            let kind = match error {
                PortError::InUse { .. } => FailureKind::AddressInUse,
                PortError::Unusable { .. } => FailureKind::Declaration,
                PortError::NoneFree { .. } => FailureKind::Other,
            };
            failure(attempt, kind, &error)
        })?
    };
    let numbers = reserved.numbers.clone();
    let begun = (|| {
        let surroundings = Surroundings::of(&spec.run, &request.replica, &token, &numbers, &keeper.settings)
            .map_err(|error| failure(attempt, error.kind(), &error))?;
        let log = log::open_for_writing(&keeper.settings.logs(), &request.replica).map_err(|error| {
            failure(attempt, failure_kind(&error), &format!("its log could not be opened ({error})"))
        })?;
        let cell = keeper
            .cgroups
            .cell(&cell_name(&request.replica, &token), &limits(&spec.resources, keeper))
            .map_err(|error| other(&format!("its control group could not be made ({error})")))?;
        let (cell, birthplace) = cell.map_or((None, None), |(cell, birthplace)| (Some(cell), birthplace));
        let record = Record::begin(Beginning {
            replica: request.replica.clone(),
            incarnation: request.incarnation,
            generation: request.declared.generation,
            action: request.action,
            token: token.clone(),
            boot: keeper.boot.clone(),
            ports: numbers.clone(),
            stop_signal: spec.stop.signal,
            cell,
            surroundings,
            resources: spec.resources,
        });
        let cell = record.cell.clone();
        let program = Program { command: spec.run.command.clone(), log, ports: reserved, birthplace };
        let launched = launch(keeper, record, program, attempt);
        if launched.is_err() {
            keeper.records.forget_intent(&token);
            if let Some(cell) = cell {
                ending::remove_cell(keeper, cell);
            }
        }
        launched
    })();
    if begun.is_err() {
        keeper.release_ports(&numbers);
    }
    begun
}

/// What is to be executed, and what it is given.
struct Program {
    command: Vec<String>,
    log: File,
    ports: ReservedPorts,
    birthplace: Option<Birthplace>,
}

/// Intent, process, record: in this order, so that a crash between any two leaves nothing that cannot be found.
fn launch(
    keeper: &Arc<Keeper>,
    mut record: Record,
    program: Program,
    attempt: &str,
) -> Result<Arc<Living>, Failure> {
    let unwritten = |error: &os::WriteError| {
        failure(attempt, failure_kind(&error.source), &format!("{error} ({})", error.source))
    };
    keeper.records.intend(&record).map_err(|error| unwritten(&error))?;
    let mut child = execute(&record, program, attempt)?;
    let process = hold(&child).map_err(|error| {
        discard(&mut child);
        failure(attempt, failure_kind(&error), &format!("its process cannot be watched ({error})"))
    })?;
    record.process = identify(child.id());
    keeper.records.keep(&record).map_err(|error| {
        discard(&mut child);
        unwritten(&error)
    })?;
    keeper.records.forget_intent(&record.token);
    expose_to_memory_killer(child.id());
    Ok(Arc::new(Living::running(record, process, false)))
}

/// In its birthplace, or else on this thread, from where the new process enters its cell by itself.
fn execute(record: &Record, program: Program, attempt: &str) -> Result<Child, Failure> {
    let cgroup_failure = |error: &std::io::Error| {
        let why = format!("its control group could not be entered ({error})");
        failure(attempt, failure_kind(error), &why)
    };
    let Program { command, log, ports, birthplace } = program;
    let surroundings = record.surroundings.clone();
    let executed = match (birthplace, &record.cell) {
        (Some(birthplace), _) => birthplace
            .run(move || surroundings.execute(&command, Vec::new(), Output::Log(log), Some(ports)))
            .map_err(|error| cgroup_failure(&error))?,
        (None, cell) => {
            let entrances = cell.as_ref().map_or_else(|| Ok(Vec::new()), Cell::entrances);
            let entrances = entrances.map_err(|error| cgroup_failure(&error))?;
            surroundings.execute(&command, entrances, Output::Log(log), Some(ports))
        }
    };
    executed.map_err(|error| failure(attempt, error.kind(), &error))
}

/// The child is not waited for yet, so its number is its own.
fn hold(child: &Child) -> std::io::Result<OwnedFd> {
    let pid =
        i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(std::io::ErrorKind::InvalidData)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

fn discard(child: &mut Child) {
    // A child that has ended by itself cannot be killed, and that is as good.
    let _ = child.kill();
    let _ = child.wait();
}

/// A keeper that is protected from the kernel's memory killer does not pass its protection on.
fn expose_to_memory_killer(pid: u32) {
    if std::fs::read_to_string("/proc/self/oom_score_adj").is_ok_and(|score| score.trim().starts_with('-')) {
        // One that has ended meanwhile needs it no more.
        let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), "0");
    }
}

/// Different for each life, since the cell of the last one may still hold what is being killed.
fn cell_name(replica: &ReplicaId, token: &str) -> String {
    format!("{replica}.{}", &token[..8])
}

pub(crate) fn limits(resources: &Resources, keeper: &Keeper) -> Limits {
    let cpu = resources.cpu.map(|cpu| MilliCpu(u64::try_from(cpu.milli()).unwrap_or(0)));
    let memory =
        resources.memory.map(|memory: Quantity| Bytes(u64::try_from(memory.units_ceil()).unwrap_or(0)));
    Limits { cpu, policy: keeper.settings.cpu, memory }
}
