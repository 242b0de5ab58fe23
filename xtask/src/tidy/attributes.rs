//! `expect(.., reason = "..")` and never `allow(..)`: an expectation that no longer holds is told by the compiler.
//!
//! clippy has lints for both; they do not see inside macros, and a crate could turn them off with the very
//! attribute.

use anyhow::Result;

use super::{Verdict, Violation};
use crate::house::House;
use crate::rust_source::Word;

pub(super) fn check(house: &House) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "attributes", violations: Vec::new() };
    for source in house.sources() {
        for attribute in attributes(&source.words) {
            verdict.seen += 1;
            let line = attribute[0].line;
            let calls =
                |name: &str| attribute.windows(2).any(|pair| pair[0].text == name && pair[1].text == "(");
            if calls("allow") {
                let sentence = "allow(..) outlives its cause: write expect(.., reason = \"..\")";
                verdict.violations.push(Violation::at(&source.path, line, sentence));
            }
            if calls("expect") && attribute.iter().all(|word| word.text != "reason") {
                let sentence = "expect(..) without a reason: add reason = \"..\"";
                verdict.violations.push(Violation::at(&source.path, line, sentence));
            }
        }
    }
    Ok(verdict)
}

/// The words between the brackets of each `#[..]` and `#![..]`.
fn attributes(words: &[Word]) -> Vec<&[Word]> {
    let mut found = Vec::new();
    for at in 0..words.len() {
        let open = match &words[at..] {
            [hash, bracket, ..] if hash.text == "#" && bracket.text == "[" => at + 1,
            [hash, bang, bracket, ..] if hash.text == "#" && bang.text == "!" && bracket.text == "[" => {
                at + 2
            }
            _ => continue,
        };
        let mut depth = 0_usize;
        let close = words[open..].iter().position(|word| {
            match word.text.as_str() {
                "[" => depth += 1,
                "]" => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        if let Some(length) = close {
            found.push(&words[open..open + length]);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings;

    #[test]
    fn allow_is_caught_even_inside_a_macro_or_behind_a_condition() {
        let text = "#![allow(dead_code)]\nmacro_rules! m { () => { #[allow(unused)] fn a() {} } }\n\
                    #[cfg_attr(test, allow(unused))]\nfn b() { let x = [allow(1)]; }\n#[expect(dead_code)]\nfn c() {}\n\
                    #[expect(dead_code, reason = \"read by nobody yet\")]\nfn d() {}\n";
        let house = House::planted(&[("core/plan/src/lib.rs", text)]);

        let found = findings(check, &house);
        assert_eq!(found.len(), 4, "{found:?}");
    }
}
