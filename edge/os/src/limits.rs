//! The resource limits of this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The number of files that this process may have open at once.
pub fn open_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises the limit on open files as far as the system allows, and returns it.
///
/// Each connection through the proxy needs two. A limit that cannot be raised is returned unchanged.
pub fn raise_open_files() -> u64 {
    let granted = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: granted.maximum, maximum: granted.maximum };
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => granted.maximum.unwrap_or(u64::MAX),
        Err(_) => granted.current.unwrap_or(u64::MAX),
    }
}
