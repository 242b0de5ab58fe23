//! No file names a place on one machine: what only works here does not belong in the workspace.

use anyhow::Result;

use super::{Verdict, Violation};
use crate::house::House;

// Put together here so that this file does not name them.
const PLACES: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("../sha", "red/")];

pub(super) fn check(house: &House) -> Result<Verdict> {
    let own = house.root.to_string_lossy().into_owned();
    let own_is_telling = house.root.components().count() > 2;
    let places: Vec<&str> = PLACES.into_iter().chain(own_is_telling.then_some(own.as_str())).collect();
    let mut verdict = Verdict { seen: 0, of: "text files", violations: Vec::new() };
    for (path, text) in house.all_texts() {
        verdict.seen += 1;
        for (index, line) in text.lines().enumerate() {
            if let Some(place) = places.iter().find(|place| names(line, place)) {
                let sentence = format!(
                    "names {place}, a place on one machine: write it relative, or take it as an argument"
                );
                verdict.violations.push(Violation::at(path, index + 1, sentence));
            }
        }
    }
    Ok(verdict)
}

/// Whether `place` stands in the line as a path of its own and not inside a longer one, such as an address.
fn names(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '}' | '*'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings;

    #[test]
    fn a_machine_specific_path_is_caught() {
        let here = format!("cd {}main\n", PLACES[0]);
        let house = House::planted(&[
            ("docs/a.md", here.as_str()),
            ("docs/b.md", concat!("https://example.org/wo", "rk/1 and /nowhere else\n")),
            ("docs/c.md", "see /nowhere/else\n"),
        ]);

        assert_eq!(findings(check, &house).len(), 1);
    }
}
