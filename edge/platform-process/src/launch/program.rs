//! Finds the file of a command.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

/// Why a program cannot be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    #[error("the program {path} does not exist; build or install it, or correct the command")]
    Missing { path: PathBuf },
    #[error("there is no program {name:?} in {search}; install it, or name it with its path")]
    NotInPath { name: String, search: String },
    #[error("{path} is not a program file; correct the command")]
    NoFile { path: PathBuf },
    #[error("the program {path} may not be executed; try chmod +x")]
    NotExecutable { path: PathBuf },
    #[error("the program {path} cannot be accessed ({source}); check the permissions of its parent folders")]
    Unreachable { path: PathBuf, source: io::Error },
    #[error("the command is empty; name a program")]
    Empty,
}

/// Finds the file of a command `name`: a path, from `folder` when it is relative, or a name that is searched in `search`.
pub(crate) fn find(name: &str, folder: &Path, search: &str) -> Result<PathBuf, ProgramError> {
    if name.is_empty() {
        return Err(ProgramError::Empty);
    }
    if name.contains('/') {
        let path = folder.join(name);
        return check(&path).map(|()| path);
    }
    // As execvp does: the first file that may be executed; one that may not is reported only when no other is found.
    let mut refused = None;
    for candidate in search.split(':').filter(|dir| !dir.is_empty()).map(|dir| folder.join(dir).join(name)) {
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(ProgramError::NotExecutable { path }) => refused = Some(ProgramError::NotExecutable { path }),
            Err(_not_here) => {}
        }
    }
    Err(refused
        .unwrap_or_else(|| ProgramError::NotInPath { name: name.to_owned(), search: search.to_owned() }))
}

fn check(path: &Path) -> Result<(), ProgramError> {
    let path_owned = || path.to_owned();
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(ProgramError::NoFile { path: path_owned() }),
        Ok(_) => match rustix::fs::access(path, Access::EXEC_OK) {
            Ok(()) => Ok(()),
            Err(_) => Err(ProgramError::NotExecutable { path: path_owned() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(ProgramError::Missing { path: path_owned() })
        }
        Err(source) => Err(ProgramError::Unreachable { path: path_owned(), source }),
    }
}
