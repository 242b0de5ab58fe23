//! The events that operators see, kept over restarts.
//!
//! They have a file of their own: inputs are kept for replay, events for people. Events are kept as text, so that a later version shows
//! what was shown at the time.
//!
//! The file begins with the format's name and version; then follow records in the framing of the segments, oldest first. Appending does
//! not sync: events survive the end of the process, and the last seconds before a power loss may be missing. A torn end is dropped. A file
//! that is damaged elsewhere is kept under another name, and events go on without what cannot be read of it: nothing depends on them.

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

/// The name that a damaged file gets; there is only the latest one.
const DAMAGED_NAME: &str = "events.damaged";

/// The beginning of the file: the format's name and version.
const MAGIC: [u8; 8] = *b"HSEVNT01";

/// The format's name alone, with which files of all versions begin.
const FORMAT: &[u8] = MAGIC.split_at(6).0;

/// The most bytes of a write that a crash may have torn; more is damage.
///
/// 64 KiB: the events of a step of the loop, some hundred of some hundred bytes.
const TORN_BYTES_MAX: usize = 64 << 10;

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

/// The events were written by a newer homeostat; nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error(
    "could not read the events in {path}: they are not of version 1; was it written by a newer homeostat?"
)]
pub struct EventFileError {
    /// Which file.
    pub path: PathBuf,
}

/// What was found in the folder of a journal.
#[derive(Debug)]
pub struct OpenedEvents {
    /// The file, to be appended to.
    pub file: EventFile,
    /// The latest [`EVENTS_MAX`], oldest first.
    pub events: VecDeque<Arc<EventRecord>>,
    /// Why events are missing, if the file was damaged.
    pub damage: Option<EventFileDamage>,
}

/// A part of the events cannot be read, or none of them.
#[derive(Debug, thiserror::Error)]
#[error("could not read all events in {path}; events go on without them, and the file is now {}", kept.display())]
pub struct EventFileDamage {
    /// Which file.
    pub path: PathBuf,
    /// Its path now; the same as before when it could not be renamed.
    pub kept: PathBuf,
    /// What is wrong with it.
    pub source: io::Error,
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
    /// Opens the file in the folder of a journal, and reads its events.
    ///
    /// Writes nothing: a file that is missing, torn or too long is rewritten with the first event. A damaged one is renamed, and its readable
    /// events are rewritten.
    pub fn open(folder: &Path) -> Result<OpenedEvents, EventFileError> {
        let path = folder.join(NAME);
        let read = match fs::read(&path) {
            Ok(bytes) if is_of_other_version(&bytes) => return Err(EventFileError { path }),
            Ok(bytes) => Contents::parse(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Contents::default(),
            Err(error) => Contents { damage: Some(error), ..Contents::default() },
        };
        let damage = read.damage.map(|source| set_aside(folder, source));
        let file = read.is_whole.then(|| OpenOptions::new().append(true).open(&path).ok()).flatten();
        let file = Self { path, open: file.map(|file| (file, read.records)) };
        Ok(OpenedEvents { file, events: read.events, damage })
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

/// What a file contains.
#[derive(Debug, Default)]
struct Contents {
    /// The latest events, without those that are damaged.
    events: VecDeque<Arc<EventRecord>>,
    records: usize,
    /// Whether it ends with its last record, so that it can be appended to.
    is_whole: bool,
    damage: Option<io::Error>,
}

impl Contents {
    fn parse(bytes: &[u8]) -> Self {
        let mut read = Self::default();
        // A crash of the machine may leave the file empty, or with a part of the format's name.
        let begins_well = bytes.starts_with(&MAGIC) || MAGIC.starts_with(bytes);
        let mut damaged_at = (!begins_well).then_some(0);
        let mut rest = bytes.strip_prefix(&MAGIC).unwrap_or(bytes);
        while let Some((skipped, event, after)) = find_record(rest) {
            if skipped > 0 {
                damaged_at.get_or_insert(bytes.len() - rest.len());
            }
            if read.events.len() == EVENTS_MAX {
                read.events.pop_front();
            }
            read.events.push_back(Arc::new(event));
            (rest, read.records) = (after, read.records + 1);
        }
        if !is_torn(rest) {
            damaged_at.get_or_insert(bytes.len() - rest.len());
        }
        read.is_whole = rest.is_empty() && damaged_at.is_none() && !bytes.is_empty();
        let why = |at| io::Error::new(io::ErrorKind::InvalidData, format!("it is damaged at byte {at}"));
        read.damage = damaged_at.map(why);
        read
    }
}

/// Whether `tail`, in which no record begins, may be what a crash leaves: a part of a record, or zeros, which a file system shows where it
/// had not written yet when the power was lost.
fn is_torn(tail: &[u8]) -> bool {
    tail.len() <= TORN_BYTES_MAX || tail.iter().all(|byte| *byte == 0)
}

/// The first record in `bytes` and the bytes after it, behind so many damaged bytes; `None` when there is no whole record.
fn find_record(bytes: &[u8]) -> Option<(usize, EventRecord, &[u8])> {
    (0..bytes.len()).find_map(|skipped| {
        let (event, after) = take(&bytes[skipped..])?;
        Some((skipped, event, after))
    })
}

fn is_of_other_version(bytes: &[u8]) -> bool {
    let version = bytes.strip_prefix(FORMAT).and_then(|rest| rest.get(..2));
    version.is_some_and(|version| version.iter().all(u8::is_ascii_digit) && !bytes.starts_with(&MAGIC))
}

/// Renames a damaged file, in place of an earlier one.
fn set_aside(folder: &Path, source: io::Error) -> EventFileDamage {
    let (path, damaged) = (folder.join(NAME), folder.join(DAMAGED_NAME));
    let kept = if fs::rename(&path, &damaged).is_ok() { damaged } else { path.clone() };
    EventFileDamage { path, kept, source }
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
