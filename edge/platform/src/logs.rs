//! The output of replicas.

use std::fmt;
use std::io;

use futures_util::future::BoxFuture;
use model::identity::ReplicaId;

/// The longest line that is returned whole, in bytes; a longer one is returned in parts.
///
/// 64 KiB holds any stack trace that is one line of JSON, and keeps a reader of a binary stream small.
pub const LINE_LEN_MAX: usize = 64 * 1024;

/// The most lines before the end from which a reader can begin: some 10 MB of ordinary lines, more than a person reads.
pub const TAIL_LINES_MAX: usize = 100_000;

/// One line that a replica printed, on its standard output or its standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Without the line break; bytes that are not UTF-8 are replaced by U+FFFD.
    pub text: String,
}

/// Lines in the order in which they were printed.
pub trait LogLines: fmt::Debug + Send {
    /// The next line that began before the log was opened; `None` when all have been read, however much has been printed since.
    ///
    /// The last line may not have its line break yet; what is printed of it later is returned as a line of its own.
    fn next_present(&mut self) -> BoxFuture<'_, Result<Option<LogLine>, LogError>>;

    /// Waits for the next line. Cancel safe.
    fn next(&mut self) -> BoxFuture<'_, Result<LogLine, LogError>>;
}

/// The output of a replica could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The replica has no log.
    #[error("{replica} has no log: it never ran here, or its log was moved or deleted")]
    NoLog {
        /// The place.
        replica: ReplicaId,
    },
    /// The log exists but cannot be read.
    #[error("could not read the log of {replica}")]
    Unreadable {
        /// The place.
        replica: ReplicaId,
        /// What failed.
        source: io::Error,
    },
}
