//! No file, folder, module or crate is named after nothing: `util` is where things go to be forgotten.

use anyhow::Result;
use syn::visit::Visit;

use super::{Verdict, Violation};
use crate::house::House;

const BANNED: [&str; 9] =
    ["common", "helper", "helpers", "manager", "managers", "misc", "util", "utilities", "utils"];

pub(super) fn check(house: &House) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "paths and modules", violations: Vec::new() };
    for path in &house.paths {
        verdict.seen += 1;
        let mut parts = path.split('/').map(|part| part.split('.').next().unwrap_or(part));
        if let Some(name) = parts.find(|part| is_banned(part)) {
            verdict.violations.push(Violation::of(path, sentence_for(name)));
        }
    }
    for source in house.sources() {
        let mut modules = Modules::default();
        modules.visit_file(&source.tree);
        verdict.seen += modules.names.len();
        let banned = modules.names.into_iter().filter(|(name, _)| is_banned(name));
        verdict
            .violations
            .extend(banned.map(|(name, line)| Violation::at(&source.path, line, sentence_for(&name))));
    }
    Ok(verdict)
}

/// Whether a word of the name, split at `_` and `-`, says nothing.
fn is_banned(name: &str) -> bool {
    name.split(['_', '-']).any(|word| BANNED.contains(&word))
}

fn sentence_for(name: &str) -> String {
    format!(
        "`{name}` says nothing about what is inside: name it for what it holds, or move it to its one user"
    )
}

#[derive(Default)]
struct Modules {
    names: Vec<(String, usize)>,
}

impl<'ast> Visit<'ast> for Modules {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        // Those in files of their own are found by the file's path.
        if item.content.is_some() {
            self.names.push((item.ident.to_string(), item.ident.span().start().line));
        }
        syn::visit::visit_item_mod(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings;

    #[test]
    fn meaningless_names_are_caught_in_files_folders_and_modules() {
        let house = House::planted(&[
            ("core/plan/src/lib.rs", "mod misc { }\nmod utilization { }\n"),
            ("edge/store/src/time_utils.rs", ""),
            ("testing/common/mod.rs", ""),
            ("docs/managers.md", ""),
            ("docs/commons.md", ""),
        ]);

        assert_eq!(findings(check, &house).len(), 4);
    }
}
