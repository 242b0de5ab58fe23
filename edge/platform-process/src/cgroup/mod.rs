//! Control groups: a cell for each life, that holds it to its limits and that nothing of it can leave.

mod cell;
mod detect;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use platform::Support;
use serde::{Deserialize, Serialize};

pub(crate) use cell::{Cell, Limits};
pub(crate) use detect::detect;

/// What a hierarchy can do, in the words of both versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Controller {
    Cpu,
    /// Version 1 only; version 2 accounts with `cpu`.
    CpuAccounting,
    Memory,
    Pids,
}

/// The two generations of control groups, whose files differ.
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

/// Where cells can be made, and what they can do here.
#[derive(Debug)]
pub(crate) struct Cgroups {
    hierarchies: Vec<Hierarchy>,
    pub(crate) cpu: Support,
    pub(crate) memory: Support,
    pub(crate) containment: Support,
}

/// A driver that leaves no cells leaves no folders.
impl Drop for Cgroups {
    fn drop(&mut self) {
        self.remove_empty_cells();
        for hierarchy in &self.hierarchies {
            // With cells in it, it cannot be removed, and shall not be.
            let _ = std::fs::remove_dir(&hierarchy.root);
        }
    }
}

impl Cgroups {
    /// No cells at all, for the reason given.
    pub(crate) fn none(why: &str) -> Self {
        let degraded = || Support::Degraded(why.into());
        Self { hierarchies: Vec::new(), cpu: degraded(), memory: degraded(), containment: degraded() }
    }

    /// Removes the cells that nothing is in, which earlier runs had no time to remove. No start may be under way.
    pub(crate) fn remove_empty_cells(&self) {
        for hierarchy in &self.hierarchies {
            let Ok(entries) = std::fs::read_dir(&hierarchy.root) else { continue };
            for entry in entries.flatten() {
                // A file is no folder, and a cell with processes is busy: neither can be removed, and neither shall be.
                let _ = std::fs::remove_dir(entry.path());
            }
        }
    }

    /// Makes a cell; none where there are no control groups.
    pub(crate) fn cell(&self, name: &str, limits: &Limits) -> io::Result<Option<Cell>> {
        if self.hierarchies.is_empty() {
            return Ok(None);
        }
        Cell::make(&self.hierarchies, name, limits).map(Some)
    }
}
