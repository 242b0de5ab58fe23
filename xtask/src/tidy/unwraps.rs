//! No `unwrap()` in what ships: an invariant says why it holds, weather is handled.

use anyhow::Result;

use super::{Verdict, Violation};
use crate::house::House;

pub(super) fn check(house: &House) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "Rust files that ship", violations: Vec::new() };
    let ships = |path: &str| !path.starts_with("testing/") && !path.starts_with("xtask/");
    for source in house.sources().filter(|source| !source.is_test && ships(&source.path)) {
        verdict.seen += 1;
        for words in source.words.windows(4) {
            let [dot, name, open, argument] = words else { continue };
            let is_call = dot.text == "." && open.text == "(" && !source.is_test_line(name.line);
            if is_call && name.text == "unwrap" && argument.text == ")" {
                let sentence =
                    "unwrap() does not say why it cannot fail: handle it, or expect(\"why it cannot fail\")";
                verdict.violations.push(Violation::at(&source.path, name.line, sentence));
            }
            if is_call && name.text == "expect" && argument.text == "\"\"" {
                let sentence = "expect(\"\") does not say why it cannot fail: say it";
                verdict.violations.push(Violation::at(&source.path, name.line, sentence));
            }
        }
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings;

    #[test]
    fn an_unwrap_outside_of_tests_is_caught() {
        let text = "fn a() { x().unwrap(); y().expect(\"\"); z().unwrap_or(1); w().expect(\"set in new\"); }\n\
                    #[cfg(test)]\nmod tests {\n    fn b() { x().unwrap(); }\n}\n";
        let house = House::planted(&[("edge/os/src/lib.rs", text), ("testing/swarm/src/main.rs", text)]);

        assert_eq!(findings(check, &house).len(), 2);
    }
}
