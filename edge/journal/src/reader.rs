//! Reads segments.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use model::input::Input;
use model::time::Now;

use crate::frame::{HEADER_BYTES, Header};
use crate::{MAGIC, RECORD_BYTES_MAX, SUFFIX, numbered, v1};

/// One input with its time, and the digest of the loop's output.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// When the loop took it.
    pub now: Now,
    /// The input.
    pub input: Input,
    /// The digest of the loop's output.
    pub digest: u64,
}

/// Reads the records of a segment in order. A torn tail ends it as the end of the file does.
#[derive(Debug)]
pub struct Segment<R = BufReader<File>> {
    path: PathBuf,
    file: R,
    read: u64,
    ended: bool,
}

/// A segment cannot be read further; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be opened or read.
    #[error("could not read the journal segment {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not a journal, or of a version that this program does not know.
    #[error("could not read {path}: it is not a journal of version 1; was it written by a newer homeostat?")]
    Version {
        /// Which.
        path: PathBuf,
    },
    /// A record before the end does not match its checksum, or cannot be decoded.
    #[error("could not read the journal segment {path}: the record at byte {at} is damaged")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Where the record begins.
        at: u64,
        /// Why, if it is known.
        source: Option<v1::Unreadable>,
    },
}

/// The segments of a folder with their numbers, oldest first; none when the folder does not exist.
pub fn segments(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    numbered::files(folder, SUFFIX)
}

impl Segment {
    /// Opens a segment.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(|source| ReadError::Io { path: path.to_path_buf(), source })?;
        Self::read(path, BufReader::new(file))
    }
}

impl<R: Read> Segment<R> {
    /// Reads a segment from any reader; errors name it `path`.
    pub fn read(path: &Path, from: R) -> Result<Self, ReadError> {
        let mut segment = Self { path: path.to_path_buf(), file: from, read: 0, ended: false };
        let mut magic = Vec::with_capacity(MAGIC.len());
        let read = segment.file.by_ref().take(MAGIC.len() as u64).read_to_end(&mut magic);
        read.map_err(|source| ReadError::Io { path: path.to_path_buf(), source })?;
        // A crash while a segment is created leaves one without records.
        if !MAGIC.starts_with(&magic) {
            return Err(ReadError::Version { path: path.to_path_buf() });
        }
        segment.read = magic.len() as u64;
        Ok(segment)
    }

    fn next_record(&mut self) -> Result<Option<Record>, ReadError> {
        let at = self.read;
        let mut header = [0; HEADER_BYTES];
        if !self.fill(&mut header)? {
            return Ok(None);
        }
        let header = Header::parse(header);
        if header.len > RECORD_BYTES_MAX {
            return Err(self.damaged(at));
        }
        let mut body = vec![0; header.len as usize];
        if !self.fill(&mut body)? {
            return Ok(None);
        }
        if !header.matches(&body) {
            // A crash of the machine may leave an incomplete last record; anything after it means damage.
            return if self.is_at_end()? { Ok(None) } else { Err(self.damaged(at)) };
        }
        let stored: v1::Record = postcard::from_bytes(&body).map_err(|_| self.damaged(at))?;
        let (now, digest) = (stored.now(), stored.digest);
        let input = Input::try_from(stored.input).map_err(|source| ReadError::Damaged {
            path: self.path.clone(),
            at,
            source: Some(source),
        })?;
        Ok(Some(Record { now, input, digest }))
    }

    /// Fills `bytes`; returns `false` when the file ends before that.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<bool, ReadError> {
        match self.file.read_exact(bytes) {
            Ok(()) => {
                self.read += bytes.len() as u64;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(source) => Err(ReadError::Io { path: self.path.clone(), source }),
        }
    }

    fn is_at_end(&mut self) -> Result<bool, ReadError> {
        Ok(!self.fill(&mut [0])?)
    }

    fn damaged(&self, at: u64) -> ReadError {
        ReadError::Damaged { path: self.path.clone(), at, source: None }
    }
}

impl<R: Read> Iterator for Segment<R> {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let record = self.next_record().transpose();
        self.ended = !matches!(record, Some(Ok(_)));
        record
    }
}
