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

impl Cgroups {
    /// No cells at all, for the reason given.
    pub(crate) fn none(why: &str) -> Self {
        let degraded = || Support::Degraded(why.into());
        Self { hierarchies: Vec::new(), cpu: degraded(), memory: degraded(), containment: degraded() }
    }

    /// Makes a cell; none where there are no control groups.
    pub(crate) fn cell(&self, name: &str, limits: &Limits) -> io::Result<Option<Cell>> {
        if self.hierarchies.is_empty() {
            return Ok(None);
        }
        Cell::make(&self.hierarchies, name, limits).map(Some)
    }
}
