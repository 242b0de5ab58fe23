//! Unsafe code is confined to listed files, and each use has a comment that says why it is sound.

use anyhow::Result;

use super::{Verdict, Violation};
use crate::rust_source::RustSource;
use crate::workspace::Workspace;

/// Files that may contain unsafe code, each with the reason why safe code is not enough.
const FILES: &[(&str, &str)] = &[
    ("edge/os/src/time_slice.rs", "no safe crate wraps the system calls that set a thread's time slice"),
    ("edge/platform-process/src/launch/child.rs", "code between fork and exec is unsafe by nature"),
    (
        "edge/platform-process/src/process_end.rs",
        "tokio waits for the exit of a process only through a descriptor whose lifetime it cannot see",
    ),
];

/// The beginning of the comment above.
const MARK: &str = "SAFETY:";

/// Most lines between the comment and `unsafe`: a comment of a few lines and an attribute.
const COMMENT_LINES_MAX: usize = 12;

pub(super) fn check(workspace: &Workspace) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "uses of unsafe", violations: Vec::new() };
    for source in workspace.sources() {
        let is_listed = FILES.iter().any(|(path, _)| *path == source.path);
        for token in source.tokens.iter().filter(|token| token.text == "unsafe") {
            verdict.seen += 1;
            let sentence = if !is_listed {
                "unsafe code is allowed only in files listed in xtask/src/tidy/unsafety.rs: use a safe crate (rustix), or list \
                 the file with the reason"
            } else if !is_justified(source, token.line) {
                "unsafe code without a reason: state in a comment above, `// SAFETY: …`, why it is sound"
            } else {
                continue;
            };
            verdict.violations.push(Violation::at(&source.path, token.line, sentence));
        }
    }
    Ok(verdict)
}

/// Whether a comment with the mark is above the line, with only comments and attributes between.
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
    use crate::tidy::violations;

    #[test]
    fn unsafe_code_in_other_crates_or_without_a_reason_is_caught() {
        let text = "fn a() {\n    // SAFETY: it is alone\n    // here.\n    unsafe { b() };\n\n    unsafe { c() };\n}\n";
        let workspace = Workspace::from_files(&[
            ("edge/os/src/lib.rs", "fn a() { unsafe { b() } }\n"),
            (FILES[0].0, text),
        ]);

        let found = violations(check, &workspace);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[1].starts_with(&format!("{}:6: unsafe code without a reason", FILES[0].0)));
    }
}
