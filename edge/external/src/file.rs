//! A balancer's file, and the candidate that replaces it in one step.
//!
//! `FILE.candidate` is the next content, before its check. `FILE.before` is the previous content, and exists while an unchecked candidate is
//! in the place of the file: after a crash it is restored.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use os::{Durability, write_atomically};

use crate::render::HEADER_PREFIX;

/// The most bytes that are read of a file: some ten times the largest that is written, for a service of 1,000 replicas.
const READ_MAX: u64 = 1024 * 1024;

/// One file that a balancer reads.
#[derive(Clone, Debug)]
pub(crate) struct TargetFile {
    path: PathBuf,
}

/// Why a file could not be changed. The balancer keeps its configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error(
        "could not write {path}: the file exists, and homeostat has not written it; remove it or choose another path"
    )]
    Foreign { path: PathBuf },
    #[error("could not write {path}: {source}; check that its folder exists and is writable")]
    Io { path: PathBuf, source: io::Error },
}

impl TargetFile {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the file: the working directory of checks and reloads.
    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    pub(crate) fn candidate(&self) -> PathBuf {
        self.with_suffix(".candidate")
    }

    /// Restores the previous content if a crash has interrupted a check.
    pub(crate) fn recover(&self) -> Result<(), FileError> {
        match fs::rename(self.with_suffix(".before"), &self.path) {
            Ok(()) => self.sync_folder(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
        .map_err(|source| self.failed(source))
    }

    pub(crate) fn is_there(&self) -> bool {
        self.path.exists()
    }

    /// Whether the file has this text already. Fails for a file that homeostat has not written: it is never replaced.
    pub(crate) fn has(&self, text: &str) -> Result<bool, FileError> {
        let mut content = Vec::new();
        match File::open(&self.path).and_then(|file| file.take(READ_MAX).read_to_end(&mut content)) {
            Ok(_) if content.is_empty() || content.starts_with(HEADER_PREFIX.as_bytes()) => {
                Ok(content == text.as_bytes())
            }
            Ok(_) => Err(FileError::Foreign { path: self.path.clone() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// Writes the candidate, with the permissions of the file.
    pub(crate) fn propose(&self, text: &str) -> Result<(), FileError> {
        let candidate = self.candidate();
        write_atomically(&candidate, text.as_bytes(), Durability::Machine)
            .map_err(|error| error.source)
            .and_then(|()| match fs::metadata(&self.path) {
                Ok(before) => fs::set_permissions(&candidate, before.permissions()),
                Err(_none_before) => Ok(()),
            })
            .map_err(|source| self.failed(source))
    }

    /// Replaces the file with the candidate, for good.
    pub(crate) fn accept(&self) -> Result<(), FileError> {
        fs::rename(self.candidate(), &self.path)
            .and_then(|()| self.sync_folder())
            .map_err(|source| self.failed(source))
    }

    /// Removes the candidate.
    pub(crate) fn reject(&self) {
        // If it stays, the next one overwrites it.
        let _ = fs::remove_file(self.candidate());
    }

    /// Replaces the file with the candidate, and keeps the previous content until [`keep`](Self::keep) or [`restore`](Self::restore).
    pub(crate) fn install_provisionally(&self) -> Result<(), FileError> {
        let before = self.with_suffix(".before");
        match fs::hard_link(&self.path, &before) {
            Ok(()) => {}
            // There was no file: there is nothing to restore.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // The file is a candidate whose check did not come to an end: the content before that is the one to restore.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(self.failed(source)),
        }
        self.accept()
    }

    /// Keeps the candidate that was installed provisionally.
    pub(crate) fn keep(&self) -> Result<(), FileError> {
        match fs::remove_file(self.with_suffix(".before")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Restores the file that the candidate has replaced.
    pub(crate) fn restore(&self) -> Result<(), FileError> {
        match fs::rename(self.with_suffix(".before"), &self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::remove_file(&self.path),
            put => put,
        }
        .and_then(|()| self.sync_folder())
        .map_err(|source| self.failed(source))
    }

    /// Syncs the folder, and with it the rename.
    fn sync_folder(&self) -> io::Result<()> {
        File::open(self.folder())?.sync_all()
    }

    fn with_suffix(&self, ending: &str) -> PathBuf {
        let mut path = self.path.as_os_str().to_owned();
        path.push(ending);
        PathBuf::from(path)
    }

    fn failed(&self, source: io::Error) -> FileError {
        FileError::Io { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(more: &str) -> String {
        format!("{HEADER_PREFIX}{more}\n")
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_provisional_candidate_is_kept_or_replaced_by_the_previous_file_without_leftovers() {
        let folder = tempfile::tempdir().unwrap();
        let file = TargetFile::new(folder.path().join("shop.conf"));
        let content = || fs::read_to_string(file.path()).ok();
        file.propose(&text("bad")).unwrap();
        file.install_provisionally().unwrap();
        assert_eq!(content(), Some(text("bad")));
        file.restore().unwrap();
        assert_eq!(content(), None, "there was none before");
        for (new, is_good) in [("one", true), ("two", false), ("three", true)] {
            file.propose(&text(new)).unwrap();
            file.install_provisionally().unwrap();
            if is_good {
                file.keep().unwrap();
            } else {
                file.restore().unwrap();
            }
            assert_eq!(content(), Some(text(if is_good { new } else { "one" })));
            assert_eq!(names(folder.path()), ["shop.conf"]);
        }
        file.propose(&text("four")).unwrap();
        file.reject();
        assert_eq!((content(), names(folder.path())), (Some(text("three")), vec!["shop.conf".to_owned()]));
    }

    #[test]
    fn a_crash_during_a_check_restores_the_previous_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = TargetFile::new(folder.path().join("shop.conf"));
        file.propose(&text("good")).unwrap();
        file.accept().unwrap();
        file.propose(&text("unknown")).unwrap();
        file.install_provisionally().unwrap();

        let file = TargetFile::new(file.path());
        file.recover().unwrap();
        assert!(file.has(&text("good")).unwrap());
        file.recover().unwrap();
        assert!(file.has(&text("good")).unwrap(), "once is enough");
    }

    #[test]
    fn a_candidate_whose_check_failed_to_end_is_replaced_and_the_checked_content_restored() {
        let folder = tempfile::tempdir().unwrap();
        let file = TargetFile::new(folder.path().join("shop.conf"));
        file.propose(&text("good")).unwrap();
        file.accept().unwrap();
        for unchecked in ["one", "two"] {
            file.propose(&text(unchecked)).unwrap();
            file.install_provisionally().unwrap();
        }
        file.restore().unwrap();
        assert!(file.has(&text("good")).unwrap());
        assert_eq!(names(folder.path()), ["shop.conf"]);
    }

    #[test]
    fn a_foreign_file_is_refused_and_an_empty_one_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = TargetFile::new(folder.path().join("nginx.conf"));
        fs::write(file.path(), "worker_processes 4;\n").unwrap();
        let error = file.has(&text("")).unwrap_err().to_string();
        assert!(error.contains("homeostat has not written it; remove it or choose another path"), "{error}");
        fs::write(file.path(), "").unwrap();
        assert!(!file.has(&text("")).unwrap());
    }

    #[test]
    fn the_permissions_of_the_file_are_kept() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = TargetFile::new(folder.path().join("shop.conf"));
        file.propose(&text("one")).unwrap();
        file.accept().unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
        file.propose(&text("two")).unwrap();
        file.accept().unwrap();
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn a_write_error_names_the_path() {
        let file = TargetFile::new("/no/such/folder/shop.conf");
        let error = file.propose("").unwrap_err().to_string();
        assert!(error.starts_with("could not write /no/such/folder/shop.conf: "), "{error}");
    }
}
