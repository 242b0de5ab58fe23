//! Control groups. Each life gets a cell: a group in each hierarchy, which holds it to its limits, and which its processes cannot leave.

mod cell;
mod detect;
mod meter;
mod spare_cell;
mod sweep;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use platform::Support;
use serde::{Deserialize, Serialize};

pub(crate) use cell::{Cell, Limits};
pub(crate) use detect::detect;
pub(crate) use meter::{Meter, Reading};
pub(crate) use spare_cell::ForkThread;
use spare_cell::{SPARES_MAX, SpareCell};

/// The controllers of both versions that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Controller {
    Cpu,
    /// Version 1 only; version 2 accounts with `cpu`.
    CpuAccounting,
    Memory,
    Pids,
}

/// The two versions of control groups, whose files differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Version {
    V1,
    V2,
}

/// A folder in a hierarchy below which cells are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    version: Version,
    root: PathBuf,
    controllers: BTreeSet<Controller>,
}

/// The hierarchies in which cells are made, and what they can do here.
#[derive(Debug)]
pub(crate) struct Cgroups {
    hierarchies: Vec<Hierarchy>,
    spares: Mutex<Vec<SpareCell>>,
    /// Held while spares are created, so that not too many are.
    making: Mutex<()>,
    pub(crate) cpu: Support,
    pub(crate) memory: Support,
    pub(crate) containment: Support,
}

/// Removes the folders of the driver, if no cell is left in them.
impl Drop for Cgroups {
    fn drop(&mut self) {
        self.discard_spares();
        for hierarchy in &self.hierarchies {
            // As long as there are cells in it, it cannot be removed, and should not be.
            let _ = std::fs::remove_dir(&hierarchy.root);
        }
    }
}

impl Cgroups {
    /// No control groups, for the reason given.
    pub(crate) fn none(why: &str) -> Self {
        let degraded = || Support::Degraded(why.into());
        Self {
            hierarchies: Vec::new(),
            spares: Mutex::default(),
            making: Mutex::default(),
            cpu: degraded(),
            memory: degraded(),
            containment: degraded(),
        }
    }

    /// Removes empty cells, which earlier runs had no time to remove, except for those `in_use`; returns whether no cell is left. No start may be
    /// under way.
    ///
    /// The cell of a life that has just ended is empty as well, and is to be asked first why the life ended.
    pub(crate) fn remove_empty_cells(&self, in_use: &BTreeSet<&Path>) -> bool {
        let mut none_left = true;
        for hierarchy in &self.hierarchies {
            let Ok(entries) = std::fs::read_dir(&hierarchy.root) else { continue };
            for path in entries.flatten().map(|entry| entry.path()) {
                // Neither a file nor a cell with processes can be removed so, and neither should be.
                let is_removed = !in_use.contains(&*path) && std::fs::remove_dir(&path).is_ok();
                none_left &= is_removed || !path.is_dir();
            }
        }
        none_left
    }

    /// Makes a cell for a life, or takes a spare one, which comes with its [`ForkThread`]; `None` without control groups.
    pub(crate) fn cell(&self, name: &str, limits: &Limits) -> io::Result<Option<(Cell, Option<ForkThread>)>> {
        if self.hierarchies.is_empty() {
            return Ok(None);
        }
        let spare = self.spares().pop();
        let (mut cell, fork_thread) = match spare.map(SpareCell::into_parts) {
            Some((cell, fork_thread)) => (cell, Some(fork_thread)),
            None => (Cell::make(&self.hierarchies, name)?, None),
        };
        if fork_thread.is_some() {
            cell.rename(name);
        }
        if let Err(error) = cell.limit(limits) {
            drop(fork_thread);
            // The error that stopped us says more than that of cleaning up after it.
            let _ = cell.remove();
            return Err(error);
        }
        Ok(Some((cell, fork_thread)))
    }

    /// Whether lives get cells here.
    pub(crate) fn are_used(&self) -> bool {
        !self.hierarchies.is_empty()
    }

    /// Removes the spare cells and all empty ones, for when every life has ended; returns whether no cell is left.
    pub(crate) fn close_down(&self) -> bool {
        self.discard_spares();
        self.remove_empty_cells(&BTreeSet::new())
    }

    fn discard_spares(&self) {
        let spares = std::mem::take(&mut *self.spares());
        spares.into_iter().for_each(SpareCell::discard);
    }

    /// Removes the empty groups of drivers that are long gone. May block for a second when there are thousands.
    pub(crate) fn sweep(&self) {
        for hierarchy in &self.hierarchies {
            sweep::sweep(&hierarchy.root, sweep::AGE_MIN);
        }
    }

    /// Makes spare cells until there are enough. Blocks for some milliseconds.
    pub(crate) fn make_spares(&self) {
        let can_have =
            !self.hierarchies.is_empty() && self.hierarchies.iter().all(|h| h.version == Version::V1);
        let Ok(_making) = self.making.try_lock() else { return };
        while can_have && self.spares().len() < SPARES_MAX {
            let Ok(token) = os::token() else { return };
            match SpareCell::make(&self.hierarchies, &format!("spare.{token}")) {
                Ok(spare) => self.spares().push(spare),
                Err(error) => {
                    tracing::debug!(%error, "spare_cgroup_not_created");
                    return;
                }
            }
        }
    }

    fn spares(&self) -> MutexGuard<'_, Vec<SpareCell>> {
        self.spares.lock().expect("nobody panics while holding the spares")
    }
}
