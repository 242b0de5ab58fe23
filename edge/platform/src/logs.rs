//! The output of replicas.

use std::fmt;
use std::io;

use futures_util::future::BoxFuture;
use model::identity::ReplicaId;

/// Longest line that is returned whole, in bytes; a longer one comes in parts.
///
/// 64 KiB holds any stack trace that is one line of JSON, and keeps a reader of a binary stream small.
pub const LINE_LEN_MAX: usize = 64 * 1024;

/// Most lines before the end at which a reader can begin: some 10 MB of ordinary lines, more than a person reads.
pub const TAIL_LINES_MAX: usize = 100_000;

/// One line that a replica printed, on its standard output or its standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Without the line break; bytes that are not UTF-8 are replaced by U+FFFD.
    pub text: String,
}

/// Lines in the order in which they were printed.
pub trait LogLines: fmt::Debug + Send {
    /// The next line that is there already; `None` when all have been read.
    ///
    /// The last line need not have its line break yet; what is printed of it later is a line of its own.
    fn next_present(&mut self) -> BoxFuture<'_, Result<Option<LogLine>, LogError>>;

    /// The next line, however long it takes to come. Cancel safe.
    fn next(&mut self) -> BoxFuture<'_, Result<LogLine, LogError>>;
}

/// The output of a replica could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Nothing was ever printed there.
    #[error("{replica} has no log: it never ran here")]
    NoLog {
        /// Whose log was meant.
        replica: ReplicaId,
    },
    /// The log is there and cannot be read.
    #[error("could not read the log of {replica}")]
    Unreadable {
        /// Whose log was meant.
        replica: ReplicaId,
        /// What failed.
        source: io::Error,
    },
}
