//! Files and functions stay readable: a line for each, held by a ratchet.
//!
//! What was over the line when the law came is listed in `xtask/ratchet.toml` with its size. It may shrink
//! and not grow, and the list may only get shorter; nothing new may cross. Only lines of code count, so a
//! comment costs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::RangeInclusive;

use anyhow::{Context, Result};
use serde::Deserialize;
use syn::visit::Visit;

use super::{Verdict, Violation};
use crate::house::House;
use crate::rust_source::RustSource;

/// Lines of code in one file, inline tests not counted.
///
/// 800: what one can read in one sitting and still hold in one's head; most files stay at 100 to 300.
const FILE_LINES_MAX: usize = 800;

/// Lines of code in one function.
///
/// 70: one page of a screen, seen at once.
const FUNCTION_LINES_MAX: usize = 70;

/// Says in a comment that a long function is one flat `match` that only hands on.
const MARK: &str = "tidy: flat dispatch";

const RATCHET: &str = "xtask/ratchet.toml";

/// Sizes that are over the line today, by path, or by `path::function`.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ratchet {
    #[serde(default)]
    files: BTreeMap<String, usize>,
    #[serde(default)]
    functions: BTreeMap<String, usize>,
}

pub(super) fn check(house: &House) -> Result<Verdict> {
    let ratchet = read(house)?;
    let (files, functions) = measured(house);
    let mut violations = Vec::new();
    hold(&files, &ratchet.files, FILE_LINES_MAX, &mut violations);
    hold(&functions, &ratchet.functions, FUNCTION_LINES_MAX, &mut violations);
    Ok(Verdict { seen: files.len() + functions.len(), of: "files and functions", violations })
}

/// Lowers every number of the ratchet to what the code has become and drops those that are no longer needed.
///
/// Never raises or adds one: that is done by hand, where a reader of the change sees it.
pub(super) fn tighten(house: &House) -> Result<()> {
    let ratchet = read(house)?;
    let (files, functions) = measured(house);
    let lower = |held: BTreeMap<String, usize>, sizes: &BTreeMap<String, Size>, line: usize| {
        let still =
            held.into_iter().filter_map(|(name, most)| Some((sizes.get(&name)?.lines.min(most), name)));
        still.filter(|(most, _)| *most > line).map(|(most, name)| (name, most)).collect::<BTreeMap<_, _>>()
    };
    let tightened = Ratchet {
        files: lower(ratchet.files, &files, FILE_LINES_MAX),
        functions: lower(ratchet.functions, &functions, FUNCTION_LINES_MAX),
    };
    std::fs::write(house.root.join(RATCHET), written(&tightened))
        .with_context(|| format!("could not write {RATCHET}"))
}

fn read(house: &House) -> Result<Ratchet> {
    let Some(text) = house.texts.get(RATCHET) else { return Ok(Ratchet::default()) };
    toml::from_str(text).with_context(|| format!("could not read {RATCHET}"))
}

fn written(ratchet: &Ratchet) -> String {
    let mut text = String::from(
        "# Sizes over the line of `cargo xtask tidy`, in lines of code. They may only shrink:\n\
         # `cargo xtask tidy --tighten` lowers them to what the code has become.\n",
    );
    for (table, held) in [("files", &ratchet.files), ("functions", &ratchet.functions)] {
        let _ = write!(text, "\n[{table}]\n");
        for (name, most) in held {
            let _ = writeln!(text, "\"{name}\" = {most}");
        }
    }
    text
}

#[derive(Debug, Clone, Copy)]
struct Size {
    lines: usize,
    /// Where it begins.
    line: usize,
}

fn measured(house: &House) -> (BTreeMap<String, Size>, BTreeMap<String, Size>) {
    let mut files = BTreeMap::new();
    let mut functions: BTreeMap<String, Size> = BTreeMap::new();
    for source in house.sources() {
        files.insert(source.path.clone(), Size { lines: source.code_lines_without_inline_tests(), line: 1 });
        for (name, size) in function_sizes(source) {
            // Two functions of one name in a file, as methods of two types: the longer one is held.
            let held = functions.entry(format!("{}::{name}", source.path)).or_insert(size);
            if size.lines > held.lines {
                *held = size;
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

fn hold(
    sizes: &BTreeMap<String, Size>,
    held: &BTreeMap<String, usize>,
    line: usize,
    violations: &mut Vec<Violation>,
) {
    let names: BTreeSet<&String> = sizes.keys().chain(held.keys()).collect();
    for name in names {
        let size = sizes.get(name).copied();
        let lines = size.map_or(0, |size| size.lines);
        let sentence = match held.get(name) {
            None if lines <= line => continue,
            None => format!("has {lines} lines of code, {line} is the line: divide it by what its parts do"),
            Some(most) if lines > *most => {
                format!("has grown from {most} to {lines} lines of code and may only shrink: divide it")
            }
            Some(most) if lines < *most => {
                format!(
                    "has shrunk from {most} to {lines} lines of code: hold it with `cargo xtask tidy --tighten`"
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
    use crate::tidy::findings;

    fn function(name: &str, lines: usize, comment: &str) -> String {
        format!("fn {name}() {{\n{comment}{}}}\n", "    a();\n".repeat(lines - 2))
    }

    #[test]
    fn a_long_function_is_caught_and_a_flat_dispatch_is_exempt() {
        let text = [
            function("at_the_line", 70, "\n    // a comment is no code\n"),
            function("over", 71, ""),
            function("flat", 90, "    // tidy: flat dispatch\n"),
        ];
        let house = House::planted(&[("core/plan/src/lib.rs", &text.concat())]);

        let found = findings(check, &house);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("`over` has 71 lines of code, 70 is the line"));
    }

    #[test]
    fn a_long_file_is_caught_without_its_inline_tests() {
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    const _: () = ();\n".repeat(900));
        let at_the_line = "const _: () = ();\n".repeat(800) + &tests;
        let over = "const _: () = ();\n".repeat(801);
        let house = House::planted(&[("core/a/src/lib.rs", &at_the_line), ("core/b/src/lib.rs", &over)]);

        assert_eq!(findings(check, &house).len(), 1);
    }

    #[test]
    fn the_ratchet_is_enforced_in_both_directions() {
        let ratchet = "[functions]\n\"core/a/src/lib.rs::same\" = 80\n\"core/a/src/lib.rs::grown\" = 80\n\
                       \"core/a/src/lib.rs::shrunk\" = 80\n\"core/a/src/lib.rs::gone\" = 80\n";
        let text = [function("same", 80, ""), function("grown", 81, ""), function("shrunk", 79, "")].concat();
        let house = House::planted(&[("core/a/src/lib.rs", &text), (RATCHET, ratchet)]);

        let found = findings(check, &house);
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

        assert_eq!(toml::from_str::<Ratchet>(&written(&ratchet)).expect("it is TOML"), ratchet);
    }
}
