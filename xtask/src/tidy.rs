//! `cargo xtask tidy`: the laws of the workspace, each checked by a small module of its own.
//!
//! A law that nobody checks is decoration. Each check says how many things it looked at, so that a check that looks at nothing
//! is noticed, and each finding says what to do about it.

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
use crate::house::House;

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Check only these laws, by name.
    #[arg(value_name = "LAW")]
    laws: Vec<String>,
    /// Lower the numbers in xtask/ratchet.toml to what the code has become; never raises one.
    #[arg(long)]
    tighten: bool,
}

/// One rule of the workspace and how it is checked.
struct Law {
    name: &'static str,
    check: fn(&House) -> anyhow::Result<Verdict>,
}

/// Every law, from the walls inward to the words.
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

/// What a check looked at, and what it found.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    seen: usize,
    /// What was counted, in the plural.
    of: &'static str,
    violations: Vec<Violation>,
}

/// One place where a law is broken.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    path: String,
    /// From 1; `None` when it is about the file as a whole.
    line: Option<usize>,
    /// What is wrong and what to do, as a sentence.
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

/// Checks every law, or those named, prints a line for each, and fails when one is broken.
///
/// All findings of a run are printed, not only the first. Changes nothing, except `xtask/ratchet.toml` when
/// asked to tighten it.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(unknown) = options.laws.iter().find(|name| LAWS.iter().all(|law| law.name != **name)) {
        let known: Vec<&str> = LAWS.iter().map(|law| law.name).collect();
        bail!("there is no law `{unknown}`; the laws are {}", known.join(", "));
    }
    let start = Instant::now();
    let root = cargo::root();
    if options.tighten {
        sizes::tighten(&House::load(&root)?)?;
    }
    let house = House::load(&root)?;
    for sentence in &house.unreadable {
        eprintln!("{sentence}");
    }
    let mut broken = house.unreadable.len();
    let is_asked = |law: &&Law| options.laws.is_empty() || options.laws.iter().any(|name| name == law.name);
    for law in LAWS.iter().filter(is_asked) {
        let verdict = (law.check)(&house)?;
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
        1 => bail!("one law of the workspace is broken; the line above says what to do"),
        count => {
            bail!("the laws of the workspace are broken in {count} places; the lines above say what to do")
        }
    }
}

/// The findings of a check as lines, for tests.
#[cfg(test)]
fn findings(check: fn(&House) -> anyhow::Result<Verdict>, house: &House) -> Vec<String> {
    let verdict = check(house).expect("the check itself works");
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
