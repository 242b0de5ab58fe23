//! Every decision record has a unique number and is in the list of docs/decisions/README.md.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{Verdict, Violation};
use crate::workspace::Workspace;

const FOLDER: &str = "docs/decisions/";
const LIST: &str = "docs/decisions/README.md";

pub(super) fn check(workspace: &Workspace) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "decision records", violations: Vec::new() };
    let list = workspace.texts.get(LIST).map_or("", String::as_str);
    let mut numbers: BTreeMap<&str, &str> = BTreeMap::new();
    for path in workspace.paths.iter().filter(|path| path.as_str() != LIST) {
        let Some(name) = path.strip_prefix(FOLDER) else { continue };
        verdict.seen += 1;
        let number = name.get(..4).filter(|number| number.bytes().all(|digit| digit.is_ascii_digit()));
        let Some(number) = number else {
            let sentence = "the name of a record begins with its number: NNNN-the-decision-in-words.md";
            verdict.violations.push(Violation::of(path, sentence));
            continue;
        };
        if let Some(other) = numbers.insert(number, name) {
            verdict
                .violations
                .push(Violation::of(path, format!("{number} is used by {other}: use the next number")));
        }
        if !list.contains(&format!("({name})")) {
            verdict.violations.push(Violation::of(path, format!("is not in the list: add it to {LIST}")));
        }
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::violations;

    #[test]
    fn a_record_without_a_unique_number_or_missing_from_the_list_is_caught() {
        let workspace = Workspace::from_files(&[
            (LIST, "[0001](0001-a.md) [0001](0001-b.md)\n"),
            ("docs/decisions/0001-a.md", ""),
            ("docs/decisions/0001-b.md", ""),
            ("docs/decisions/0002-c.md", ""),
            ("docs/decisions/notes.md", ""),
        ]);

        assert_eq!(violations(check, &workspace).len(), 3);
    }
}
