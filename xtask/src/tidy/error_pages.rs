//! Every error code in the source has a page in docs/errors, and every page belongs to an existing code.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{Verdict, Violation};
use crate::workspace::Workspace;

const FOLDER: &str = "docs/errors/";

pub(super) fn check(workspace: &Workspace) -> Result<Verdict> {
    let mut used: BTreeMap<String, (String, usize)> = BTreeMap::new();
    // No user meets the errors of xtask.
    for source in workspace.sources().filter(|source| !source.path.starts_with("xtask/")) {
        for (index, line) in source.text.lines().enumerate() {
            for code in codes_in(line) {
                used.entry(code.to_owned()).or_insert_with(|| (source.path.clone(), index + 1));
            }
        }
    }
    let page_of = |path: &str| path.strip_prefix(FOLDER)?.strip_suffix(".md").map(str::to_owned);
    let pages: BTreeMap<String, &String> = workspace
        .paths
        .iter()
        .filter_map(|path| Some((page_of(path)?, path)))
        .filter(|(name, _)| name != "README")
        .collect();
    let mut violations = Vec::new();
    for (code, (path, line)) in used.iter().filter(|(code, _)| !pages.contains_key(*code)) {
        let sentence = format!("{code} has no page: write {FOLDER}{code}.md (what it means, how to fix it)");
        violations.push(Violation::at(path, *line, sentence));
    }
    for (name, path) in pages.iter().filter(|(name, _)| !used.contains_key(*name)) {
        violations.push(Violation::of(path, format!("{name} does not occur in the source: delete the page")));
    }
    Ok(Verdict { seen: used.len() + pages.len(), of: "error codes and pages", violations })
}

/// Every word that is `HS` and exactly four digits.
fn codes_in(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| {
        word.len() == 6
            && word.strip_prefix("HS").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::violations;

    #[test]
    fn a_code_without_a_page_and_a_page_without_a_code_are_caught() {
        let workspace = Workspace::from_files(&[
            (
                "edge/store/src/lib.rs",
                "const A: &str = \"HS0001\";\nconst B: &str = \"HS0002: x\";\nconst C: &str = \"AHS0009\";\n",
            ),
            ("docs/errors/HS0001.md", ""),
            ("docs/errors/HS0003.md", ""),
            ("docs/errors/README.md", ""),
        ]);

        let found = violations(check, &workspace);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("edge/store/src/lib.rs:2: HS0002 has no page"));
        assert!(found[1].starts_with("docs/errors/HS0003.md: HS0003 does not occur"));
    }
}
