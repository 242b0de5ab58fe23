//! Files and functions stay below a maximum length, with a ratchet for exceptions.
//!
//! Those that exceeded the limit when the law was introduced are listed in `xtask/ratchet.toml` with their sizes.
//! They may only shrink, and nothing may be added. Only lines of code count, so comments cost nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::RangeInclusive;

use anyhow::{Context, Result};
use serde::Deserialize;
use syn::visit::Visit;

use super::{Verdict, Violation};
use crate::rust_source::RustSource;
use crate::workspace::Workspace;

/// Most lines of code in a file, without inline tests.
///
/// 800: as much as can be read at a time; most files have 100 to 300.
const FILE_LINES_MAX: usize = 800;

/// Most lines of code in a function.
///
/// 70: fits on a screen.
const FUNCTION_LINES_MAX: usize = 70;

/// In a comment: a long function is one flat `match` that only dispatches.
const MARK: &str = "tidy: flat dispatch";

const RATCHET: &str = "xtask/ratchet.toml";

/// Sizes above the limit, by path or by `path::function`.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ratchet {
    #[serde(default)]
    files: BTreeMap<String, usize>,
    #[serde(default)]
    functions: BTreeMap<String, usize>,
}

pub(super) fn check(workspace: &Workspace) -> Result<Verdict> {
    let ratchet = read(workspace)?;
    let (files, functions) = measure(workspace);
    let mut violations = Vec::new();
    compare(&files, &ratchet.files, FILE_LINES_MAX, &mut violations);
    compare(&functions, &ratchet.functions, FUNCTION_LINES_MAX, &mut violations);
    Ok(Verdict { seen: files.len() + functions.len(), of: "files and functions", violations })
}

/// Lowers the limits of the ratchet to the current sizes and removes those that are no longer needed.
///
/// Never raises or adds one, which has to be done by hand so that a reviewer sees it.
pub(super) fn tighten(workspace: &Workspace) -> Result<()> {
    let ratchet = read(workspace)?;
    let (files, functions) = measure(workspace);
    let lower = |limits: BTreeMap<String, usize>, sizes: &BTreeMap<String, Size>, line: usize| {
        let still =
            limits.into_iter().filter_map(|(name, most)| Some((sizes.get(&name)?.lines.min(most), name)));
        still.filter(|(most, _)| *most > line).map(|(most, name)| (name, most)).collect::<BTreeMap<_, _>>()
    };
    let tightened = Ratchet {
        files: lower(ratchet.files, &files, FILE_LINES_MAX),
        functions: lower(ratchet.functions, &functions, FUNCTION_LINES_MAX),
    };
    std::fs::write(workspace.root.join(RATCHET), serialize(&tightened))
        .with_context(|| format!("could not write {RATCHET}"))
}

fn read(workspace: &Workspace) -> Result<Ratchet> {
    let Some(text) = workspace.texts.get(RATCHET) else { return Ok(Ratchet::default()) };
    toml::from_str(text).with_context(|| format!("could not read {RATCHET}"))
}

fn serialize(ratchet: &Ratchet) -> String {
    let mut text = String::from(
        "# Sizes above the limits of `cargo xtask tidy`, in lines of code. They may only shrink:\n\
         # `cargo xtask tidy --tighten` lowers them to the current sizes.\n",
    );
    for (table, limits) in [("files", &ratchet.files), ("functions", &ratchet.functions)] {
        let _ = write!(text, "\n[{table}]\n");
        for (name, most) in limits {
            let _ = writeln!(text, "\"{name}\" = {most}");
        }
    }
    text
}

#[derive(Debug, Clone, Copy)]
struct Size {
    lines: usize,
    /// First line.
    line: usize,
}

fn measure(workspace: &Workspace) -> (BTreeMap<String, Size>, BTreeMap<String, Size>) {
    let mut files = BTreeMap::new();
    let mut functions: BTreeMap<String, Size> = BTreeMap::new();
    for source in workspace.sources() {
        files.insert(source.path.clone(), Size { lines: source.code_lines_without_inline_tests(), line: 1 });
        for (name, size) in function_sizes(source) {
            // Of functions with the same name in a file, such as methods of two types, the longest counts.
            let longest = functions.entry(format!("{}::{name}", source.path)).or_insert(size);
            if size.lines > longest.lines {
                *longest = size;
            }
        }
    }
    (files, functions)
}

fn function_sizes(source: &RustSource) -> Vec<(String, Size)> {
    let mut functions = Functions::default();
    functions.visit_file(&source.tree);
    let found = functions.found.into_iter().filter(|(_, lines)| !source.has_mark_in(lines.clone(), MARK));
    found
        .map(|(name, lines)| (name, Size { line: *lines.start(), lines: source.code_lines_in(lines) }))
        .collect()
}

fn compare(
    sizes: &BTreeMap<String, Size>,
    limits: &BTreeMap<String, usize>,
    line: usize,
    violations: &mut Vec<Violation>,
) {
    let names: BTreeSet<&String> = sizes.keys().chain(limits.keys()).collect();
    for name in names {
        let size = sizes.get(name).copied();
        let lines = size.map_or(0, |size| size.lines);
        let sentence = match limits.get(name) {
            None if lines <= line => continue,
            None => {
                format!("has {lines} lines of code, more than {line}: split it into parts with one task each")
            }
            Some(most) if lines > *most => {
                format!("has grown from {most} to {lines} lines of code and may only shrink: split it")
            }
            Some(most) if lines < *most => {
                format!(
                    "has shrunk from {most} to {lines} lines of code: lower its limit with `cargo xtask tidy --tighten`"
                )
            }
            Some(_) => continue,
        };
        let path = name.split("::").next().unwrap_or(name);
        let function = name.split_once("::").map_or(String::new(), |(_, function)| format!("`{function}` "));
        let at = size.map_or(1, |size| size.line);
        violations.push(Violation::at(path, at, format!("{function}{sentence}")));
    }
}

#[derive(Default)]
struct Functions {
    found: Vec<(String, RangeInclusive<usize>)>,
}

impl Functions {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let lines = signature.fn_token.span.start().line..=block.brace_token.span.close().start().line;
        self.found.push((signature.ident.to_string(), lines));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.sig, &item.block);
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(&item.sig, &item.block);
        syn::visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.add(&item.sig, block);
        }
        syn::visit::visit_trait_item_fn(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::violations;

    fn function(name: &str, lines: usize, comment: &str) -> String {
        format!("fn {name}() {{\n{comment}{}}}\n", "    a();\n".repeat(lines - 2))
    }

    #[test]
    fn a_long_function_is_caught_and_a_flat_dispatch_is_exempt() {
        let text = [
            function("at_the_limit", 70, "\n    // a comment is not code\n"),
            function("over", 71, ""),
            function("flat", 90, "    // tidy: flat dispatch\n"),
        ];
        let workspace = Workspace::from_files(&[("core/plan/src/lib.rs", &text.concat())]);

        let found = violations(check, &workspace);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("`over` has 71 lines of code, more than 70"));
    }

    #[test]
    fn a_long_file_is_caught_without_its_inline_tests() {
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    const _: () = ();\n".repeat(900));
        let at_the_limit = "const _: () = ();\n".repeat(800) + &tests;
        let over = "const _: () = ();\n".repeat(801);
        let workspace =
            Workspace::from_files(&[("core/a/src/lib.rs", &at_the_limit), ("core/b/src/lib.rs", &over)]);

        assert_eq!(violations(check, &workspace).len(), 1);
    }

    #[test]
    fn the_ratchet_is_enforced_in_both_directions() {
        let ratchet = "[functions]\n\"core/a/src/lib.rs::same\" = 80\n\"core/a/src/lib.rs::grown\" = 80\n\
                       \"core/a/src/lib.rs::shrunk\" = 80\n\"core/a/src/lib.rs::gone\" = 80\n";
        let text = [function("same", 80, ""), function("grown", 81, ""), function("shrunk", 79, "")].concat();
        let workspace = Workspace::from_files(&[("core/a/src/lib.rs", &text), (RATCHET, ratchet)]);

        let found = violations(check, &workspace);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found.iter().any(|line| line.contains("`grown` has grown from 80 to 81")));
        assert!(found.iter().any(|line| line.contains("`shrunk` has shrunk from 80 to 79")));
        assert!(found.iter().any(|line| line.contains("`gone` has shrunk from 80 to 0")));
    }

    #[test]
    fn the_ratchet_reads_what_it_writes() {
        let ratchet = Ratchet {
            files: BTreeMap::from([("edge/a/src/lib.rs".to_owned(), 900)]),
            functions: BTreeMap::from([("edge/a/src/lib.rs::run".to_owned(), 90)]),
        };

        assert_eq!(toml::from_str::<Ratchet>(&serialize(&ratchet)).expect("it is TOML"), ratchet);
    }
}
