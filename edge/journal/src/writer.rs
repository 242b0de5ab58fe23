//! Writes segments.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use model::input::Input;
use model::time::Now;
use rustix::fs::Access;

use crate::reader::segments;
use crate::{MAGIC, RECORD_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENTS_MAX, SUFFIX, frame, numbered, v1};

/// The size of the write buffer, in bytes: reports are frequent and small.
const BUFFER_BYTES: usize = 64 << 10;

/// Appends records to the newest segment of a folder.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    path: PathBuf,
    file: File,
    /// Device and inode of the data folder, the parent of the journal's folder.
    parent: (u64, u64),
    buffer: Vec<u8>,
    written: u64,
}

/// An input as it is written to a segment.
#[derive(Debug)]
pub struct EncodedInput(Vec<u8>);

/// A segment could not be created; older ones are unchanged.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder could not be created or listed.
    #[error("could not use the journal's folder {folder}; check that it may be written")]
    Folder {
        /// Which.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The new segment could not be created.
    #[error(
        "could not create the journal segment {path}; check that the disk has free space and is writable"
    )]
    Segment {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The journal would not be found at the next start, or no new segment can be created.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The data folder, the parent of the journal's folder, is gone, or another one has its name.
    #[error(
        "the data folder {folder} was moved or deleted; put it back, and Homeostat continues by itself, or restart Homeostat"
    )]
    Moved {
        /// Which.
        folder: PathBuf,
    },
    /// No new segment can be created.
    #[error("could not use the journal's folder {folder}; check that it may be written")]
    Unwritable {
        /// Which.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// An input was not journaled, so nothing that depends on it may be done.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The record would be longer than [`RECORD_BYTES_MAX`]; nothing was written of it, and others may follow.
    #[error(
        "could not append to the journal {path}: the record has {len} bytes, the limit is {RECORD_BYTES_MAX}"
    )]
    TooLong {
        /// The segment.
        path: PathBuf,
        /// The length that its body may have, in bytes.
        len: usize,
    },
    /// The file could not be written: none of the records since the last sync may be on disk, and nothing more may be appended to this segment.
    #[error("could not write the journal {path}; free some space, and Homeostat continues by itself")]
    Write {
        /// The segment.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Writer {
    /// Begins a new segment in `folder`, which is created when it does not exist.
    ///
    /// Older ones stay until [`Self::retire_oldest`]: only a run that is on disk may replace another.
    pub fn begin(folder: &Path) -> Result<Self, OpenError> {
        Self::begin_synced(folder, |folder| File::open(folder)?.sync_all())
    }

    /// As [`Self::begin`]; `sync_folder` puts the name of the segment on the disk. After an error there is no segment: an empty one would
    /// count, and older ones would be removed in its favor.
    fn begin_synced(
        folder: &Path,
        sync_folder: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<Self, OpenError> {
        let in_folder = |source| OpenError::Folder { folder: folder.to_path_buf(), source };
        // Declarations may hold secrets.
        os::create_secret_folder(folder).map_err(|error| in_folder(error.source))?;
        let earlier = segments(folder).map_err(in_folder)?;
        let parent = identity(parent_of(folder)).map_err(in_folder)?;
        let path = numbered::next(folder, &earlier, SUFFIX);
        let in_segment = |source| OpenError::Segment { path: path.clone(), source };
        let mut file = OpenOptions::new().create_new(true).append(true).open(&path).map_err(in_segment)?;
        let written = file.write_all(&MAGIC).and_then(|()| file.sync_all()).map_err(in_segment);
        if let Err(error) = written.and_then(|()| sync_folder(folder).map_err(in_folder)) {
            drop(fs::remove_file(&path));
            return Err(error);
        }
        let written = MAGIC.len() as u64;
        Ok(Self {
            folder: folder.to_path_buf(),
            path,
            file,
            parent,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            written,
        })
    }

    /// Checks that the folder was not moved and is writable. Two system calls.
    pub fn check_folder(&self) -> Result<(), FolderError> {
        self.check_data_folder()?;
        rustix::fs::access(&self.folder, Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|errno| FolderError::Unwritable { folder: self.folder.clone(), source: errno.into() })
    }

    /// Checks that the data folder was not moved.
    pub fn check_data_folder(&self) -> Result<(), FolderError> {
        let folder = parent_of(&self.folder);
        if identity(folder).is_ok_and(|found| found == self.parent) {
            return Ok(());
        }
        Err(FolderError::Moved { folder: folder.to_path_buf() })
    }

    /// Removes the oldest segments beyond [`SEGMENTS_MAX`].
    pub fn retire_oldest(&self) -> Result<(), OpenError> {
        let in_folder = |source| OpenError::Folder { folder: self.folder.clone(), source };
        let all = segments(&self.folder).map_err(in_folder)?;
        let excess = all.len().saturating_sub(SEGMENTS_MAX);
        all.iter().take(excess).try_for_each(|(_, old)| fs::remove_file(old).map_err(in_folder))
    }

    /// Removes the segment of a run that did not begin, and so had no effect.
    pub fn abandon(mut self) {
        self.buffer.clear();
        // If it cannot be removed, it is read as a run that ended early.
        drop(fs::remove_file(&self.path));
    }

    /// Encodes an input, to be appended when the output of the loop is known. Fails if its record would be too long.
    pub fn encode(&self, input: &Input) -> Result<EncodedInput, AppendError> {
        let bytes = v1::encode(input);
        let len = v1::HEAD_BYTES_MAX + bytes.len();
        if len > RECORD_BYTES_MAX as usize {
            return Err(AppendError::TooLong { path: self.path.clone(), len });
        }
        Ok(EncodedInput(bytes))
    }

    /// Appends one input with the digest of the loop's output. It is on disk only after [`Self::sync`].
    pub fn append(&mut self, now: Now, input: &EncodedInput, digest: u64) -> Result<(), AppendError> {
        frame::append(&mut self.buffer, &v1::Record::encode(now, digest, &input.0));
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes the appended records to the file, without a sync: they survive a crash of this process, not of the machine.
    pub fn flush(&mut self) -> Result<(), AppendError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let result = self.file.write_all(&self.buffer);
        match &result {
            Ok(()) => self.written += self.buffer.len() as u64,
            // A part may have been written, and nothing may follow it. If it cannot be truncated either, it is a torn tail, which readers
            // accept.
            Err(_) => drop(self.file.set_len(self.written)),
        }
        self.buffer.clear();
        result.map_err(|source| self.write_error(source))
    }

    /// Syncs the appended records to the disk: they survive a crash of the machine.
    pub fn sync(&mut self) -> Result<(), AppendError> {
        self.flush()?;
        self.file.sync_data().map_err(|source| self.write_error(source))
    }

    /// Whether the segment is full, and a new run should begin in the next one.
    pub fn is_full(&self) -> bool {
        self.written >= SEGMENT_BYTES_MAX
    }

    /// The folder of the segments.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn write_error(&self, source: io::Error) -> AppendError {
        AppendError::Write { path: self.path.clone(), source }
    }
}

fn parent_of(folder: &Path) -> &Path {
    folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The device and inode of a file, which it keeps when it is renamed.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Flushes the buffer; an error cannot be returned here.
impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.flush());
    }
}

#[cfg(test)]
mod tests {
    use model::time::{Time, Wall};

    use super::*;

    #[test]
    fn a_moved_data_folder_is_detected_even_if_another_folder_has_its_name() {
        let place = tempfile::tempdir().unwrap();
        let (data, elsewhere) = (place.path().join("data"), place.path().join("elsewhere"));
        let writer = Writer::begin(&data.join("journal")).unwrap();
        assert!(writer.check_folder().is_ok());
        fs::rename(&data, &elsewhere).unwrap();
        assert!(matches!(writer.check_folder(), Err(FolderError::Moved { .. })));
        fs::create_dir_all(data.join("journal")).unwrap();
        assert!(matches!(writer.check_folder(), Err(FolderError::Moved { .. })));
        fs::remove_dir_all(&data).unwrap();
        fs::rename(&elsewhere, &data).unwrap();
        assert!(writer.check_folder().is_ok());

        fs::remove_dir_all(data.join("journal")).unwrap();
        assert!(matches!(writer.check_folder(), Err(FolderError::Unwritable { .. })));
        assert!(writer.check_data_folder().is_ok(), "a new segment can be begun");
    }

    #[test]
    fn a_segment_whose_name_is_not_on_the_disk_does_not_stay() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("journal");
        let failed = Writer::begin_synced(&folder, |_| Err(io::Error::other("no")));
        assert!(matches!(failed, Err(OpenError::Folder { .. })));
        assert_eq!(segments(&folder).unwrap(), []);
    }

    #[test]
    fn after_a_failed_write_nothing_more_is_written_to_the_segment() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::begin(folder.path()).unwrap();
        let whole =
            std::mem::replace(&mut writer.file, OpenOptions::new().write(true).open("/dev/full").unwrap());
        let now = Now { time: Time::ZERO, wall: Wall::from_millis(0) };
        let input = writer.encode(&Input::Woke).unwrap();
        writer.append(now, &input, 1).unwrap();
        assert!(matches!(writer.sync(), Err(AppendError::Write { .. })));

        // The disk has free space again, and the writer is dropped.
        writer.file = whole;
        let path = writer.path.clone();
        drop(writer);
        assert_eq!(fs::read(path).unwrap(), MAGIC);
    }
}
