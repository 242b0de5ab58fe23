//! Every type that the glossary names exists: a word that the code does not use is not a word of the house.

use std::collections::BTreeSet;

use anyhow::Result;

use super::{Verdict, Violation};
use crate::house::House;

const GLOSSARY: &str = "docs/glossary.md";

pub(super) fn check(house: &House) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "types in the glossary", violations: Vec::new() };
    let Some(text) = house.texts.get(GLOSSARY) else {
        verdict.violations.push(Violation::of(GLOSSARY, "is missing: write down the words of the house"));
        return Ok(verdict);
    };
    let ours = house.sources().filter(|source| !source.path.starts_with("xtask/"));
    let used: BTreeSet<&str> = ours.flat_map(|source| &source.words).map(|word| word.text.as_str()).collect();
    for (index, line) in text.lines().enumerate() {
        for name in type_names(line) {
            verdict.seen += 1;
            if !used.contains(name) {
                let sentence = format!(
                    "no code says `{name}`: name what the code says, or leave the cell empty until it does"
                );
                verdict.violations.push(Violation::at(GLOSSARY, index + 1, sentence));
            }
        }
    }
    Ok(verdict)
}

/// What stands between backticks and begins with a capital, of `a::B` each part.
fn type_names(line: &str) -> impl Iterator<Item = &str> {
    let quoted = line.split('`').skip(1).step_by(2);
    let parts = quoted.flat_map(|code| code.split(|c: char| !c.is_alphanumeric()));
    parts.filter(|part| part.starts_with(|first: char| first.is_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings;

    #[test]
    fn a_type_that_does_not_exist_is_caught() {
        let table = "| word | means | `Plan::epoch`, `Gone` | |\nPlain Words and `core/plan`.\n";
        let house = House::planted(&[
            ("core/plan/src/lib.rs", "/// Gone.\npub struct Plan;\nconst A: &str = \"Gone\";\n"),
            (GLOSSARY, table),
        ]);

        let found = findings(check, &house);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("docs/glossary.md:1: no code says `Gone`"));
    }
}
