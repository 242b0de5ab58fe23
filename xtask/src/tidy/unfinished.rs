//! No unfinished work is committed: no marks for later, no macros in place of code.

use anyhow::Result;

use super::{Verdict, Violation};
use crate::rust_source::RustSource;
use crate::workspace::Workspace;

// Concatenated, so that this file does not contain them.
const MARKS: [&str; 4] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];
const MACROS: [&str; 2] = [concat!("to", "do"), concat!("un", "implemented")];

pub(super) fn check(workspace: &Workspace) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "text files", violations: Vec::new() };
    for source in workspace.sources() {
        verdict.seen += 1;
        verdict.violations.extend(in_rust(source));
    }
    for (path, text) in &workspace.texts {
        verdict.seen += 1;
        let lines = text.lines().enumerate().filter_map(|(index, line)| Some((index + 1, mark_in(line)?)));
        verdict.violations.extend(lines.map(|(line, mark)| violation(path, line, mark)));
    }
    Ok(verdict)
}

fn in_rust(source: &RustSource) -> Vec<Violation> {
    let marked = source.comments.iter().filter_map(|comment| Some((comment.line, mark_in(&comment.text)?)));
    let mut found: Vec<Violation> = marked.map(|(line, mark)| violation(&source.path, line, mark)).collect();
    for pair in source.tokens.windows(2) {
        if pair[1].text == "!" && MACROS.contains(&pair[0].text.as_str()) {
            let sentence = format!("{}! panics at run time: write the code", pair[0].text);
            found.push(Violation::at(&source.path, pair[0].line, sentence));
        }
    }
    found
}

fn mark_in(text: &str) -> Option<&'static str> {
    let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.find_map(|word| MARKS.into_iter().find(|mark| *mark == word))
}

fn violation(path: &str, line: usize, mark: &str) -> Violation {
    Violation::at(path, line, format!("{mark} is left: do it now, or open an issue"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::violations;

    #[test]
    fn todo_marks_are_caught_in_comments_and_documents() {
        let rust = format!(
            "// {}: later\nfn a() {{ {}!() }}\nconst A: &str = \"{}\";\n",
            MARKS[0], MACROS[0], MARKS[0]
        );
        let workspace = Workspace::from_files(&[
            ("core/plan/src/lib.rs", rust.as_str()),
            ("docs/a.md", concat!("# A\n\nFIX", "ME soon\n")),
            ("docs/b.md", "mktemp -d /tmp/XXXXXX\n"),
        ]);

        assert_eq!(violations(check, &workspace).len(), 3);
    }
}
