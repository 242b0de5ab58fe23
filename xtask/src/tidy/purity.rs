//! core/ is pure: it performs no input or output and reads no clock. This law lists the crates that it may use and the paths and
//! names that it may not.
//!
//! clippy (core/clippy.toml) resolves renamed imports but bans only single names; this check bans whole modules and has a list of
//! allowed crates.

use anyhow::Result;

use super::{Verdict, Violation};
use crate::metadata::{DependencyKind, Package};
use crate::rust_source::RustSource;
use crate::workspace::Workspace;

/// External crates that core/ may use, each with the reason why it is pure.
const CRATES: &[(&str, &str)] = &[
    ("croner", "a function of a crontab time and a calendar time"),
    ("jiff", "calendars and bundled time zones; clippy bans its clock and the time zones of the machine"),
    ("minijinja", "only its parser of expressions: a function of a text"),
    ("rand_core", "the traits of random streams; every stream is seeded by the caller"),
    ("http", "the syntax of a URL: a function of a text"),
    ("regex", "a function of an expression and a text, in time linear to the text"),
    ("rand_xoshiro", "a seeded stream that is the same on every machine"),
    ("schemars", "derives the schema of the resource kinds"),
    ("serde", "derives the serialization of the resource kinds"),
    ("serde_json", "values in resources with a form chosen by the user: annotations, schema"),
    ("serde_json_path", "a function of a query and a value"),
    ("strsim", "the edit distance of two texts"),
    ("thiserror", "derives error messages"),
    ("xxhash-rust", "digests of outputs: a function of bytes"),
];

/// Banned paths, each with what to do instead.
const PATHS: &[(&str, &str)] = &[
    ("std::env", "configuration is an input"),
    ("std::fs", "return an action, an edge executes it"),
    ("std::io", "return a value, an edge reads and writes"),
    ("std::net::TcpListener", "return an action, an edge executes it"),
    ("std::net::TcpStream", "return an action, an edge executes it"),
    ("std::net::ToSocketAddrs", "it calls the resolver; take a SocketAddr"),
    ("std::net::UdpSocket", "return an action, an edge executes it"),
    ("std::os", "core is independent of the operating system"),
    ("std::process", "return an action, an edge executes it"),
    ("std::thread", "core is one state machine on one thread"),
    ("std::time::Instant", "take `Now` as an argument"),
    ("std::time::SystemTime", "take `Now` as an argument"),
];

/// Banned names, however they are imported.
const NAMES: &[(&str, &str)] = &[
    ("HashMap", "its order differs from run to run; use BTreeMap"),
    ("HashSet", "its order differs from run to run; use BTreeSet"),
    ("OsRng", "draw from a named, seeded stream that the caller passes in"),
    ("RandomState", "it is seeded by the machine; use an ordered map"),
    ("async", "core does not wait; return the time to be called again with `next_deadline`"),
    ("await", "core does not wait; return the time to be called again with `next_deadline`"),
    ("from_os_rng", "draw from a named, seeded stream that the caller passes in"),
    ("thread_rng", "draw from a named, seeded stream that the caller passes in"),
];

/// Banned macros, which write to an output.
const MACROS: &[&str] = &["dbg", "eprint", "eprintln", "print", "println"];

pub(super) fn check(workspace: &Workspace) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "crates and files of core/", violations: Vec::new() };
    for package in workspace.packages.iter().filter(|package| package.ring() == "core") {
        verdict.seen += 1;
        verdict.violations.extend(unlisted_crates(workspace, package));
    }
    for source in workspace.sources().filter(|source| source.path.starts_with("core/")) {
        verdict.seen += 1;
        verdict.violations.extend(banned_names(source));
    }
    Ok(verdict)
}

fn unlisted_crates(workspace: &Workspace, package: &Package) -> Vec<Violation> {
    let ships = package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Dev);
    let foreign = ships.filter(|dependency| workspace.package(&dependency.name).is_none());
    let unlisted = foreign.filter(|dependency| CRATES.iter().all(|(name, _)| *name != dependency.name));
    unlisted
        .map(|dependency| {
            let sentence = format!(
                "core/ may not use the crate `{}`: do without it, or, if it is pure, list it with the reason in \
                 xtask/src/tidy/purity.rs",
                dependency.name
            );
            Violation::of(&package.manifest(), sentence)
        })
        .collect()
}

fn banned_names(source: &RustSource) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut paths = source.imports();
    paths.extend(source.paths());
    for (path, line) in paths {
        let canonical = path.strip_prefix("core::").or_else(|| path.strip_prefix("alloc::"));
        let canonical = canonical.map_or_else(|| path.clone(), |rest| format!("std::{rest}"));
        if let Some((banned, instead)) = PATHS.iter().find(|(banned, _)| is_within(&canonical, banned)) {
            violations.push(Violation::at(
                &source.path,
                line,
                format!("core/ may not use {banned}: {instead}"),
            ));
        }
    }
    for (at, token) in source.tokens.iter().enumerate() {
        if let Some((banned, instead)) = NAMES.iter().find(|(banned, _)| *banned == token.text) {
            violations.push(Violation::at(
                &source.path,
                token.line,
                format!("core/ may not use {banned}: {instead}"),
            ));
        }
        let is_call = source.tokens.get(at + 1).is_some_and(|next| next.text == "!");
        if is_call && MACROS.contains(&token.text.as_str()) {
            let sentence = format!("core/ may not use {}!: return a reason, an edge logs it", token.text);
            violations.push(Violation::at(&source.path, token.line, sentence));
        }
    }
    // Tests may use unordered sets or print.
    violations.retain(|violation| violation.line.is_none_or(|line| !source.is_test_line(line)));
    violations.sort_by_key(|violation| violation.line);
    violations.dedup();
    violations
}

fn is_within(path: &str, banned: &str) -> bool {
    path.strip_prefix(banned).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::violations;

    #[test]
    fn a_clock_a_file_and_an_unordered_map_are_caught() {
        let text = "use std::{fs::File, collections::{BTreeMap, HashMap}};\n\
                    fn a() {\n    let t = std::time::Instant::now();\n    println!(\"x\");\n}\n";
        let workspace = Workspace::from_files(&[("core/plan/src/lib.rs", text)]);

        let found = violations(check, &workspace);
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(
            found.contains(
                &"core/plan/src/lib.rs:3: core/ may not use std::time::Instant: take `Now` as an argument"
                    .to_owned()
            )
        );
    }

    #[test]
    fn edges_tests_strings_and_comments_are_exempt() {
        let text = "/// Unlike std::time::Instant.\nconst A: &str = \"HashMap\";\nuse std::net::SocketAddr;\n\
                    #[cfg(test)]\nmod tests {\n    use std::collections::HashSet;\n}\n";
        let workspace = Workspace::from_files(&[
            ("core/plan/src/lib.rs", text),
            ("edge/os/src/lib.rs", "fn now() { std::time::Instant::now(); }"),
        ]);

        assert_eq!(violations(check, &workspace), Vec::<String>::new());
    }

    #[test]
    fn a_crate_that_is_not_listed_is_caught() {
        let workspace = Workspace::from_packages(vec![
            Package::in_folder("core/plan", &["serde", "tokio"]).with_dev_dependency("proptest"),
            Package::in_folder("edge/os", &["tokio"]),
        ]);

        let found = violations(check, &workspace);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("the crate `tokio`"));
    }
}
