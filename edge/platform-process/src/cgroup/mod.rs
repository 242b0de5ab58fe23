//! Control groups. Each life gets a cell: one group in each hierarchy, which enforces its limits, and which its processes cannot leave.

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

/// A folder in a hierarchy below which cells are created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    version: Version,
    root: PathBuf,
    controllers: BTreeSet<Controller>,
}

/// The hierarchies in which cells are created, and what they support here.
#[derive(Debug)]
pub(crate) struct Cgroups {
    hierarchies: Vec<Hierarchy>,
    spares: Mutex<Vec<SpareCell>>,
    /// Held while spares are created, so that there are not too many.
    creating_spares: Mutex<()>,
    pub(crate) cpu: Support,
    pub(crate) memory: Support,
    pub(crate) containment: Support,
}

/// Removes the folders of the driver, if no cell is left in them.
impl Drop for Cgroups {
    fn drop(&mut self) {
        self.discard_spares();
        for hierarchy in &self.hierarchies {
            // Fails if there are cells in it, which must stay.
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
            creating_spares: Mutex::default(),
            cpu: degraded(),
            memory: degraded(),
            containment: degraded(),
        }
    }

    /// Removes empty cells of earlier runs, except for those `in_use`; returns whether no cell is left. No start may be in progress.
    ///
    /// The cell of a life that has just ended is empty as well, but is needed to find out why the life ended.
    pub(crate) fn remove_empty_cells(&self, in_use: &BTreeSet<&Path>) -> bool {
        let mut none_left = true;
        for hierarchy in &self.hierarchies {
            let Ok(entries) = std::fs::read_dir(&hierarchy.root) else { continue };
            for path in entries.flatten().map(|entry| entry.path()) {
                // Fails for a file and for a cell with processes, which must both stay.
                let is_removed = !in_use.contains(&*path) && std::fs::remove_dir(&path).is_ok();
                none_left &= is_removed || !path.is_dir();
            }
        }
        none_left
    }

    /// Creates a cell for a life, without limits, or takes a spare one, which has a [`ForkThread`]; `None` without control groups.
    pub(crate) fn cell(&self, name: &str) -> io::Result<Option<(Cell, Option<ForkThread>)>> {
        if self.hierarchies.is_empty() {
            return Ok(None);
        }
        let spare = self.spares().pop();
        Ok(Some(match spare.map(SpareCell::into_parts) {
            Some((mut cell, fork_thread)) => {
                cell.rename(name);
                (cell, Some(fork_thread))
            }
            None => (Cell::make(&self.hierarchies, name)?, None),
        }))
    }

    /// Whether lives get cells here.
    pub(crate) fn are_used(&self) -> bool {
        !self.hierarchies.is_empty()
    }

    /// Removes the spare cells and all empty ones, for when every life has ended; returns whether no cell is left.
    pub(crate) fn remove_all_cells(&self) -> bool {
        self.discard_spares();
        self.remove_empty_cells(&BTreeSet::new())
    }

    fn discard_spares(&self) {
        let spares = std::mem::take(&mut *self.spares());
        spares.into_iter().for_each(SpareCell::discard);
    }

    /// Removes the empty groups of drivers that ended long ago. May block for a second when there are thousands.
    pub(crate) fn sweep(&self) {
        for hierarchy in &self.hierarchies {
            sweep::sweep(&hierarchy.root, sweep::AGE_MIN);
        }
    }

    /// Creates spare cells until there are enough. Blocks for some milliseconds.
    pub(crate) fn create_spares(&self) {
        let are_supported =
            !self.hierarchies.is_empty() && self.hierarchies.iter().all(|h| h.version == Version::V1);
        let Ok(_creating_spares) = self.creating_spares.try_lock() else { return };
        while are_supported && self.spares().len() < SPARES_MAX {
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
        self.spares.lock().expect("nothing panics while it holds the spares")
    }
}
