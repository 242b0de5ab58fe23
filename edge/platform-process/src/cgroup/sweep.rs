//! Removes the groups of drivers that were killed and whose data folder is not opened again.
//!
//! A driver removes the empty cells of its own data folder. Those of a deleted folder would stay until the machine is rebooted: tests that
//! kill drivers and delete their folders leave thousands.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Younger empty groups are left alone: a process may be about to enter one, or its driver may be restarting and need it to find out why the
/// replica ended.
pub(super) const AGE_MIN: Duration = Duration::from_hours(1);

/// Removes old empty groups beside `root`, the group of this driver. The kernel refuses to remove a group that is not empty.
pub(super) fn sweep(root: &Path, age_min: Duration) {
    let Some(parent) = root.parent() else { return };
    for scope in folders_in(parent).filter(|scope| scope != root) {
        for cell in folders_in(&scope) {
            remove_if_old(&cell, age_min);
        }
        remove_if_old(&scope, age_min);
    }
}

fn folders_in(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir())
}

fn remove_if_old(folder: &Path, age_min: Duration) {
    let modified = std::fs::metadata(folder).and_then(|it| it.modified());
    if modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age >= age_min)) {
        // It may be in use, or another driver may have been faster.
        let _ = std::fs::remove_dir(folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_empty_groups_of_other_drivers_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let folder = |path: &str| {
            let folder = parent.path().join(path);
            std::fs::create_dir_all(&folder).unwrap();
            folder
        };
        let (own, empty) = (folder("own"), folder("forsaken/shop-0.1"));
        let (used, unused) = (folder("other/shop-0.1"), folder("other/shop-0.2"));
        std::fs::create_dir(used.join("something")).unwrap();

        sweep(&own, AGE_MIN);
        assert!(own.exists() && empty.exists() && unused.exists(), "they are young");
        sweep(&own, Duration::ZERO);

        assert!(own.exists() && used.exists());
        assert!(!empty.parent().unwrap().exists() && !unused.exists());
    }
}
