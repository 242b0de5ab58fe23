//! No file, folder, module or crate has a meaningless name such as `util`.

use anyhow::Result;
use syn::visit::Visit;

use super::{Verdict, Violation};
use crate::workspace::Workspace;

const BANNED: [&str; 9] =
    ["common", "helper", "helpers", "manager", "managers", "misc", "util", "utilities", "utils"];

pub(super) fn check(workspace: &Workspace) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "paths and modules", violations: Vec::new() };
    for path in &workspace.paths {
        verdict.seen += 1;
        let mut parts = path.split('/').map(|part| part.split('.').next().unwrap_or(part));
        if let Some(name) = parts.find(|part| is_banned(part)) {
            verdict.violations.push(Violation::of(path, sentence_for(name)));
        }
    }
    for source in workspace.sources() {
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

/// Whether a word of the name, split at `_` and `-`, is banned.
fn is_banned(name: &str) -> bool {
    name.split(['_', '-']).any(|word| BANNED.contains(&word))
}

fn sentence_for(name: &str) -> String {
    format!(
        "`{name}` says nothing about the content: name it after what it contains, or move the content to its only user"
    )
}

#[derive(Default)]
struct Modules {
    names: Vec<(String, usize)>,
}

impl<'ast> Visit<'ast> for Modules {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        // Modules in files of their own are found by the path of the file.
        if item.content.is_some() {
            self.names.push((item.ident.to_string(), item.ident.span().start().line));
        }
        syn::visit::visit_item_mod(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::violations;

    #[test]
    fn meaningless_names_are_caught_in_files_folders_and_modules() {
        let workspace = Workspace::from_files(&[
            ("core/plan/src/lib.rs", "mod misc { }\nmod utilization { }\n"),
            ("edge/store/src/time_utils.rs", ""),
            ("testing/common/mod.rs", ""),
            ("docs/managers.md", ""),
            ("docs/commons.md", ""),
        ]);

        assert_eq!(violations(check, &workspace).len(), 4);
    }
}
