//! The segments of the history: numbered files of records, framed as those of the journal.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{HISTORY_BYTES_MAX, HISTORY_SEGMENT_BYTES_MAX};
use crate::decision_record::{Clocks, DECISION_BYTES_MAX, DecisionRecord};
use crate::{frame, numbered};

/// The beginning of a segment: the format's name and version.
const MAGIC: [u8; 8] = *b"HSHIST01";

/// The longest entry that is read: a decision, and the fields around it.
const ENTRY_BYTES_MAX: usize = DECISION_BYTES_MAX + 512;

/// The longest segment that is read: a full one, and the entries that filled it.
const READ_BYTES_MAX: u64 = HISTORY_SEGMENT_BYTES_MAX + (64 << 10);

/// The suffix of segments' names.
const SUFFIX: &str = ".decisions";

/// One record of a segment.
#[derive(Clone, Serialize, Deserialize)]
pub(super) enum Entry {
    /// A run of decisions begins: with another outcome or reason than before.
    RunStarted { number: u32, epoch: u64, from: Clocks, record: DecisionRecord },
    /// The run with this number has lasted until then.
    RunExtended { number: u32, to: Clocks, count: u64, ratios: Vec<Option<(f64, f64)>> },
}

/// Appends to one segment.
///
/// The file is open only during a write: a service writes seldom, and may have been deleted after its last one.
#[derive(Debug)]
pub(super) struct Appender {
    path: PathBuf,
    written: u64,
}

impl Appender {
    /// Begins the next segment in `folder`, and removes the oldest ones, so that all fit in [`HISTORY_BYTES_MAX`].
    pub(super) fn begin(folder: &Path) -> io::Result<Self> {
        os::create_secret_folder(folder).map_err(|error| error.source)?;
        let earlier = segments(folder)?;
        let mut available = HISTORY_BYTES_MAX - HISTORY_SEGMENT_BYTES_MAX;
        for (_, path) in earlier.iter().rev() {
            match available.checked_sub(fs::metadata(path)?.len()) {
                Some(left) => available = left,
                None => fs::remove_file(path)?,
            }
        }
        let path = numbered::next(folder, &earlier, SUFFIX);
        let mut file = OpenOptions::new().create_new(true).append(true).open(&path)?;
        file.write_all(&MAGIC)?;
        Ok(Self { path, written: MAGIC.len() as u64 })
    }

    pub(super) fn is_full(&self) -> bool {
        self.written >= HISTORY_SEGMENT_BYTES_MAX
    }

    /// Appends entries in one write. After an error nothing more may be appended: the end may be torn.
    pub(super) fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for entry in entries {
            let body = postcard::to_allocvec(entry).expect("postcard can hold numbers and texts");
            frame::append(&mut bytes, &body);
        }
        OpenOptions::new().append(true).open(&self.path)?.write_all(&bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

/// The segments of a folder with their numbers, oldest first; none when the folder does not exist.
pub(super) fn segments(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    numbered::files(folder, SUFFIX)
}

/// The entries of a segment, up to the first torn one; none of another file, or of another version.
pub(super) fn entries(path: &Path) -> io::Result<Vec<Entry>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(File::open(path)?, READ_BYTES_MAX), &mut bytes)?;
    let Some(mut rest) = bytes.strip_prefix(&MAGIC) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    while let Some((entry, after)) = take(rest) {
        found.push(entry);
        rest = after;
    }
    Ok(found)
}

fn take(bytes: &[u8]) -> Option<(Entry, &[u8])> {
    let (body, rest) = frame::split(bytes).filter(|(body, _)| body.len() <= ENTRY_BYTES_MAX)?;
    Some((postcard::from_bytes(body).ok()?, rest))
}
