//! The events that people were told, kept over restarts.
//!
//! They have a file of their own, because an input is kept to be replayed, and an event to be read. Events are kept in words, so that
//! no later version has to work out again what was said.
//!
//! The file is a name with a version, then records as those of the segments, oldest first. Appending does not sync: events survive
//! the end of the process, and the last seconds before a power loss may be missing. A torn end is dropped.

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
/// Twice as many as are kept: so each event is written twice at most, and the file stays below some 6 MB.
const RECORDS_MAX: usize = 2 * EVENTS_MAX;

/// The file's name in the folder of the journal.
const NAME: &str = "events";

/// What the file begins with: the format's name and its version.
const MAGIC: [u8; 8] = *b"HSEVNT01";

/// Names an event for ever: unique over all runs, and greater for a later event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventId {
    /// The run in which it was told.
    pub epoch: Epoch,
    /// Which one of that run, from 1.
    pub number: u64,
}

/// An event as people were told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its name.
    pub id: EventId,
    /// When.
    pub at: Wall,
    /// To which service it happened.
    pub service: ServiceName,
    /// To which of its replicas; `None` when to the service as a whole.
    pub replica: Option<Ordinal>,
    /// What, as [`EventKind::name`](model::event::EventKind::name) says it.
    pub kind: String,
    /// Whether it tells of trouble.
    pub is_warning: bool,
    /// Why, in words.
    pub message: String,
}

/// Keeps what was told.
#[derive(Debug)]
pub struct ToldFile {
    path: PathBuf,
    /// The file that is appended to, and how many records it has; `None` when it has to be rewritten first.
    open: Option<(File, usize)>,
}

/// The events could not be read; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ToldError {
    /// The file could not be read.
    #[error("could not read the events in {path}; check that it may be read")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file has another form.
    #[error(
        "could not read the events in {path}: they are not of version 1; was it written by a newer homeostat?"
    )]
    Version {
        /// Which.
        path: PathBuf,
    },
}

/// Events could not be kept; they will be with the next one that can.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// It could not be appended.
    #[error("could not append to the events in {path}")]
    Append {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file could not be written anew.
    #[error(transparent)]
    Rewrite(#[from] WriteError),
}

#[derive(Serialize, Deserialize)]
struct Stored {
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

impl Told {
    /// Puts an event into words.
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

impl ToldFile {
    /// Opens the file in the folder of a journal, and reads the latest [`EVENTS_MAX`], oldest first.
    ///
    /// Writes nothing: a file that is missing, torn or too long is rewritten with the first event.
    pub fn open(folder: &Path) -> Result<(Self, VecDeque<Arc<Told>>), ToldError> {
        let path = folder.join(NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(ToldError::Io { path, source }),
        };
        // A crash of the machine may leave it empty, or with half of its name.
        let Some(mut rest) = bytes.strip_prefix(&MAGIC) else {
            let is_cut = MAGIC.starts_with(&bytes);
            let empty = Self { path: path.clone(), open: None };
            return if is_cut { Ok((empty, VecDeque::new())) } else { Err(ToldError::Version { path }) };
        };
        let mut told = VecDeque::new();
        let mut records = 0;
        while let Some((event, after)) = take(rest) {
            if told.len() == EVENTS_MAX {
                told.pop_front();
            }
            told.push_back(Arc::new(event));
            (rest, records) = (after, records + 1);
        }
        let is_whole = rest.is_empty();
        let file = is_whole.then(|| OpenOptions::new().append(true).open(&path).ok()).flatten();
        Ok((Self { path, open: file.map(|file| (file, records)) }, told))
    }

    /// Keeps the latest `new` of `told`, which holds everything that is to be kept, oldest first.
    ///
    /// Handed to the kernel, not synced. After a failure the next call rewrites the file with everything that is to be kept.
    pub fn keep(&mut self, told: &VecDeque<Arc<Told>>, new: usize) -> Result<(), KeepError> {
        if let Some((mut file, records)) = self.open.take()
            && records + new <= RECORDS_MAX
        {
            let bytes = records_of(told.iter().skip(told.len().saturating_sub(new)));
            let append = |source| KeepError::Append { path: self.path.clone(), source };
            file.write_all(&bytes).map_err(append)?;
            self.open = Some((file, records + new));
            return Ok(());
        }
        let bytes = [&MAGIC[..], &records_of(told.iter())].concat();
        write_atomically(&self.path, &bytes, Durability::Machine)?;
        let append = |source| KeepError::Append { path: self.path.clone(), source };
        let file = OpenOptions::new().append(true).open(&self.path).map_err(append)?;
        self.open = Some((file, told.len()));
        Ok(())
    }
}

fn records_of<'a>(told: impl Iterator<Item = &'a Arc<Told>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for event in told {
        let body =
            postcard::to_allocvec(&Stored::from(&**event)).expect("postcard can hold numbers and texts");
        frame::append(&mut bytes, &body);
    }
    bytes
}

/// The first record and what is behind it; `None` where no whole record begins.
fn take(bytes: &[u8]) -> Option<(Told, &[u8])> {
    let (body, rest) = frame::split(bytes)?;
    let stored: Stored = postcard::from_bytes(body).ok()?;
    Some((stored.into(), rest))
}

impl From<&Told> for Stored {
    fn from(told: &Told) -> Self {
        Self {
            epoch: told.id.epoch.0,
            number: told.id.number,
            wall: told.at.as_millis(),
            service: told.service.clone(),
            replica: told.replica.map(|ordinal| ordinal.0),
            kind: told.kind.clone(),
            is_warning: told.is_warning,
            message: told.message.clone(),
        }
    }
}

impl From<Stored> for Told {
    fn from(stored: Stored) -> Self {
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
