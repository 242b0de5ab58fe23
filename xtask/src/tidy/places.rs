//! No file names a path of a particular machine.

use anyhow::Result;

use super::{Verdict, Violation};
use crate::workspace::Workspace;

// Concatenated, so that this file does not contain them.
const PLACES: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("../sha", "red/")];

pub(super) fn check(workspace: &Workspace) -> Result<Verdict> {
    let own = workspace.root.to_string_lossy().into_owned();
    let is_own_specific = workspace.root.components().count() > 2;
    let places: Vec<&str> = PLACES.into_iter().chain(is_own_specific.then_some(own.as_str())).collect();
    let mut verdict = Verdict { seen: 0, of: "text files", violations: Vec::new() };
    for (path, text) in workspace.all_texts() {
        verdict.seen += 1;
        for (index, line) in text.lines().enumerate() {
            if let Some(place) = places.iter().find(|place| names(line, place)) {
                let sentence = format!(
                    "names {place}, a path of a particular machine: use a relative path or an argument"
                );
                verdict.violations.push(Violation::at(path, index + 1, sentence));
            }
        }
    }
    Ok(verdict)
}

/// Whether the line contains `place` as a path of its own, not as a part of a longer one such as a URL.
fn names(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '}' | '*'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::violations;

    #[test]
    fn a_machine_specific_path_is_caught() {
        let here = format!("cd {}main\n", PLACES[0]);
        let workspace = Workspace::from_files(&[
            ("docs/a.md", here.as_str()),
            ("docs/b.md", concat!("https://example.org/wo", "rk/1 and /nowhere else\n")),
            ("docs/c.md", "see /nowhere/else\n"),
        ]);

        assert_eq!(violations(check, &workspace).len(), 1);
    }
}
