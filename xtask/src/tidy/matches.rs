//! Enums of the workspace are matched without `_`, so that the compiler shows every place that a new variant affects.
//!
//! The check compares names: it finds an arm `_` in a match with an arm `Own::Variant`, where `Own` is an enum of this
//! workspace. A file that imports another type of that name is exempt.

use std::collections::BTreeSet;

use anyhow::Result;
use syn::visit::Visit;

use super::{Verdict, Violation};
use crate::rust_source::RustSource;
use crate::workspace::Workspace;

/// In a comment above the `_` arm: the arm is intended, for the reason after the mark.
const MARK: &str = "tidy: open match";

pub(super) fn check(workspace: &Workspace) -> Result<Verdict> {
    let mut enums = Enums::default();
    workspace.sources().for_each(|source| enums.visit_file(&source.tree));
    let mut verdict = Verdict { seen: 0, of: "matches on own enums", violations: Vec::new() };
    for source in workspace.sources() {
        let foreign = foreign_names(workspace, source);
        let own = enums.names.difference(&foreign).cloned().collect();
        let mut matches = Matches { own, enclosing: Vec::new(), seen: 0, open: Vec::new() };
        matches.visit_file(&source.tree);
        verdict.seen += matches.seen;
        let unmarked = matches
            .open
            .into_iter()
            .filter(|(line, _)| !source.is_marked(*line, MARK) && !source.is_test_line(*line));
        verdict.violations.extend(unmarked.map(|(line, name)| {
            let sentence = format!(
                "`_` hides new variants of `{name}`: name all variants, or give the reason in a comment above, \
                 `// {MARK}: <reason>`"
            );
            Violation::at(&source.path, line, sentence)
        }));
    }
    Ok(verdict)
}

/// Names that the file imports from external crates.
fn foreign_names(workspace: &Workspace, source: &RustSource) -> BTreeSet<String> {
    let is_own = |root: &str| {
        matches!(root, "crate" | "self" | "super")
            || workspace.packages.iter().any(|p| p.name.replace('-', "_") == root)
    };
    let foreign = source.imports().into_iter().filter_map(|(path, _)| {
        let (root, rest) = path.split_once("::")?;
        (!is_own(root)).then(|| rest.rsplit("::").next().unwrap_or(rest).to_owned())
    });
    foreign.collect()
}

#[derive(Default)]
struct Enums {
    names: BTreeSet<String>,
}

impl<'ast> Visit<'ast> for Enums {
    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.names.insert(item.ident.to_string());
    }
}

struct Matches {
    own: BTreeSet<String>,
    /// The types of `Self` in the enclosing impls, innermost last; `None` when the type has no plain name.
    enclosing: Vec<Option<String>>,
    seen: usize,
    /// Line of each arm `_`, and the matched enum.
    open: Vec<(usize, String)>,
}

impl Matches {
    /// The own enum of whose variants a pattern names one.
    fn own_enum(&self, pattern: &syn::Pat) -> Option<String> {
        let path = match pattern {
            syn::Pat::Guard(guard) => return self.own_enum(&guard.pat),
            syn::Pat::Or(or) => return or.cases.iter().find_map(|case| self.own_enum(case)),
            syn::Pat::Ident(binding) => return self.own_enum(&binding.subpat.as_ref()?.1),
            syn::Pat::Reference(reference) => return self.own_enum(&reference.pat),
            syn::Pat::Paren(paren) => return self.own_enum(&paren.pat),
            syn::Pat::Path(path) => &path.path,
            syn::Pat::TupleStruct(tuple) => &tuple.path,
            syn::Pat::Struct(fields) => &fields.path,
            _ => return None,
        };
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let [.., name, _variant] = segments.as_slice() else { return None };
        let name = if name == "Self" { self.enclosing.last()?.clone()? } else { name.clone() };
        self.own.contains(&name).then_some(name)
    }
}

impl<'ast> Visit<'ast> for Matches {
    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let name = match &*item.self_ty {
            syn::Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
            _ => None,
        };
        self.enclosing.push(name);
        syn::visit::visit_item_impl(self, item);
        self.enclosing.pop();
    }

    fn visit_expr_match(&mut self, item: &'ast syn::ExprMatch) {
        if let Some(name) = item.arms.iter().find_map(|arm| self.own_enum(&arm.pat)) {
            self.seen += 1;
            for arm in &item.arms {
                if let syn::Pat::Wild(wild) = &arm.pat {
                    self.open.push((wild.underscore_token.span.start().line, name.clone()));
                }
            }
        }
        syn::visit::visit_expr_match(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::violations;

    #[test]
    fn a_wildcard_over_an_own_enum_is_caught() {
        let text = "enum Stage { A, B(u8) }\nimpl Stage {\n    fn a(&self) -> u8 { match self {\n        Self::A => 1,\n        _ => 2,\n    } }\n}\n\
                    fn b(s: Stage) { match s {\n    Stage::B(x) if x > 1 => {}\n    _ => {}\n} }\n";
        let workspace = Workspace::from_files(&[("core/plan/src/lib.rs", text)]);

        let found = violations(check, &workspace);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("core/plan/src/lib.rs:5: `_` hides new variants of `Stage`"));
    }

    #[test]
    fn foreign_enums_marked_arms_and_exhaustive_matches_are_exempt() {
        let workspace = Workspace::from_files(&[
            ("core/model/src/lib.rs", "pub enum Value { A, B }\npub enum Stage { A, B }\n"),
            (
                "edge/store/src/lib.rs",
                "use toml::Value;\nfn a(v: Value) { match v { Value::A => {} _ => {} } }\n",
            ),
            (
                "core/plan/src/lib.rs",
                "fn a(s: Stage) { match s {\n    Stage::A => {}\n    // tidy: open match: only A can be undone\n    _ => {}\n} }\n\
                 fn b(s: Stage) { match s { Stage::A | Stage::B => {} } }\nfn c(s: Option<u8>) { match s { Some(1) => {} _ => {} } }\n",
            ),
        ]);

        assert_eq!(violations(check, &workspace), Vec::<String>::new());
    }
}
