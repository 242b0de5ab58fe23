//! The settings of a driver.

use std::path::{Path, PathBuf};

/// The `$PATH` of replicas that declare none: Debian's default.
pub const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How a process platform is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder for records, locks and logs; created if it does not exist.
    pub data: PathBuf,
    /// The base of relative working directories.
    pub base: PathBuf,
    /// `$PATH` of replicas that declare none.
    pub path: String,
    /// How `resources.cpu` is enforced.
    pub cpu: CpuPolicy,
    /// Whether replicas get control groups.
    pub cgroups: CgroupUse,
    /// How much of the output of a replica is kept.
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

/// How `resources.cpu` is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuPolicy {
    /// As a share: a replica may use idle processors beyond its declaration, and when they are scarce each gets time in
    /// proportion to its declaration. This is a Kubernetes request. Utilization may exceed 100 %, so a burst is served while
    /// more replicas start, and the autoscaler sees how large it is.
    Share,
    /// As a quota: never more than declared in any 100 ms. This is a Kubernetes limit: predictable, at the price of
    /// pauses of up to 100 ms for a replica that is at its limit.
    Quota,
}

/// Whether replicas get control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupUse {
    /// Where the kernel and the permissions of this process allow it; the capabilities report what is missing.
    WherePermitted,
    /// Never: process groups only.
    Never,
}

/// How much of the output of one place is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// The most bytes of the current file, beyond which its oldest part moves to a numbered file. At least 4 KiB.
    pub current_bytes_max: u64,
    /// The most numbered files; at least 1.
    pub chunks_max: usize,
}

/// 8 MiB and four numbered files: 40 MiB a place, so that 100 places stay within 4 GB.
impl Default for LogLimits {
    fn default() -> Self {
        Self { current_bytes_max: 8 * 1024 * 1024, chunks_max: 4 }
    }
}
