//! Data that is not part of the project, which tests read if it is available: `HOMEOSTAT_DATA` is its folder.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The root of the workspace, which a relative `HOMEOSTAT_DATA` is relative to.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The folder of the data when `HOMEOSTAT_DATA` is not set.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");

/// The path of a file or folder of the data; if it does not exist, reports on standard error that `suite` skips the tests that read it.
#[expect(
    clippy::disallowed_methods,
    reason = "tests are configured by the environment, as they have no command line"
)]
pub fn find(suite: &str, name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("HOMEOSTAT_DATA").map_or_else(|| PathBuf::from(FOLDER), PathBuf::from);
    let path = Path::new(ROOT).join(folder).join(name);
    if path.exists() {
        return Some(path);
    }
    // Not by eprintln!, whose output the test harness hides when a test passes.
    let written = writeln!(
        std::io::stderr(),
        "{suite}: LEFT OUT: {} does not exist; set HOMEOSTAT_DATA to the folder that has {name}",
        path.display()
    );
    written.expect("standard error can be written to");
    None
}
