//! Data from outside the project, which tests read if it is there: `HOMEOSTAT_DATA` names the folder.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The root of the workspace, which a relative `HOMEOSTAT_DATA` is relative to.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Where the data lies when `HOMEOSTAT_DATA` does not say: beside the workspace.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");

/// Finds a file or folder of the data; if it is not there, says on standard error that `suite` leaves out what would read it.
#[expect(clippy::disallowed_methods, reason = "a test has no command line to be told by")]
pub fn at_hand(suite: &str, name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("HOMEOSTAT_DATA").map_or_else(|| PathBuf::from(FOLDER), PathBuf::from);
    let path = Path::new(ROOT).join(folder).join(name);
    if path.exists() {
        return Some(path);
    }
    // Not by eprintln!, whose output the test harness hides when a test passes.
    let said = writeln!(
        std::io::stderr(),
        "{suite}: LEFT OUT: {} is not there; set HOMEOSTAT_DATA to the folder that has {name}",
        path.display()
    );
    said.expect("standard error takes a line");
    None
}
