//! Finds the files that belong to each crate by following `mod` lines from the root files that cargo compiles.

use std::collections::{BTreeMap, BTreeSet};

use crate::metadata::Package;
use crate::rust_source::{RustSource, is_for_tests};

/// The reached files.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// Files reached from libraries and binaries.
    pub(crate) production: BTreeSet<String>,
    /// Files reached from tests.
    pub(crate) tests: BTreeSet<String>,
}

/// Follows every `mod` from every root of `packages`.
///
/// Files that are not in `sources` (ignored by git, or not valid Rust) are skipped: rustc reports them.
pub(crate) fn reach(packages: &[Package], sources: &BTreeMap<String, RustSource>) -> Reach {
    let mut walk = Walk { sources, reach: Reach::default() };
    for target in packages.iter().flat_map(|package| &package.targets) {
        let folder = parent(&target.path);
        walk.file(&target.path, folder, target.is_test);
    }
    walk.reach
}

struct Walk<'a> {
    sources: &'a BTreeMap<String, RustSource>,
    reach: Reach,
}

impl Walk<'_> {
    /// `folder` contains the files of its `mod` lines.
    fn file(&mut self, path: &str, folder: &str, is_test: bool) {
        let sources = self.sources;
        let Some(source) = sources.get(path) else { return };
        let seen = if is_test { &mut self.reach.tests } else { &mut self.reach.production };
        if seen.insert(path.to_owned()) {
            self.items(&source.tree.items, path, folder, is_test);
        }
    }

    fn items(&mut self, items: &[syn::Item], path: &str, folder: &str, is_test: bool) {
        for item in items {
            let syn::Item::Mod(module) = item else { continue };
            let is_test = is_test || module.attrs.iter().any(is_for_tests);
            let name = module.ident.to_string();
            let inner = format!("{folder}/{name}");
            if let Some((_, items)) = &module.content {
                self.items(items, path, &inner, is_test);
            } else if let Some(named) = path_attribute(module) {
                let file = joined(parent(path), &named);
                self.file(&file, parent(&file), is_test);
            } else {
                self.file(&format!("{inner}.rs"), &inner, is_test);
                self.file(&format!("{inner}/mod.rs"), &inner, is_test);
            }
        }
    }
}

fn path_attribute(module: &syn::ItemMod) -> Option<String> {
    let attribute = module.attrs.iter().find(|attribute| attribute.path().is_ident("path"))?;
    let syn::Meta::NameValue(pair) = &attribute.meta else { return None };
    match &pair.value {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// `folder/relative` without `..` and `.`.
pub(crate) fn joined(folder: &str, relative: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use crate::workspace::Workspace;

    #[test]
    fn a_file_is_a_test_when_only_tests_reach_it() {
        let workspace = Workspace::from_files(&[
            ("core/plan/src/lib.rs", "mod scale;\n#[cfg(test)]\nmod proofs;\nmod inner { mod deep; }\n"),
            ("core/plan/src/scale.rs", "#[path = \"../other.rs\"]\nmod other;\nmod step;\n"),
            ("core/plan/src/scale/step.rs", ""),
            ("core/plan/src/proofs/mod.rs", "mod one;\n"),
            ("core/plan/src/proofs/one.rs", ""),
            ("core/plan/src/inner/deep.rs", ""),
            ("core/plan/other.rs", ""),
            ("core/plan/src/lost.rs", ""),
        ]);

        let is_test = |path: &str| workspace.source(path).expect("it exists").is_test;
        assert!(is_test("core/plan/src/proofs/one.rs"));
        assert!(!is_test("core/plan/src/scale/step.rs"));
        assert!(!is_test("core/plan/src/inner/deep.rs"));
        assert_eq!(workspace.unreachable, ["core/plan/src/lost.rs"]);
    }
}
