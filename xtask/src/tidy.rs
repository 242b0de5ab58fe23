//! `cargo xtask tidy`: the laws of the workspace, each checked by a module of its own.
//!
//! Each check reports how many items it examined, so that a check of nothing is noticed, and each violation says how to fix it.

mod arrows;
mod attributes;
mod bans;
mod decisions;
mod drivers;
mod error_pages;
mod glossary;
mod licences;
mod links;
mod lints;
mod map;
mod matches;
mod names;
mod needs;
mod orphans;
mod phases;
mod places;
mod purity;
mod sizes;
mod unfinished;
mod unsafety;
mod unwraps;
mod waits;

use std::fmt;
use std::time::Instant;

use anyhow::bail;

use crate::cargo;
use crate::workspace::Workspace;

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Check only these laws, by name.
    #[arg(value_name = "LAW")]
    laws: Vec<String>,
    /// Lower the limits in xtask/ratchet.toml to the current sizes; never raises one.
    #[arg(long)]
    tighten: bool,
}

/// A rule of the workspace and its check.
struct Law {
    name: &'static str,
    check: fn(&Workspace) -> anyhow::Result<Verdict>,
}

/// All laws, from dependencies between crates to texts.
const LAWS: &[Law] = &[
    Law { name: "arrows", check: arrows::check },
    Law { name: "phases", check: phases::check },
    Law { name: "drivers", check: drivers::check },
    Law { name: "purity", check: purity::check },
    Law { name: "lints", check: lints::check },
    Law { name: "bans", check: bans::check },
    Law { name: "orphans", check: orphans::check },
    Law { name: "sizes", check: sizes::check },
    Law { name: "names", check: names::check },
    Law { name: "attributes", check: attributes::check },
    Law { name: "matches", check: matches::check },
    Law { name: "unsafety", check: unsafety::check },
    Law { name: "unwraps", check: unwraps::check },
    Law { name: "waits", check: waits::check },
    Law { name: "needs", check: needs::check },
    Law { name: "unfinished", check: unfinished::check },
    Law { name: "error-pages", check: error_pages::check },
    Law { name: "decisions", check: decisions::check },
    Law { name: "links", check: links::check },
    Law { name: "glossary", check: glossary::check },
    Law { name: "places", check: places::check },
    Law { name: "map", check: map::check },
    Law { name: "licences", check: licences::check },
];

/// The result of a check.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    /// How many items were examined.
    seen: usize,
    /// The examined items, in the plural.
    of: &'static str,
    violations: Vec<Violation>,
}

/// A place where a law is broken.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    path: String,
    /// From 1; `None` when it concerns the whole file.
    line: Option<usize>,
    /// What is wrong and how to fix it, as a sentence.
    sentence: String,
}

impl Violation {
    fn at(path: &str, line: usize, sentence: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: Some(line), sentence: sentence.into() }
    }

    fn of(path: &str, sentence: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, sentence: sentence.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(to, "{}:{line}: {}", self.path, self.sentence),
            None => write!(to, "{}: {}", self.path, self.sentence),
        }
    }
}

/// Checks all laws or the selected ones, prints a line for each, and fails when one is broken.
///
/// Prints all violations. Changes nothing except `xtask/ratchet.toml`, with `--tighten`.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(unknown) = options.laws.iter().find(|name| LAWS.iter().all(|law| law.name != **name)) {
        let known: Vec<&str> = LAWS.iter().map(|law| law.name).collect();
        bail!("there is no law `{unknown}`; the laws are {}", known.join(", "));
    }
    let start = Instant::now();
    let root = cargo::root();
    if options.tighten {
        sizes::tighten(&Workspace::load(&root)?)?;
    }
    let workspace = Workspace::load(&root)?;
    for error in &workspace.parse_errors {
        eprintln!("{error}");
    }
    let mut broken = workspace.parse_errors.len();
    let is_selected =
        |law: &&Law| options.laws.is_empty() || options.laws.iter().any(|name| name == law.name);
    for law in LAWS.iter().filter(is_selected) {
        let verdict = (law.check)(&workspace)?;
        let mark = if verdict.violations.is_empty() { "ok" } else { "BROKEN" };
        println!("tidy  {:<12} {:>6} {:<28} {mark}", law.name, verdict.seen, verdict.of);
        for violation in &verdict.violations {
            eprintln!("      {violation}");
        }
        broken += verdict.violations.len();
    }
    println!("tidy  took {} ms", start.elapsed().as_millis());
    match broken {
        0 => Ok(()),
        1 => bail!("one law of the workspace is broken; the line above says how to fix it"),
        count => {
            bail!(
                "the laws of the workspace are broken in {count} places; the lines above say how to fix them"
            )
        }
    }
}

/// The violations of a check as lines, for tests.
#[cfg(test)]
fn violations(check: fn(&Workspace) -> anyhow::Result<Verdict>, workspace: &Workspace) -> Vec<String> {
    let verdict = check(workspace).expect("the check does not fail");
    verdict.violations.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_law_is_reported_with_the_known_ones() {
        let options = Options { laws: vec!["arows".to_owned()], tighten: false };

        let error = run(&options).expect_err("there is no such law").to_string();
        assert!(error.starts_with("there is no law `arows`; the laws are arrows, phases"), "{error}");
    }

    #[test]
    fn law_names_are_unique() {
        let names: std::collections::BTreeSet<&str> = LAWS.iter().map(|law| law.name).collect();
        assert_eq!(names.len(), LAWS.len());
    }
}
