//! The settings of a driver.

use std::path::{Path, PathBuf};

/// Where a replica looks for programs when its declaration says nothing: what Debian gives to every user.
pub const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How a process platform is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder for records, locks and logs; made when it is not there.
    pub data: PathBuf,
    /// Where relative working directories begin.
    pub base: PathBuf,
    /// `$PATH` of replicas that declare none.
    pub path: String,
    /// How `resources.cpu` is held.
    pub cpu: CpuPolicy,
    /// Whether replicas get control groups.
    pub cgroups: CgroupUse,
    /// How much of what a replica prints is kept.
    pub log: LogLimits,
}

impl Settings {
    /// The defaults, with everything below `data`, and relative working directories below `base`.
    pub fn new(data: impl Into<PathBuf>, base: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            base: base.into(),
            path: PATH_DEFAULT.to_owned(),
            cpu: CpuPolicy::Share,
            cgroups: CgroupUse::WherePermitted,
            log: LogLimits::default(),
        }
    }

    pub(crate) fn records(&self) -> PathBuf {
        self.data.join("replicas")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.data.join("logs")
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }
}

/// How `resources.cpu` is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuPolicy {
    /// As a share: a replica may use idle processors beyond its declaration, and when they are scarce each gets what it
    /// declared in proportion. This is a Kubernetes request. Utilization may exceed 100 %, so a burst is served while
    /// more replicas come, and the autoscaler sees how large it is.
    Share,
    /// As a quota: never more than declared in any 100 ms. This is a Kubernetes limit: predictable, at the price of
    /// pauses of up to 100 ms for a replica that is at its limit.
    Quota,
}

/// Whether replicas get control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupUse {
    /// Where the kernel and our rights allow it; what is missing is said in the capabilities.
    WherePermitted,
    /// Never: process groups only.
    Never,
}

/// How much of what the lives of one place print is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Bytes in the file that is written to, past which its oldest part moves to a numbered file. At least 4 KiB.
    pub current_bytes_max: u64,
    /// Numbered files that are kept; at least 1.
    pub chunks_max: usize,
}

/// 8 MiB and four numbered files: 40 MiB a place, so that 100 places stay within 4 GB.
impl Default for LogLimits {
    fn default() -> Self {
        Self { current_bytes_max: 8 * 1024 * 1024, chunks_max: 4 }
    }
}
