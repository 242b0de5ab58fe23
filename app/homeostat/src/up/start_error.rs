//! Why `up` did not start, with the code of the page in docs/errors that says more.

use anyhow::anyhow;
use orchestrator::StartObstacle;

/// The code of an error at the start, which is also the name of its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Another process has the data folder.
    InUse,
    /// The address of the API cannot be used.
    Address,
    /// What is in the data folder is damaged, or was written by a newer homeostat.
    Unreadable,
    /// The data folder cannot be created, read or written.
    Folder,
    /// The data folder is a copy of one that is in use.
    Copy,
    /// The disk is full.
    DiskFull,
}

impl Code {
    const fn as_str(self) -> &'static str {
        match self {
            Self::InUse => "HS0020",
            Self::Address => "HS0021",
            Self::Unreadable => "HS0022",
            Self::Folder => "HS0023",
            Self::Copy => "HS0024",
            Self::DiskFull => "HS0025",
        }
    }

    /// Adds what was attempted, and this code, to an error.
    pub(crate) fn explain(self, error: impl Into<anyhow::Error>) -> anyhow::Error {
        error.into().context(format!("could not start ({})", self.as_str()))
    }
}

/// The store could not be opened; `takes_over` says whether this process is to replace another one.
pub(super) fn of_store(error: store_embedded::OpenError, takes_over: bool) -> anyhow::Error {
    use store_embedded::OpenError as E;
    match error {
        E::InUse { .. } if !takes_over => {
            Code::InUse.explain(anyhow!("{error}, or take its place with --take-over"))
        }
        E::InUse { .. } => Code::InUse.explain(anyhow!(
            "{error}, or try again in a moment: it is starting, or another process takes its place"
        )),
        E::NewerFormat { .. } | E::NotAStore { .. } | E::Damaged { .. } => Code::Unreadable.explain(error),
        E::NoSpace { .. } => Code::DiskFull.explain(error),
        E::Denied { .. } | E::Failed { .. } => Code::Folder.explain(error),
    }
}

pub(super) fn of_platform(error: platform_process::OpenError) -> anyhow::Error {
    use platform_process::OpenError as E;
    let code = match &error {
        E::InUse { .. } => Code::InUse,
        E::RunElsewhere { .. } => Code::Copy,
        E::Folder { source, .. } if is_disk_full(source) => Code::DiskFull,
        E::Folder { .. } => Code::Folder,
        E::Records { .. } => Code::Unreadable,
    };
    code.explain(error)
}

pub(super) fn of_loop(error: orchestrator::StartError) -> anyhow::Error {
    match error.obstacle() {
        StartObstacle::DiskFull => Code::DiskFull.explain(error),
        StartObstacle::Unreadable => Code::Unreadable.explain(error),
        StartObstacle::Folder => Code::Folder.explain(error),
        StartObstacle::Threads => error.into(),
    }
}

/// The data folder could not be created.
pub(crate) fn of_data_folder(error: &std::io::Error) -> Code {
    if is_disk_full(error) { Code::DiskFull } else { Code::Folder }
}

fn is_disk_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}
