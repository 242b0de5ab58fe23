//! The bytes beneath the engine: a file whose first page says what it is.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;

/// Bytes before the engine's own: one page, so that its pages stay aligned.
pub(crate) const PREAMBLE_BYTES: u64 = 4096;

/// The format that this version writes, and the newest that it reads.
pub(crate) const FORMAT: u32 = 1;

/// What the first page begins with; the format's number and a line end follow. `head -2 store.db` shows it.
const MAGIC: &[u8] = b"homeostat store\nformat ";

/// Where the bytes of a store are. Opened anew after each failure.
pub(crate) trait Disk: fmt::Debug + Send + Sync + 'static {
    /// The bytes from the first one on.
    fn open(&self) -> io::Result<Box<dyn StorageBackend>>;
}

/// A file.
#[derive(Debug)]
pub(crate) struct FileDisk(pub(crate) PathBuf);

/// An open file.
#[derive(Debug)]
struct FileBytes(File);

/// The bytes behind the preamble, which is all that the engine sees.
#[derive(Debug)]
pub(crate) struct Framed {
    bytes: Box<dyn StorageBackend>,
    stopped: Arc<AtomicBool>,
}

/// What the first page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preamble {
    /// A store of this format.
    Format(u32),
    /// No store of ours.
    Foreign,
}

impl Preamble {
    /// Reads the first page. Fails only when reading does; a file that is too short is foreign.
    pub(crate) fn read(bytes: &dyn StorageBackend) -> io::Result<Self> {
        if bytes.len()? < PREAMBLE_BYTES {
            return Ok(Self::Foreign);
        }
        let mut page = [0; PREAMBLE_BYTES as usize];
        bytes.read(0, &mut page)?;
        Ok(Self::parse(&page))
    }

    fn parse(page: &[u8]) -> Self {
        let number = page.strip_prefix(MAGIC).and_then(|rest| rest.split(|&byte| byte == b'\n').next());
        let format = number.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        format.map_or(Self::Foreign, Self::Format)
    }

    /// Writes the first page of a new store.
    pub(crate) fn write(bytes: &dyn StorageBackend) -> io::Result<()> {
        bytes.set_len(PREAMBLE_BYTES)?;
        bytes.write(0, &[MAGIC, format!("{FORMAT}\n").as_bytes()].concat())
    }
}

impl Framed {
    /// Hides the preamble of `bytes`; sets `stopped` when a sync fails.
    pub(crate) fn new(bytes: Box<dyn StorageBackend>, stopped: Arc<AtomicBool>) -> Self {
        Self { bytes, stopped }
    }
}

impl StorageBackend for Framed {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.len()?.saturating_sub(PREAMBLE_BYTES))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.bytes.read(PREAMBLE_BYTES + offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes.set_len(PREAMBLE_BYTES + len)
    }

    fn sync_data(&self) -> io::Result<()> {
        // A kernel may drop the pages it could not write and report the next sync as good (fsync-gate, 2018): after one
        // failure nothing that the file shows proves what is on the disk.
        self.bytes.sync_data().inspect_err(|_| self.stopped.store(true, Ordering::Release))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.bytes.write(PREAMBLE_BYTES + offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.bytes.close()
    }
}

impl Disk for FileDisk {
    fn open(&self) -> io::Result<Box<dyn StorageBackend>> {
        let file = File::options().read(true).write(true).open(&self.0)?;
        Ok(Box::new(FileBytes(file)))
    }
}

/// Without locks of its own: the lock of the folder (`open.rs`) is taken before and held for longer.
impl StorageBackend for FileBytes {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preamble_says_the_format_or_that_the_file_is_foreign() {
        assert_eq!(Preamble::parse(b"homeostat store\nformat 1\n\0\0"), Preamble::Format(1));
        assert_eq!(Preamble::parse(b"homeostat store\nformat 4000000\nmore"), Preamble::Format(4_000_000));
        assert_eq!(Preamble::parse(b"homeostat store\nformat \n"), Preamble::Foreign);
        assert_eq!(Preamble::parse(b"homeostat store\nformat 99999999999\n"), Preamble::Foreign);
        assert_eq!(Preamble::parse(b"redb"), Preamble::Foreign);
        assert_eq!(Preamble::parse(b""), Preamble::Foreign);
    }
}
