//! Every error code that the code names has a page in docs/errors, and every page is of a code that still
//! exists.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{Verdict, Violation};
use crate::house::House;

const FOLDER: &str = "docs/errors/";

pub(super) fn check(house: &House) -> Result<Verdict> {
    let mut used: BTreeMap<String, (String, usize)> = BTreeMap::new();
    // xtask stands outside the house: no operator meets its errors.
    for source in house.sources().filter(|source| !source.path.starts_with("xtask/")) {
        for (index, line) in source.text.lines().enumerate() {
            for code in codes_in(line) {
                used.entry(code.to_owned()).or_insert_with(|| (source.path.clone(), index + 1));
            }
        }
    }
    let page_of = |path: &str| path.strip_prefix(FOLDER)?.strip_suffix(".md").map(str::to_owned);
    let pages: BTreeMap<String, &String> = house
        .paths
        .iter()
        .filter_map(|path| Some((page_of(path)?, path)))
        .filter(|(name, _)| name != "README")
        .collect();
    let mut violations = Vec::new();
    for (code, (path, line)) in used.iter().filter(|(code, _)| !pages.contains_key(*code)) {
        let sentence = format!("{code} has no page: write {FOLDER}{code}.md (what it means, what to do)");
        violations.push(Violation::at(path, *line, sentence));
    }
    for (name, path) in pages.iter().filter(|(name, _)| !used.contains_key(*name)) {
        violations
            .push(Violation::of(path, format!("no code names {name}: delete the page, or name the code")));
    }
    Ok(Verdict { seen: used.len() + pages.len(), of: "error codes and pages", violations })
}

/// Every `HS` with exactly four digits that stands alone.
fn codes_in(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| {
        word.len() == 6
            && word.strip_prefix("HS").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings;

    #[test]
    fn a_code_without_a_page_and_a_page_without_a_code_are_caught() {
        let house = House::planted(&[
            (
                "edge/store/src/lib.rs",
                "const A: &str = \"HS0001\";\nconst B: &str = \"HS0002: x\";\nconst C: &str = \"AHS0009\";\n",
            ),
            ("docs/errors/HS0001.md", ""),
            ("docs/errors/HS0003.md", ""),
            ("docs/errors/README.md", ""),
        ]);

        let found = findings(check, &house);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("edge/store/src/lib.rs:2: HS0002 has no page"));
        assert!(found[1].starts_with("docs/errors/HS0003.md: no code names HS0003"));
    }
}
