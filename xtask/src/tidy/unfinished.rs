//! Nothing unfinished is committed: no marks for later, no macro that stands for code.

use anyhow::Result;

use super::{Verdict, Violation};
use crate::house::House;
use crate::rust_source::RustSource;

// The marks are put together here so that this file does not carry them.
const MARKS: [&str; 4] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];
const MACROS: [&str; 2] = [concat!("to", "do"), concat!("un", "implemented")];

pub(super) fn check(house: &House) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "text files", violations: Vec::new() };
    for source in house.sources() {
        verdict.seen += 1;
        verdict.violations.extend(in_rust(source));
    }
    for (path, text) in &house.texts {
        verdict.seen += 1;
        let lines = text.lines().enumerate().filter_map(|(index, line)| Some((index + 1, mark_in(line)?)));
        verdict.violations.extend(lines.map(|(line, mark)| later(path, line, mark)));
    }
    Ok(verdict)
}

fn in_rust(source: &RustSource) -> Vec<Violation> {
    let marked = source.comments.iter().filter_map(|comment| Some((comment.line, mark_in(&comment.text)?)));
    let mut found: Vec<Violation> = marked.map(|(line, mark)| later(&source.path, line, mark)).collect();
    for pair in source.words.windows(2) {
        if pair[1].text == "!" && MACROS.contains(&pair[0].text.as_str()) {
            let sentence = format!("{}! panics in front of a user: write the code", pair[0].text);
            found.push(Violation::at(&source.path, pair[0].line, sentence));
        }
    }
    found
}

fn mark_in(text: &str) -> Option<&'static str> {
    let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.find_map(|word| MARKS.into_iter().find(|mark| *mark == word))
}

fn later(path: &str, line: usize, mark: &str) -> Violation {
    Violation::at(path, line, format!("{mark} is read by nobody: do it now, or write it down as an issue"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings;

    #[test]
    fn todo_marks_are_caught_in_comments_and_documents() {
        let rust = format!(
            "// {}: later\nfn a() {{ {}!() }}\nconst A: &str = \"{}\";\n",
            MARKS[0], MACROS[0], MARKS[0]
        );
        let house = House::planted(&[
            ("core/plan/src/lib.rs", rust.as_str()),
            ("docs/a.md", concat!("# A\n\nFIX", "ME soon\n")),
            ("docs/b.md", "mktemp -d /tmp/XXXXXX\n"),
        ]);

        assert_eq!(findings(check, &house).len(), 3);
    }
}
