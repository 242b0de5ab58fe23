//! The history of decisions: a folder of segments for each service, limited in age and size.
//!
//! Most decisions repeat the one before. So while the outcome stays the same, only the first decision of each reason is kept in full; the
//! others extend it, with a short record every few minutes. Appending does not sync: decisions survive the end of the process, and
//! the last seconds before a power loss may be missing. A torn end of a segment is dropped, and nothing more is appended to it.

mod encoder;
mod read;
mod segment;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::decision::DecisionEntry;
use model::identity::Epoch;
use model::name::ServiceName;
use model::time::{Now, Wall};

use crate::decision_record::DecisionRun;
use crate::numbered;

pub use read::{DecisionHistory, read, recorded_services};

use encoder::RunEncoder;
use segment::{Appender, Entry, segments};

/// The size from which a segment is full.
pub const HISTORY_SEGMENT_BYTES_MAX: u64 = 1 << 20;

/// The size of all segments of one service; the oldest are removed when they are larger, however young they are.
///
/// 48 MiB: thirty days of a busy service, see `edge/journal/tests/it/history.rs`.
pub const HISTORY_BYTES_MAX: u64 = 48 << 20;

/// How often expired segments are removed.
const SWEEP_INTERVAL: Duration = Duration::from_hours(1);

/// The writer of the history.
#[derive(Debug)]
pub struct History {
    folder: PathBuf,
    retention: Duration,
    epoch: Epoch,
    by_service: BTreeMap<ServiceName, ServiceHistory>,
    swept: Option<Now>,
}

/// The current runs of one service, and the segment that they are written to; `None` until the first write.
#[derive(Debug, Default)]
struct ServiceHistory {
    encoder: RunEncoder,
    appender: Option<Appender>,
}

/// A part of the history could not be written or removed. Earlier decisions are unchanged.
#[derive(Debug, thiserror::Error)]
#[error(
    "could not write the history of decisions in {path}; check that the disk has free space and is writable"
)]
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
    /// Keeps decisions in `folder` for the time `retention`. The folder is created with the first decision.
    pub fn new(folder: PathBuf, retention: Duration) -> Self {
        Self { folder, retention, epoch: Epoch(0), by_service: BTreeMap::new(), swept: None }
    }

    /// Begins a new epoch: later decisions extend no earlier run.
    pub fn begin_run(&mut self, epoch: Epoch) -> Result<(), HistoryError> {
        let result = self.flush();
        self.epoch = epoch;
        self.by_service.values_mut().for_each(|history| history.encoder.end());
        result
    }

    /// Appends a decision.
    ///
    /// A decision that differs from those before is written without a sync; others are counted, and written with a later
    /// one. After an error the next decision is written in full, to another segment.
    pub fn append(&mut self, decided: &DecisionEntry) -> Result<(), HistoryError> {
        if self.swept.is_none_or(|swept| decided.at.time.since(swept.time) >= SWEEP_INTERVAL) {
            self.sweep(decided.at)?;
        }
        let history = self.by_service.entry(decided.service.clone()).or_default();
        let entries = history.encoder.encode(self.epoch, decided);
        let folder = self.folder.join(decided.service.as_str());
        history.write(&folder, &entries)
    }

    /// Writes the ends of all current runs.
    pub fn flush(&mut self) -> Result<(), HistoryError> {
        let mut result = Ok(());
        for (service, history) in &mut self.by_service {
            let entries = history.encoder.extend_all();
            result = result.and(history.write(&self.folder.join(service.as_str()), &entries));
        }
        result
    }

    /// Removes segments whose last decision has expired.
    fn sweep(&mut self, now: Now) -> Result<(), HistoryError> {
        self.swept = Some(now);
        let retention = u64::try_from(self.retention.as_millis()).unwrap_or(u64::MAX);
        let oldest = Wall::from_millis(now.wall.as_millis().saturating_sub(retention));
        for folder in numbered::paths(&self.folder).map_err(HistoryError::at(&self.folder))? {
            if remove_expired(&folder, oldest).map_err(HistoryError::at(&folder))? {
                // Later decisions are written to another file.
                self.by_service.retain(|name, _| self.folder.join(name.as_str()) != folder);
            }
        }
        Ok(())
    }
}

impl ServiceHistory {
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
            written = written.and(appender.append(&self.encoder.extend_all()));
            *self = Self::default();
        } else if written.is_err() {
            *self = Self::default();
        }
        written.map_err(HistoryError::at(folder))
    }
}

/// Removes the expired segments of one service, and its folder with the last of them. Returns whether all of them were removed.
fn remove_expired(folder: &Path, oldest: Wall) -> io::Result<bool> {
    let all = segments(folder)?;
    for (_, path) in &all {
        let is_expired = |run: &DecisionRun| run.to.wall < oldest;
        let runs = read::runs_of(segment::entries(path)?);
        if !runs.iter().all(is_expired) {
            return Ok(false);
        }
        fs::remove_file(path)?;
    }
    // A folder with anything else in it stays.
    drop(fs::remove_dir(folder));
    Ok(true)
}
