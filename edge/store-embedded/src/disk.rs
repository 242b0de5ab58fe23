//! The bytes beneath the engine: a file whose first page identifies its format.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

/// The bytes before those of the engine: one page, so that its pages stay aligned.
pub(crate) const PREAMBLE_BYTES: u64 = PAGE_BYTES as u64;

/// The engine's page.
const PAGE_BYTES: usize = 4096;

/// The format that this version writes, and the newest that it reads.
pub(crate) const FORMAT: u32 = 1;

/// What the first page begins with; the format's number and a line end follow. `head -2 store.db` shows it.
const MAGIC: &[u8] = b"homeostat store\nformat ";

/// Where the bytes of a store are. Reopened after each failure.
pub(crate) trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Opens the bytes, from the first one on.
    fn open(&self) -> io::Result<Box<dyn StorageBackend>>;

    /// Fails when the next start would not find these bytes, so that nothing more may be acknowledged.
    fn check_place(&self) -> io::Result<()>;
}

/// A file.
#[derive(Debug)]
pub(crate) struct FileDisk {
    path: PathBuf,
    /// Its device and inode, which it keeps when it is moved.
    identity: (u64, u64),
}

/// An open file.
#[derive(Debug)]
struct FileBytes(File);

/// The bytes behind the preamble, which is all that the engine sees.
#[derive(Debug)]
pub(crate) struct Framed {
    bytes: Box<dyn StorageBackend>,
    stopped: Arc<AtomicBool>,
}

/// A copy-on-write view of a disk, whose writes stay in memory: to read a store without changing it.
#[derive(Debug)]
pub(crate) struct CopyOnWrite {
    bytes: Box<dyn StorageBackend>,
    shadow: Mutex<Shadow>,
}

#[derive(Debug)]
struct Shadow {
    len: u64,
    /// The whole pages that were written to, by number.
    pages: BTreeMap<u64, Vec<u8>>,
}

/// The content of the first page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preamble {
    /// A store of this format.
    Format(u32),
    /// Not a store.
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
        // A kernel may drop the pages it could not write and report the next sync as good (fsyncgate, 2018): after one
        // failure the content of the file does not prove what is on the disk.
        self.bytes.sync_data().inspect_err(|_| self.stopped.store(true, Ordering::Release))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.bytes.write(PREAMBLE_BYTES + offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.bytes.close()
    }
}

impl CopyOnWrite {
    /// A view of `bytes`.
    pub(crate) fn new(bytes: Box<dyn StorageBackend>) -> io::Result<Self> {
        let shadow = Mutex::new(Shadow { len: bytes.len()?, pages: BTreeMap::new() });
        Ok(Self { bytes, shadow })
    }

    fn shadow(&self) -> MutexGuard<'_, Shadow> {
        self.shadow.lock().expect("nothing panics while it holds the shadow")
    }

    /// Page `number` of the disk; zeros beyond its end.
    fn page(&self, number: u64) -> io::Result<Vec<u8>> {
        let mut page = vec![0; PAGE_BYTES];
        let offset = number * PAGE_BYTES as u64;
        let available = self.bytes.len()?.saturating_sub(offset).min(PAGE_BYTES as u64);
        self.bytes.read(offset, &mut page[..available as usize])?;
        Ok(page)
    }
}

impl StorageBackend for CopyOnWrite {
    fn len(&self) -> io::Result<u64> {
        Ok(self.shadow().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let shadow = self.shadow();
        if offset + out.len() as u64 > shadow.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (number, range, at) in pages_of(offset, out.len()) {
            match shadow.pages.get(&number) {
                Some(page) => out[at].copy_from_slice(&page[range]),
                None => out[at].copy_from_slice(&self.page(number)?[range]),
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.shadow().len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut shadow = self.shadow();
        for (number, range, at) in pages_of(offset, data.len()) {
            let page = match shadow.pages.entry(number) {
                Entry::Occupied(page) => page.into_mut(),
                Entry::Vacant(page) => page.insert(self.page(number)?),
            };
            page[range].copy_from_slice(&data[at]);
        }
        Ok(())
    }
}

/// The pages of `len` bytes from `offset` on: the number of each, the range within the page, and the range within the `len` bytes.
fn pages_of(offset: u64, len: usize) -> impl Iterator<Item = (u64, Range<usize>, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let within = (at % PAGE_BYTES as u64) as usize;
        let step = (PAGE_BYTES - within).min(len - done);
        let piece = (step > 0).then(|| (at / PAGE_BYTES as u64, within..within + step, done..done + step));
        done += step;
        piece
    })
}

impl FileDisk {
    /// The file at `path`, which exists.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Disk for FileDisk {
    fn open(&self) -> io::Result<Box<dyn StorageBackend>> {
        let file = File::options().read(true).write(true).open(&self.path)?;
        Ok(Box::new(FileBytes(file)))
    }

    fn check_place(&self) -> io::Result<()> {
        match identity(&self.path) {
            Ok(found) if found == self.identity => Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(_) | Err(_) => {
                let why =
                    "it was moved, deleted or replaced; put it back and try again, or restart homeostat";
                Err(io::Error::new(io::ErrorKind::NotFound, why))
            }
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Takes no locks: the lock of the folder (`open.rs`) is taken before and held for longer.
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
    fn a_copy_on_write_view_has_its_own_writes_and_leaves_the_file_unchanged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let content: Vec<u8> = (0..9_000_u32).map(|n| n as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let view = CopyOnWrite::new(FileDisk::at(&path).unwrap().open().unwrap()).unwrap();
        let mut expected = content.clone();
        expected.resize(20_000, 0);
        expected[4_000..13_000].fill(9);

        view.set_len(20_000).unwrap();
        view.write(4_000, &[9; 9_000]).unwrap();
        let mut seen = vec![1; 20_000];
        view.read(0, &mut seen).unwrap();
        assert_eq!(seen, expected);
        assert!(view.read(19_999, &mut [0; 2]).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), content);
    }

    #[test]
    fn the_preamble_has_the_format_or_the_file_is_foreign() {
        assert_eq!(Preamble::parse(b"homeostat store\nformat 1\n\0\0"), Preamble::Format(1));
        assert_eq!(Preamble::parse(b"homeostat store\nformat 4000000\nmore"), Preamble::Format(4_000_000));
        assert_eq!(Preamble::parse(b"homeostat store\nformat \n"), Preamble::Foreign);
        assert_eq!(Preamble::parse(b"homeostat store\nformat 99999999999\n"), Preamble::Foreign);
        assert_eq!(Preamble::parse(b"redb"), Preamble::Foreign);
        assert_eq!(Preamble::parse(b""), Preamble::Foreign);
    }
}
