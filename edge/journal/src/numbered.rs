//! Files that are numbered in the order in which they were begun, such as `0000000001.journal`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The files of a folder whose name is a number and `suffix`, oldest first; none when the folder does not exist.
pub(crate) fn files(folder: &Path, suffix: &str) -> io::Result<Vec<(u64, PathBuf)>> {
    let number = |path: &Path| path.file_name()?.to_str()?.strip_suffix(suffix)?.parse().ok();
    let mut found: Vec<(u64, PathBuf)> =
        paths(folder)?.into_iter().filter_map(|path| Some((number(&path)?, path))).collect();
    found.sort_unstable();
    Ok(found)
}

/// The path of the file that follows `earlier`.
pub(crate) fn next(folder: &Path, earlier: &[(u64, PathBuf)], suffix: &str) -> PathBuf {
    let number = earlier.last().map_or(1, |(number, _)| number + 1);
    folder.join(format!("{number:010}{suffix}"))
}

/// All entries of a folder, in no order; none when the folder does not exist.
pub(crate) fn paths(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
