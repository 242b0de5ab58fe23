//! Why an action failed, as error messages.

use std::fmt::Display;
use std::io;

use model::action::{Failure, FailureKind};
use os::WriteError;

/// The cause of a failure; [`Cause::failure`] completes the message with what was attempted.
#[derive(Debug)]
pub(crate) struct Cause {
    kind: FailureKind,
    why: String,
}

impl Cause {
    pub(crate) fn new(kind: FailureKind, why: impl Display) -> Self {
        Self { kind, why: why.to_string() }
    }

    /// An error of the operating system, which `why` describes.
    pub(crate) fn of(error: &io::Error, why: impl Display) -> Self {
        Self::new(kind_of(error), why)
    }

    /// The failure of `attempt`, such as "could not start shop-0".
    pub(crate) fn failure(self, attempt: &str) -> Failure {
        Failure { kind: self.kind, message: format!("{attempt}: {}", self.why).into() }
    }
}

impl From<WriteError> for Cause {
    fn from(error: WriteError) -> Self {
        Self::of(&error.source, format!("{error} ({})", error.source))
    }
}

/// The kind of failure that an error of the operating system is.
pub(crate) fn kind_of(error: &io::Error) -> FailureKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FailureKind::DiskFull,
        io::ErrorKind::AddrInUse => FailureKind::AddressInUse,
        _ => FailureKind::Other,
    }
}
