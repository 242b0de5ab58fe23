//! Every type that the glossary names exists in the source.

use std::collections::BTreeSet;

use anyhow::Result;

use super::{Verdict, Violation};
use crate::workspace::Workspace;

const GLOSSARY: &str = "docs/glossary.md";

pub(super) fn check(workspace: &Workspace) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "types in the glossary", violations: Vec::new() };
    let Some(text) = workspace.texts.get(GLOSSARY) else {
        verdict
            .violations
            .push(Violation::of(GLOSSARY, "is missing: write it, with the terms of the workspace"));
        return Ok(verdict);
    };
    let sources = workspace.sources().filter(|source| !source.path.starts_with("xtask/"));
    let used: BTreeSet<&str> =
        sources.flat_map(|source| &source.tokens).map(|token| token.text.as_str()).collect();
    for (index, line) in text.lines().enumerate() {
        for name in type_names(line) {
            verdict.seen += 1;
            if !used.contains(name) {
                let sentence = format!(
                    "`{name}` does not occur in the source: use the name in the source, or leave the cell empty"
                );
                verdict.violations.push(Violation::at(GLOSSARY, index + 1, sentence));
            }
        }
    }
    Ok(verdict)
}

/// The parts of names in backticks, such as `a::B`, that begin with a capital letter.
fn type_names(line: &str) -> impl Iterator<Item = &str> {
    let quoted = line.split('`').skip(1).step_by(2);
    let parts = quoted.flat_map(|code| code.split(|c: char| !c.is_alphanumeric()));
    parts.filter(|part| part.starts_with(|first: char| first.is_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::violations;

    #[test]
    fn a_type_that_does_not_exist_is_caught() {
        let table = "| word | means | `Plan::epoch`, `Gone` | |\nPlain Words and `core/plan`.\n";
        let workspace = Workspace::from_files(&[
            ("core/plan/src/lib.rs", "/// Gone.\npub struct Plan;\nconst A: &str = \"Gone\";\n"),
            (GLOSSARY, table),
        ]);

        let found = violations(check, &workspace);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("docs/glossary.md:1: `Gone` does not occur"));
    }
}
