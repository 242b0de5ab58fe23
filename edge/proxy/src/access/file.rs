//! A log's file: appended to, and rotated before it grows too long.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use model::resource::AccessLog;

/// Where lines go.
#[derive(Debug)]
pub(super) enum Sink {
    /// The standard output of this process.
    Output(io::Stdout),
    /// A file that is rotated.
    File(Rotated),
}

/// An open file with its limits.
#[derive(Debug)]
pub(super) struct Rotated {
    path: PathBuf,
    file: File,
    len: u64,
    len_max: u64,
    keep: u32,
}

impl Sink {
    pub(super) fn open(declared: &AccessLog) -> io::Result<Self> {
        if declared.is_standard_output() {
            return Ok(Self::Output(io::stdout()));
        }
        let path = PathBuf::from(&declared.file);
        let file = open(&path)?;
        let len = file.metadata()?.len();
        Ok(Self::File(Rotated { path, file, len, len_max: declared.bytes_max(), keep: declared.keep }))
    }

    /// Writes whole lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Output(output) => output.write_all(lines).and_then(|()| output.flush()),
            Self::File(rotated) => rotated.write(lines),
        }
    }

    /// Whether this many bytes fit in the open file without a rotation.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        match self {
            Self::Output(_) => true,
            Self::File(rotated) => rotated.len + bytes as u64 <= rotated.len_max,
        }
    }

    /// Whether the file still has its name: another program, such as `logrotate`, may have moved it.
    pub(super) fn is_current(&self) -> bool {
        let Self::File(rotated) = self else { return true };
        let (Ok(open), Ok(named)) = (rotated.file.metadata(), fs::metadata(&rotated.path)) else {
            return false;
        };
        (open.dev(), open.ino()) == (named.dev(), named.ino())
    }
}

impl Rotated {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.len > 0 && self.len + lines.len() as u64 > self.len_max {
            rotate(&self.path, self.keep)?;
            self.file = open(&self.path)?;
            self.len = 0;
        }
        self.file.write_all(lines)?;
        self.len += lines.len() as u64;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Renames each file to the next number, overwriting the last one. A crash in between leaves a gap in the numbers, but loses nothing.
fn rotate(path: &Path, keep: u32) -> io::Result<()> {
    let allow_absent = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    if keep == 0 {
        return allow_absent(fs::remove_file(path));
    }
    for number in (1..keep).rev() {
        allow_absent(fs::rename(numbered(path, number), numbered(path, number + 1)))?;
    }
    allow_absent(fs::rename(path, numbered(path, 1)))
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(file: &Path, size: &str, keep: u32) -> AccessLog {
        let file = file.to_str().unwrap();
        serde_json::from_value(serde_json::json!({"file": file, "size": size, "keep": keep})).unwrap()
    }

    #[test]
    fn a_file_is_rotated_before_it_is_too_long_and_a_limited_number_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let mut sink = Sink::open(&declared(&path, "25", 2)).unwrap();
        for number in 0..10 {
            sink.write(format!("line {number:04}\n").as_bytes()).unwrap();
        }
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(read(&path), "line 0008\nline 0009\n");
        assert_eq!(read(&numbered(&path, 1)), "line 0006\nline 0007\n");
        assert_eq!(read(&numbered(&path, 2)), "line 0004\nline 0005\n");
        assert!(!numbered(&path, 3).exists());
    }

    #[test]
    fn an_existing_file_counts_and_is_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        fs::write(&path, "before\n").unwrap();
        let mut sink = Sink::open(&declared(&path, "12", 0)).unwrap();
        assert!(sink.fits(5) && !sink.fits(6));
        sink.write(b"now\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "before\nnow\n");
        sink.write(b"next\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "next\n", "none is kept");
    }

    #[test]
    fn a_file_that_another_program_has_moved_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let sink = Sink::open(&declared(&path, "1Ki", 1)).unwrap();
        assert!(sink.is_current());
        fs::rename(&path, folder.path().join("moved")).unwrap();
        assert!(!sink.is_current());
    }
}
