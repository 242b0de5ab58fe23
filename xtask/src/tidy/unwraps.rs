//! No `unwrap()` in production code: `expect` states why an invariant holds, other errors are handled.

use anyhow::Result;

use super::{Verdict, Violation};
use crate::workspace::Workspace;

pub(super) fn check(workspace: &Workspace) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "production Rust files", violations: Vec::new() };
    let is_production = |path: &str| !path.starts_with("testing/") && !path.starts_with("xtask/");
    for source in workspace.sources().filter(|source| !source.is_test && is_production(&source.path)) {
        verdict.seen += 1;
        for tokens in source.tokens.windows(4) {
            let [dot, name, open, argument] = tokens else { continue };
            let is_call = dot.text == "." && open.text == "(" && !source.is_test_line(name.line);
            if is_call && name.text == "unwrap" && argument.text == ")" {
                let sentence = "unwrap() does not say why it cannot fail: handle the error, or write expect(\"why it cannot fail\")";
                verdict.violations.push(Violation::at(&source.path, name.line, sentence));
            }
            if is_call && name.text == "expect" && argument.text == "\"\"" {
                let sentence = "expect(\"\") does not say why it cannot fail: add the reason";
                verdict.violations.push(Violation::at(&source.path, name.line, sentence));
            }
        }
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::violations;

    #[test]
    fn an_unwrap_outside_of_tests_is_caught() {
        let text = "fn a() { x().unwrap(); y().expect(\"\"); z().unwrap_or(1); w().expect(\"set in new\"); }\n\
                    #[cfg(test)]\nmod tests {\n    fn b() { x().unwrap(); }\n}\n";
        let workspace =
            Workspace::from_files(&[("edge/os/src/lib.rs", text), ("testing/swarm/src/main.rs", text)]);

        assert_eq!(violations(check, &workspace).len(), 2);
    }
}
