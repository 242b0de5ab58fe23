//! The history of decisions: a folder of segments for each service, limited in age and in size.
//!
//! Most decisions repeat the one before. So while the outcome stays the same, only the first decision of each reason is kept whole; the
//! others extend it, with a short record every few minutes. Appending does not sync: decisions survive the end of the process, and
//! the last seconds before a power loss may be missing. A torn end of a segment is dropped, and nothing more is appended to it.

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

/// Size from which a segment is full.
pub const HISTORY_SEGMENT_BYTES_MAX: u64 = 1 << 20;

/// Most bytes of all segments of one service; the oldest go when there are more, however young they are.
///
/// 48 MiB: thirty days of a busy service, see `edge/journal/tests/it/history.rs`.
pub const HISTORY_BYTES_MAX: u64 = 48 << 20;

/// How often segments that are too old are looked for.
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

/// The stretch that goes on for one service, and the segment that it is written to; `None` until the first write.
#[derive(Debug, Default)]
struct Book {
    stretch: Stretch,
    appender: Option<Appender>,
}

/// A part of the history could not be written or removed. What was kept before is unchanged.
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
    /// Keeps decisions in `folder` for as long as `keep`. The folder is made with the first decision.
    pub fn new(folder: PathBuf, keep: Duration) -> Self {
        Self { folder, keep, epoch: Epoch(0), by_service: BTreeMap::new(), swept: None }
    }

    /// Begins another run: the decisions from now on extend none of those before.
    pub fn begin_run(&mut self, epoch: Epoch) -> Result<(), HistoryError> {
        let result = self.flush();
        self.epoch = epoch;
        self.by_service.values_mut().for_each(|book| book.stretch.end());
        result
    }

    /// Keeps one more decision.
    ///
    /// A decision that differs from those before is handed to the kernel, not synced; others are counted, and written with a later
    /// one. After an error the next decision is kept whole, in another segment.
    pub fn keep(&mut self, decided: &Decided) -> Result<(), HistoryError> {
        if self.swept.is_none_or(|swept| decided.at.time.since(swept.time) >= SWEEP) {
            self.sweep(decided.at)?;
        }
        let book = self.by_service.entry(decided.service.clone()).or_default();
        let entries = book.stretch.take(self.epoch, decided);
        let folder = self.folder.join(decided.service.as_str());
        book.write(&folder, &entries)
    }

    /// Writes down how far the runs of equal decisions have gone.
    pub fn flush(&mut self) -> Result<(), HistoryError> {
        let mut result = Ok(());
        for (service, book) in &mut self.by_service {
            let entries = book.stretch.extend_all();
            result = result.and(book.write(&self.folder.join(service.as_str()), &entries));
        }
        result
    }

    /// Removes segments whose last decision is too old.
    fn sweep(&mut self, now: Now) -> Result<(), HistoryError> {
        self.swept = Some(now);
        let keep = u64::try_from(self.keep.as_millis()).unwrap_or(u64::MAX);
        let oldest = Wall::from_millis(now.wall.as_millis().saturating_sub(keep));
        for folder in numbered::paths(&self.folder).map_err(HistoryError::at(&self.folder))? {
            if retire(&folder, oldest).map_err(HistoryError::at(&folder))? {
                // What is still to come is written to another file.
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

/// Removes the segments of one service that are too old, and its folder with the last of them. Returns whether all were.
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
    // A folder with anything else in it stays.
    drop(fs::remove_dir(folder));
    Ok(true)
}
