//! Every example is valid.

use std::fs;
use std::io::empty;
use std::path::{Path, PathBuf};

use manifest::Input;
use model::resource::check::Severity;

use super::shown;

/// Every file with this `extension` in `folder` and below.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the examples can be listed") {
        let path = entry.expect("the examples can be listed").path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The diagnostics of a file, or of all files of a folder.
fn diagnostics_of(path: &Path) -> String {
    let mut read = manifest::read(&[Input::Path(path.to_path_buf())], &mut empty());
    read.check(&[], Severity::Warning);
    shown(&read)
}

#[test]
fn every_example_is_valid_without_warnings() {
    let all = files(&root().join("examples"), "yaml");
    assert!(all.len() > 30, "the examples are {}", all.len());
    for path in all {
        let alone = diagnostics_of(&path);
        // An autoscaler has a file of its own beside that of its service.
        let together = path.parent().map_or_else(|| alone.clone(), diagnostics_of);
        assert!(alone.is_empty() || together.is_empty(), "{}:\n{alone}\n{together}", path.display());
    }
}

#[test]
fn every_first_folder_of_a_page_is_valid_without_warnings() {
    let mut tried = 0;
    for page in files(&root().join("examples"), "md") {
        let text = fs::read_to_string(&page).expect("the page can be read");
        let words: Vec<&str> = text.split_whitespace().collect();
        let named = words.windows(2).filter(|pair| pair[0] == "-f").map(|pair| root().join(pair[1]));
        for folder in named.filter(|path| path.is_dir()) {
            assert_eq!(diagnostics_of(&folder), "", "{} begins with {}", page.display(), folder.display());
            tried += 1;
        }
    }
    assert!(tried > 20, "{tried} folders were tried");
}
