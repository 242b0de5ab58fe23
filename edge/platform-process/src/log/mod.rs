//! The output of replicas, which they write directly to a file, and which the driver keeps within limits.
//!
//! All lives of a place append to one file, `logs/SERVICE/ORDINAL/output`, so that their lines keep their order and a
//! replica depends on no other process. The position of a byte in it never changes: when the file grows too long, its oldest part
//! is copied to `output.OFFSET` and then punched out of it, which frees its blocks and moves nothing. A reader's
//! position is valid as long as the bytes are kept anywhere. Beyond its end, disk space is reserved for when the disk is full.

mod limits;
mod read;
mod reserve;
mod rotate;

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use model::identity::ReplicaId;

pub(crate) use limits::keep_within_limits;
pub(crate) use read::read;

/// The file that replicas write to.
const CURRENT: &str = "output";

/// The part of a log in one numbered file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Chunk {
    /// Where its first byte lies in the log.
    start: u64,
    /// Where its last byte ends.
    end: u64,
    path: PathBuf,
}

fn folder_of(logs: &Path, replica: &ReplicaId) -> PathBuf {
    logs.join(replica.service.as_str()).join(replica.ordinal.to_string())
}

/// Opens the log of a place for a new life, at its end.
pub(crate) fn open_for_writing(logs: &Path, replica: &ReplicaId) -> io::Result<File> {
    let folder = folder_of(logs, replica);
    let open = || OpenOptions::new().append(true).create(true).open(folder.join(CURRENT));
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(&folder)?;
            open()
        }
        other => other,
    }
}

/// The numbered files of a place, oldest first.
fn chunks(folder: &Path) -> io::Result<Vec<Chunk>> {
    let mut chunks = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let start =
            name.to_str().and_then(|name| name.strip_prefix(CURRENT)?.strip_prefix('.')?.parse().ok());
        let Some(start) = start else { continue };
        match entry.metadata() {
            Ok(found) => chunks.push(Chunk { start, end: start + found.len(), path: entry.path() }),
            // Removed since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    chunks.sort();
    Ok(chunks)
}
