//! core/ decides and never touches the world: which crates it may use, and which words it may not.
//!
//! clippy (core/clippy.toml) sees through renamed imports but only what it is told name by name; this check
//! bans whole modules and holds the list of crates.

use anyhow::Result;

use super::{Verdict, Violation};
use crate::house::House;
use crate::metadata::{NeedKind, Package};
use crate::rust_source::RustSource;

/// External crates that core/ may use, each with the reason why it is pure enough.
const CRATES: &[(&str, &str)] = &[
    ("croner", "a function of a crontab time and a calendar time"),
    ("jiff", "calendars and the bundled time zones; clippy bans its clock and the machine's own zones"),
    ("minijinja", "its reader of expressions only: a function of a text"),
    ("rand_core", "the traits of random streams; every stream is seeded by the caller"),
    ("http", "the form of a URL: a function of a text"),
    ("regex", "a function of an expression and a text, in time linear to the text"),
    ("rand_xoshiro", "a seeded stream that is the same on every machine"),
    ("schemars", "derives the schema of the resource kinds"),
    ("serde", "derives the written form of the resource kinds"),
    ("serde_json", "values inside resources whose form is the user's: annotations, schema"),
    ("serde_json_path", "a function of a query and a value"),
    ("strsim", "how far two texts are from each other"),
    ("thiserror", "derives error messages"),
    ("xxhash-rust", "digests of outputs: a function of bytes"),
];

/// Paths that reach out of core/, each with what to do instead.
const PATHS: &[(&str, &str)] = &[
    ("std::env", "configuration is an input"),
    ("std::fs", "return an action, an edge carries it out"),
    ("std::io", "return a value, an edge reads and writes"),
    ("std::net::TcpListener", "return an action, an edge carries it out"),
    ("std::net::TcpStream", "return an action, an edge carries it out"),
    ("std::net::ToSocketAddrs", "it asks the resolver; take a SocketAddr"),
    ("std::net::UdpSocket", "return an action, an edge carries it out"),
    ("std::os", "core knows no operating system"),
    ("std::process", "return an action, an edge carries it out"),
    ("std::thread", "core is one state machine on one thread"),
    ("std::time::Instant", "take `Now` as an argument"),
    ("std::time::SystemTime", "take `Now` as an argument"),
];

/// Single words that reach out of core/ however they came in.
const WORDS: &[(&str, &str)] = &[
    ("HashMap", "its order differs from run to run; use BTreeMap"),
    ("HashSet", "its order differs from run to run; use BTreeSet"),
    ("OsRng", "draw from a named, seeded stream that the caller passes in"),
    ("RandomState", "it is seeded by the machine; use an ordered map"),
    ("async", "core does not wait; say when to be woken with `next_deadline`"),
    ("await", "core does not wait; say when to be woken with `next_deadline`"),
    ("from_os_rng", "draw from a named, seeded stream that the caller passes in"),
    ("thread_rng", "draw from a named, seeded stream that the caller passes in"),
];

/// Macros that write somewhere.
const MACROS: &[&str] = &["dbg", "eprint", "eprintln", "print", "println"];

pub(super) fn check(house: &House) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "crates and files of core/", violations: Vec::new() };
    for package in house.packages.iter().filter(|package| package.ring() == "core") {
        verdict.seen += 1;
        verdict.violations.extend(foreign_crates(house, package));
    }
    for source in house.sources().filter(|source| source.path.starts_with("core/")) {
        verdict.seen += 1;
        verdict.violations.extend(worldly_words(source));
    }
    Ok(verdict)
}

fn foreign_crates(house: &House, package: &Package) -> Vec<Violation> {
    let ships = package.needs.iter().filter(|need| need.kind != NeedKind::Dev);
    let foreign = ships.filter(|need| house.package(&need.name).is_none());
    let unlisted = foreign.filter(|need| CRATES.iter().all(|(name, _)| *name != need.name));
    unlisted
        .map(|need| {
            let sentence = format!(
                "core/ may not use the crate `{}`: do without it, or, if it is pure, list it with the reason in \
                 xtask/src/tidy/purity.rs",
                need.name
            );
            Violation::of(&package.manifest(), sentence)
        })
        .collect()
}

fn worldly_words(source: &RustSource) -> Vec<Violation> {
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
    for (at, word) in source.words.iter().enumerate() {
        if let Some((banned, instead)) = WORDS.iter().find(|(banned, _)| *banned == word.text) {
            violations.push(Violation::at(
                &source.path,
                word.line,
                format!("core/ may not use {banned}: {instead}"),
            ));
        }
        let is_call = source.words.get(at + 1).is_some_and(|next| next.text == "!");
        if is_call && MACROS.contains(&word.text.as_str()) {
            let sentence = format!("core/ may not use {}!: return a reason, the shell says it", word.text);
            violations.push(Violation::at(&source.path, word.line, sentence));
        }
    }
    // A test may build a set or print, but what it proves about core must not hang on the machine it runs on.
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
    use crate::tidy::findings;

    #[test]
    fn a_clock_a_file_and_an_unordered_map_are_caught() {
        let text = "use std::{fs::File, collections::{BTreeMap, HashMap}};\n\
                    fn a() {\n    let t = std::time::Instant::now();\n    println!(\"x\");\n}\n";
        let house = House::planted(&[("core/plan/src/lib.rs", text)]);

        let found = findings(check, &house);
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
        let house = House::planted(&[
            ("core/plan/src/lib.rs", text),
            ("edge/os/src/lib.rs", "fn now() { std::time::Instant::now(); }"),
        ]);

        assert_eq!(findings(check, &house), Vec::<String>::new());
    }

    #[test]
    fn a_crate_that_is_not_listed_is_caught() {
        let house = House::planted_crates(vec![
            Package::planted("core/plan", &["serde", "tokio"]).with_dev_need("proptest"),
            Package::planted("edge/os", &["tokio"]),
        ]);

        let found = findings(check, &house);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("the crate `tokio`"));
    }
}
