//! The events that operators see, kept over restarts.
//!
//! They have a file of their own: inputs are kept for replay, events for people. Events are kept as text, so that a later version shows
//! what was shown at the time.
//!
//! The file begins with the format's name and version; then follow records in the framing of the segments, oldest first. Appending does
//! not sync: events survive the end of the process, and the last seconds before a power loss may be missing. A torn end is dropped.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::event::Event;
use model::identity::{Epoch, Ordinal};
use model::name::ServiceName;
use model::time::Wall;
use os::{Durability, WriteError, write_atomically};
use serde::{Deserialize, Serialize};

use crate::frame;

/// Events kept.
///
/// 10,000: a day of ten services that each scale a few hundred times, in about 2 MB.
pub const EVENTS_MAX: usize = 10_000;

/// Records in the file before it is rewritten with the latest [`EVENTS_MAX`].
///
/// Twice as many as are kept: each event is then written at most twice, and the file stays below some 6 MB.
const RECORDS_MAX: usize = 2 * EVENTS_MAX;

/// The file's name in the folder of the journal.
const NAME: &str = "events";

/// The beginning of the file: the format's name and version.
const MAGIC: [u8; 8] = *b"HSEVNT01";

/// Identifies an event for ever: unique over all runs, and greater for a later event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventId {
    /// The run in which it was recorded.
    pub epoch: Epoch,
    /// Its number within that run, from 1.
    pub number: u64,
}

/// An event as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// Its id.
    pub id: EventId,
    /// When it happened.
    pub at: Wall,
    /// The service that it concerns.
    pub service: ServiceName,
    /// The replica that it concerns; `None` for the service as a whole.
    pub replica: Option<Ordinal>,
    /// What happened: an [`EventKind::name`](model::event::EventKind::name).
    pub kind: String,
    /// Whether it is a warning.
    pub is_warning: bool,
    /// Why it happened.
    pub message: String,
}

/// The file of events.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    /// The open file and its number of records; `None` when it has to be rewritten before the next append.
    open: Option<(File, usize)>,
}

/// The events could not be read; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum EventFileError {
    /// The file could not be read.
    #[error("could not read the events in {path}; check that it may be read")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file has another format.
    #[error(
        "could not read the events in {path}: they are not of version 1; was it written by a newer homeostat?"
    )]
    Version {
        /// Which.
        path: PathBuf,
    },
}

/// Events could not be written. They are written again with the next ones.
#[derive(Debug, thiserror::Error)]
pub enum EventWriteError {
    /// They could not be appended.
    #[error("could not append to the events in {path}")]
    Append {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file could not be rewritten.
    #[error(transparent)]
    Rewrite(#[from] WriteError),
}

#[derive(Serialize, Deserialize)]
struct StoredEvent {
    epoch: u64,
    number: u64,
    wall: u64,
    service: ServiceName,
    replica: Option<u32>,
    kind: String,
    is_warning: bool,
    message: String,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch.0, self.number)
    }
}

impl EventId {
    /// The id that is written as `text`; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, number) = text.split_once('-')?;
        Some(Self { epoch: Epoch(epoch.parse().ok()?), number: number.parse().ok()? })
    }
}

impl EventRecord {
    /// Formats an event of the loop.
    pub fn new(id: EventId, event: &Event) -> Self {
        Self {
            id,
            at: event.at.wall,
            service: event.service.clone(),
            replica: event.replica.map(|(ordinal, _)| ordinal),
            kind: event.kind.name().to_owned(),
            is_warning: event.kind.is_warning(),
            message: event.reason.to_string(),
        }
    }
}

impl EventFile {
    /// Opens the file in the folder of a journal, and reads the latest [`EVENTS_MAX`], oldest first.
    ///
    /// Writes nothing: a file that is missing, torn or too long is rewritten with the first event.
    pub fn open(folder: &Path) -> Result<(Self, VecDeque<Arc<EventRecord>>), EventFileError> {
        let path = folder.join(NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(EventFileError::Io { path, source }),
        };
        // A crash of the machine may leave the file empty, or with a part of the format's name.
        let Some(mut rest) = bytes.strip_prefix(&MAGIC) else {
            let is_cut = MAGIC.starts_with(&bytes);
            let empty = Self { path: path.clone(), open: None };
            return if is_cut { Ok((empty, VecDeque::new())) } else { Err(EventFileError::Version { path }) };
        };
        let mut events = VecDeque::new();
        let mut records = 0;
        while let Some((event, after)) = take(rest) {
            if events.len() == EVENTS_MAX {
                events.pop_front();
            }
            events.push_back(Arc::new(event));
            (rest, records) = (after, records + 1);
        }
        let is_whole = rest.is_empty();
        let file = is_whole.then(|| OpenOptions::new().append(true).open(&path).ok()).flatten();
        Ok((Self { path, open: file.map(|file| (file, records)) }, events))
    }

    /// Appends the last `new` of `events`, which are all events that are kept, oldest first.
    ///
    /// Writes without a sync. After a failure the next call rewrites the file with all of `events`.
    pub fn append(&mut self, events: &VecDeque<Arc<EventRecord>>, new: usize) -> Result<(), EventWriteError> {
        if let Some((mut file, records)) = self.open.take()
            && records + new <= RECORDS_MAX
        {
            let bytes = records_of(events.iter().skip(events.len().saturating_sub(new)));
            let append = |source| EventWriteError::Append { path: self.path.clone(), source };
            file.write_all(&bytes).map_err(append)?;
            self.open = Some((file, records + new));
            return Ok(());
        }
        let bytes = [&MAGIC[..], &records_of(events.iter())].concat();
        write_atomically(&self.path, &bytes, Durability::Machine)?;
        let append = |source| EventWriteError::Append { path: self.path.clone(), source };
        let file = OpenOptions::new().append(true).open(&self.path).map_err(append)?;
        self.open = Some((file, events.len()));
        Ok(())
    }
}

fn records_of<'a>(events: impl Iterator<Item = &'a Arc<EventRecord>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for event in events {
        let body =
            postcard::to_allocvec(&StoredEvent::from(&**event)).expect("postcard can hold numbers and texts");
        frame::append(&mut bytes, &body);
    }
    bytes
}

/// The first record, and the bytes after it; `None` where no whole record begins.
fn take(bytes: &[u8]) -> Option<(EventRecord, &[u8])> {
    let (body, rest) = frame::split(bytes)?;
    let stored: StoredEvent = postcard::from_bytes(body).ok()?;
    Some((stored.into(), rest))
}

impl From<&EventRecord> for StoredEvent {
    fn from(event: &EventRecord) -> Self {
        Self {
            epoch: event.id.epoch.0,
            number: event.id.number,
            wall: event.at.as_millis(),
            service: event.service.clone(),
            replica: event.replica.map(|ordinal| ordinal.0),
            kind: event.kind.clone(),
            is_warning: event.is_warning,
            message: event.message.clone(),
        }
    }
}

impl From<StoredEvent> for EventRecord {
    fn from(stored: StoredEvent) -> Self {
        Self {
            id: EventId { epoch: Epoch(stored.epoch), number: stored.number },
            at: Wall::from_millis(stored.wall),
            service: stored.service,
            replica: stored.replica.map(Ordinal),
            kind: stored.kind,
            is_warning: stored.is_warning,
            message: stored.message,
        }
    }
}
