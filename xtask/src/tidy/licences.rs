//! The licence and the source of every external crate is on the lists of deny.toml.
//!
//! cargo-deny checks the same lists. This check needs only `cargo metadata`, because compiling cargo-deny takes longer than all
//! tests. `cargo xtask test` also runs cargo-deny if it is installed.

use anyhow::{Context, Result};
use serde::Deserialize;
use spdx::expression::Expression;
use spdx::{Licensee, ParseMode};

use super::{Verdict, Violation};
use crate::metadata::External;
use crate::workspace::Workspace;

const LIST: &str = "deny.toml";

/// The parts of deny.toml that are checked here; cargo-deny reads the rest.
#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
    sources: Sources,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
    /// Crates that may still use it. Checking them needs the dependency graph, so it is left to cargo-deny.
    #[serde(default)]
    wrappers: Vec<String>,
}

pub(super) fn check(workspace: &Workspace) -> Result<Verdict> {
    let text = workspace
        .texts
        .get(LIST)
        .with_context(|| format!("{LIST} is missing: write it, with the allowed licences and sources"))?;
    let deny: Deny = toml::from_str(text).with_context(|| format!("could not read {LIST}"))?;
    let allowed = deny
        .licenses
        .allow
        .iter()
        .map(|name| Licensee::parse(name).map_err(|error| anyhow::anyhow!("{LIST} allows `{name}`: {error}")))
        .collect::<Result<Vec<_>>>()?;
    let mut violations = Vec::new();
    for external in &workspace.externals {
        violations
            .extend(licence_objection(external, &allowed).map(|sentence| Violation::of(LIST, sentence)));
        let is_known = deny.sources.allow_registry.iter().any(|url| external.source.ends_with(url.as_str()));
        if !is_known {
            let External { name, version, source, .. } = external;
            let sentence =
                format!("{name} {version} comes from {source}: take it from a registry that {LIST} lists");
            violations.push(Violation::of("Cargo.lock", sentence));
        }
        let mut bans = deny.bans.deny.iter().filter(|ban| ban.wrappers.is_empty());
        if let Some(ban) = bans.find(|ban| ban.name == external.name) {
            let sentence = format!(
                "{} is banned ({}): `cargo tree -i {0}` shows what depends on it",
                ban.name, ban.reason
            );
            violations.push(Violation::of("Cargo.lock", sentence));
        }
    }
    Ok(Verdict { seen: workspace.externals.len(), of: "external crates", violations })
}

fn licence_objection(external: &External, allowed: &[Licensee]) -> Option<String> {
    let External { name, version, license, .. } = external;
    let Some(license) = license else {
        return Some(format!("{name} {version} has no licence: find another crate, or ask its authors"));
    };
    // Lax, because old crates write `MIT/Apache-2.0`.
    let Ok(expression) = Expression::parse_mode(license, ParseMode::LAX) else {
        return Some(format!("{name} {version} is under `{license}`, which is not a licence expression"));
    };
    let is_permitted =
        expression.evaluate(|wanted| allowed.iter().any(|licensee| licensee.satisfies(wanted)));
    (!is_permitted).then(|| {
        format!(
            "{name} {version} is under `{license}`, which is not on the list: find another crate, or list it"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::violations;

    const DENY: &str = "[licenses]\nallow = [\"MIT\", \"Apache-2.0 WITH LLVM-exception\"]\n\
                        [sources]\nallow-registry = [\"https://one.example/index\"]\n\
                        [bans]\ndeny = [{ crate = \"old\", reason = \"it is old\" }]\n";

    fn external(name: &str, license: &str) -> External {
        let source = "registry+https://one.example/index".to_owned();
        External {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: Some(license.to_owned()),
            source,
        }
    }

    #[test]
    fn a_licence_that_is_not_allowed_is_caught() {
        let mut workspace = Workspace::from_files(&[("deny.toml", DENY)]);
        workspace.externals = vec![
            external("a", "MIT/Apache-2.0"),
            external("b", "GPL-3.0-only OR MIT"),
            external("c", "Apache-2.0 WITH LLVM-exception"),
            external("d", "GPL-3.0-only"),
            external("e", "MIT AND Apache-2.0"),
            External { license: None, ..external("f", "") },
        ];

        let found = violations(check, &workspace);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("deny.toml: d 1.0.0 is under `GPL-3.0-only`"));
    }

    #[test]
    fn a_crate_from_another_source_and_a_banned_one_are_caught() {
        let mut workspace = Workspace::from_files(&[("deny.toml", DENY)]);
        let elsewhere = External { source: "git+https://two.example/x".to_owned(), ..external("a", "MIT") };
        workspace.externals = vec![elsewhere, external("old", "MIT")];

        assert_eq!(violations(check, &workspace).len(), 2);
    }
}
