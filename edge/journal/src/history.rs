//! The history of decisions: of each service a folder of segments, kept for a time and within a size.
//!
//! Most decisions say what the one before said. So of each reason within a stretch of one outcome only the first decision is kept whole;
//! those that follow extend it, by a short record every few minutes. Segments are appended to without a sync for each record, as the
//! events are: what was kept survives the end of the process, and of the last seconds before a power loss some may be missing. What
//! is torn at the end of a segment is dropped, and nothing more is appended to it.

mod read;
mod segment;
mod stretch;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::decision::Decided;
use model::identity::Epoch;
use model::name::ServiceName;
use model::time::{Now, Wall};

use crate::kept::Kept;
use crate::numbered;

pub use read::{Past, kept_services, read};

use segment::{Appender, Entry, segments};
use stretch::Stretch;

/// A segment of this size is full.
pub const HISTORY_SEGMENT_BYTES_MAX: u64 = 1 << 20;

/// All segments of one service together; of more the oldest go, however young they are.
///
/// 48 MiB: thirty days of a busy service, see `edge/journal/tests/it/history.rs`.
pub const HISTORY_BYTES_MAX: u64 = 48 << 20;

/// From one look for what is too old to the next.
const SWEEP: Duration = Duration::from_hours(1);

/// Keeps decisions.
#[derive(Debug)]
pub struct History {
    folder: PathBuf,
    keep: Duration,
    epoch: Epoch,
    by_service: BTreeMap<ServiceName, Book>,
    swept: Option<Now>,
}

/// What goes on of one service, and where it is written; no segment before something is.
#[derive(Debug, Default)]
struct Book {
    stretch: Stretch,
    appender: Option<Appender>,
}

/// Something of the history could not be written or removed; what was kept before is as it was.
#[derive(Debug, thiserror::Error)]
#[error("could not keep the history of decisions in {path}; check that the disk has room and may be written")]
pub struct HistoryError {
    /// Which file or folder.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

impl HistoryError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { path, source }
    }
}

impl History {
    /// Keeps what is decided in `folder`, which is made with the first decision, for as long as `keep`.
    pub fn new(folder: PathBuf, keep: Duration) -> Self {
        Self { folder, keep, epoch: Epoch(0), by_service: BTreeMap::new(), swept: None }
    }

    /// Decisions from now on are those of another run, of which nothing goes on.
    pub fn begin_run(&mut self, epoch: Epoch) -> Result<(), HistoryError> {
        let result = self.flush();
        self.epoch = epoch;
        self.by_service.values_mut().for_each(|book| book.stretch.end());
        result
    }

    /// Keeps one more decision.
    ///
    /// Handed to the kernel, not synced, when it is another one than before; else counted, and written with a later one. After an
    /// error what goes on is begun anew, whole, in another segment.
    pub fn keep(&mut self, decided: &Decided) -> Result<(), HistoryError> {
        if self.swept.is_none_or(|swept| decided.at.time.since(swept.time) >= SWEEP) {
            self.sweep(decided.at)?;
        }
        let book = self.by_service.entry(decided.service.clone()).or_default();
        let entries = book.stretch.take(self.epoch, decided);
        let folder = self.folder.join(decided.service.as_str());
        book.write(&folder, &entries)
    }

    /// Writes down how far everything went that goes on.
    pub fn flush(&mut self) -> Result<(), HistoryError> {
        let mut result = Ok(());
        for (service, book) in &mut self.by_service {
            let entries = book.stretch.extend_all();
            result = result.and(book.write(&self.folder.join(service.as_str()), &entries));
        }
        result
    }

    /// Removes segments whose last decision is older than is kept.
    fn sweep(&mut self, now: Now) -> Result<(), HistoryError> {
        self.swept = Some(now);
        let keep = u64::try_from(self.keep.as_millis()).unwrap_or(u64::MAX);
        let oldest = Wall::from_millis(now.wall.as_millis().saturating_sub(keep));
        for folder in numbered::paths(&self.folder).map_err(HistoryError::at(&self.folder))? {
            if retire(&folder, oldest).map_err(HistoryError::at(&folder))? {
                // What is written there goes to a file of its own.
                self.by_service.retain(|name, _| self.folder.join(name.as_str()) != folder);
            }
        }
        Ok(())
    }
}

impl Book {
    fn write(&mut self, folder: &Path, entries: &[Entry]) -> Result<(), HistoryError> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut written = match &mut self.appender {
            Some(appender) => appender.append(entries),
            None => Appender::begin(folder).and_then(|mut appender| {
                appender.append(entries)?;
                self.appender = Some(appender);
                Ok(())
            }),
        };
        if let Some(appender) = self.appender.as_mut().filter(|appender| appender.is_full()) {
            written = written.and(appender.append(&self.stretch.extend_all()));
            *self = Self::default();
        } else if written.is_err() {
            *self = Self::default();
        }
        written.map_err(HistoryError::at(folder))
    }
}

/// Removes the segments of one service that are over, and its folder with the last of them. Returns whether all were.
fn retire(folder: &Path, oldest: Wall) -> io::Result<bool> {
    let all = segments(folder)?;
    for (_, path) in &all {
        let is_over = |kept: &Kept| kept.to.wall < oldest;
        let kept = read::folded(segment::entries(path)?);
        if !kept.iter().all(is_over) {
            return Ok(false);
        }
        fs::remove_file(path)?;
    }
    // One that holds anything else stays.
    drop(fs::remove_dir(folder));
    Ok(true)
}
