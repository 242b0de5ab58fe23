//! What the examples declare is what the product takes.

use std::fs;
use std::io::empty;
use std::path::{Path, PathBuf};

use manifest::Input;
use model::resource::check::Severity;

use super::shown;

/// Every manifest in `folder` and below.
fn manifests(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the examples can be listed") {
        let path = entry.expect("the examples can be listed").path();
        if path.is_dir() {
            found.extend(manifests(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
    found
}

/// What is said of a file, or of all files of a folder.
fn said(path: &Path) -> String {
    let mut read = manifest::read(&[Input::Path(path.to_path_buf())], &mut empty());
    read.check(&[], Severity::Warning);
    shown(&read)
}

#[test]
fn every_example_is_taken_without_a_word() {
    let all = manifests(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples"));
    assert!(all.len() > 30, "the examples are {}", all.len());
    for path in all {
        let alone = said(&path);
        // An autoscaler stands in a file of its own beside what it scales.
        let together = path.parent().map_or_else(|| alone.clone(), said);
        assert!(alone.is_empty() || together.is_empty(), "{}:\n{alone}\n{together}", path.display());
    }
}
