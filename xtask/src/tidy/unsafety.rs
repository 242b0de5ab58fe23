//! Unsafe code stands in few files, each listed with its reason, and each piece says why it is sound.

use anyhow::Result;

use super::{Verdict, Violation};
use crate::house::House;
use crate::rust_source::RustSource;

/// Files that may hold unsafe code, each with the reason why there is no other way.
const FILES: &[(&str, &str)] = &[
    (
        "edge/platform-process/src/launch/child.rs",
        "what a child does between fork and exec is unsafe by nature",
    ),
    (
        "edge/platform-process/src/process_end.rs",
        "tokio waits for the end of a process only through a descriptor whose life it cannot see",
    ),
];

/// How the comment above begins.
const MARK: &str = "SAFETY:";

/// How many lines above the word the comment may stand, at most: a comment of a few lines and an attribute.
const COMMENT_LINES_MAX: usize = 12;

pub(super) fn check(house: &House) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "pieces of unsafe code", violations: Vec::new() };
    for source in house.sources() {
        let is_listed = FILES.iter().any(|(path, _)| *path == source.path);
        for word in source.words.iter().filter(|word| word.text == "unsafe") {
            verdict.seen += 1;
            let sentence = if !is_listed {
                "unsafe code stands only where xtask/src/tidy/unsafety.rs lists it: use a safe crate (rustix), or list the \
                 file with the reason"
            } else if !is_justified(source, word.line) {
                "unsafe code without a reason: say in a comment above, `// SAFETY: …`, why it is sound"
            } else {
                continue;
            };
            verdict.violations.push(Violation::at(&source.path, word.line, sentence));
        }
    }
    Ok(verdict)
}

/// Whether a comment with the mark stands above the line with nothing but comments and attributes between.
fn is_justified(source: &RustSource, line: usize) -> bool {
    let lines: Vec<&str> = source.text.lines().collect();
    let above = lines[..line.saturating_sub(1)].iter().rev().take(COMMENT_LINES_MAX);
    let mut attached =
        above.map(|text| text.trim()).take_while(|text| text.starts_with("//") || text.starts_with('#'));
    attached.any(|text| text.contains(MARK))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings;

    #[test]
    fn unsafe_code_in_other_crates_or_without_a_reason_is_caught() {
        let text = "fn a() {\n    // SAFETY: it is alone\n    // here.\n    unsafe { b() };\n\n    unsafe { c() };\n}\n";
        let house =
            House::planted(&[("edge/os/src/lib.rs", "fn a() { unsafe { b() } }\n"), (FILES[0].0, text)]);

        let found = findings(check, &house);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[1].starts_with(&format!("{}:6: unsafe code without a reason", FILES[0].0)));
    }
}
