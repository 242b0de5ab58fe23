//! `expect(.., reason = "..")` and never `allow(..)`: the compiler reports an expectation that no longer holds.
//!
//! clippy has lints for both; they do not see inside macros, and a crate could disable them with that attribute.

use anyhow::Result;

use super::{Verdict, Violation};
use crate::rust_source::Token;
use crate::workspace::Workspace;

pub(super) fn check(workspace: &Workspace) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "attributes", violations: Vec::new() };
    for source in workspace.sources() {
        for attribute in attributes(&source.tokens) {
            verdict.seen += 1;
            let line = attribute[0].line;
            let calls =
                |name: &str| attribute.windows(2).any(|pair| pair[0].text == name && pair[1].text == "(");
            if calls("allow") {
                let sentence = "allow(..) stays when its cause is gone: write expect(.., reason = \"..\")";
                verdict.violations.push(Violation::at(&source.path, line, sentence));
            }
            if calls("expect") && attribute.iter().all(|token| token.text != "reason") {
                let sentence = "expect(..) without a reason: add reason = \"..\"";
                verdict.violations.push(Violation::at(&source.path, line, sentence));
            }
        }
    }
    Ok(verdict)
}

/// The tokens between the brackets of each `#[..]` and `#![..]`.
fn attributes(tokens: &[Token]) -> Vec<&[Token]> {
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        let open = match &tokens[at..] {
            [hash, bracket, ..] if hash.text == "#" && bracket.text == "[" => at + 1,
            [hash, bang, bracket, ..] if hash.text == "#" && bang.text == "!" && bracket.text == "[" => {
                at + 2
            }
            _ => continue,
        };
        let mut depth = 0_usize;
        let close = tokens[open..].iter().position(|token| {
            match token.text.as_str() {
                "[" => depth += 1,
                "]" => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        if let Some(length) = close {
            found.push(&tokens[open..open + length]);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::violations;

    #[test]
    fn allow_is_caught_even_inside_a_macro_or_behind_a_condition() {
        let text = "#![allow(dead_code)]\nmacro_rules! m { () => { #[allow(unused)] fn a() {} } }\n\
                    #[cfg_attr(test, allow(unused))]\nfn b() { let x = [allow(1)]; }\n#[expect(dead_code)]\nfn c() {}\n\
                    #[expect(dead_code, reason = \"not used yet\")]\nfn d() {}\n";
        let workspace = Workspace::from_files(&[("core/plan/src/lib.rs", text)]);

        let found = violations(check, &workspace);
        assert_eq!(found.len(), 4, "{found:?}");
    }
}
