//! Every crate keeps the workspace's lints: a manifest that forgets the line opts out in silence.

use anyhow::{Context, Result};

use super::{Verdict, Violation};
use crate::house::House;

pub(super) fn check(house: &House) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "manifests", violations: Vec::new() };
    for package in &house.packages {
        let path = package.manifest();
        let Some(text) = house.texts.get(&path) else { continue };
        verdict.seen += 1;
        let manifest: toml::Table = text.parse().with_context(|| format!("{path} is no TOML"))?;
        let inherits =
            manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
        if inherits != Some(true) {
            verdict
                .violations
                .push(Violation::of(&path, "has lints of its own: add `[lints]` with `workspace = true`"));
        }
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings;

    #[test]
    fn a_manifest_without_the_lints_of_the_workspace_is_caught() {
        let house = House::planted(&[
            ("core/a/src/lib.rs", ""),
            ("core/a/Cargo.toml", "[lints]\nworkspace = true\n"),
            ("core/b/src/lib.rs", ""),
            ("core/b/Cargo.toml", "[package]\nname = \"b\"\n"),
        ]);

        assert_eq!(findings(check, &house).len(), 1);
    }
}
