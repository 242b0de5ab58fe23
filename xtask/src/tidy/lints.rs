//! Every crate uses the lints of the workspace; a manifest without that line would silently opt out.

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::{Verdict, Violation};
use crate::workspace::Workspace;

const ROOT: &str = "Cargo.toml";

pub(super) fn check(workspace: &Workspace) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "manifests", violations: Vec::new() };
    let shared = lints_but_unsafe(manifest(workspace, ROOT)?.get("workspace"));
    for package in &workspace.packages {
        let path = package.manifest();
        if !workspace.texts.contains_key(&path) {
            continue;
        }
        verdict.seen += 1;
        let manifest = manifest(workspace, &path)?;
        let own = manifest.get("lints");
        let inherits = own.and_then(|lints| lints.get("workspace")).and_then(Value::as_bool) == Some(true);
        if inherits || lints_but_unsafe(Some(&Value::Table(manifest.clone()))) == shared {
            continue;
        }
        let sentence = "has other lints than the workspace: write `[lints]` with `workspace = true` (a crate that needs \
                        unsafe code repeats the table, with `unsafe_code = \"deny\"`)";
        verdict.violations.push(Violation::of(&path, sentence));
    }
    Ok(verdict)
}

fn manifest(workspace: &Workspace, path: &str) -> Result<Table> {
    workspace
        .texts
        .get(path)
        .map_or("", String::as_str)
        .parse()
        .with_context(|| format!("{path} is not valid TOML"))
}

/// The table of lints in `holder`, without `unsafe_code` when it is denied or forbidden.
///
/// A forbidden lint cannot be expected anywhere, and a crate inherits the table of the workspace as a whole or not at all. So a
/// crate with unsafe code has a copy of the table, which this law compares with the original.
fn lints_but_unsafe(holder: Option<&Value>) -> Option<Value> {
    let mut lints = holder?.get("lints")?.clone();
    let rust = lints.get_mut("rust")?.as_table_mut()?;
    if matches!(rust.get("unsafe_code").and_then(Value::as_str), Some("deny" | "forbid")) {
        rust.remove("unsafe_code");
    }
    Some(lints)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::violations;

    #[test]
    fn a_manifest_without_the_lints_of_the_workspace_is_caught() {
        let workspace = Workspace::from_files(&[
            ("Cargo.toml", "[workspace.lints.rust]\nunsafe_code = \"forbid\"\nother = \"warn\"\n"),
            ("core/a/src/lib.rs", ""),
            ("core/a/Cargo.toml", "[lints]\nworkspace = true\n"),
            ("core/b/src/lib.rs", ""),
            ("core/b/Cargo.toml", "[package]\nname = \"b\"\n"),
            ("edge/c/src/lib.rs", ""),
            ("edge/c/Cargo.toml", "[lints.rust]\nunsafe_code = \"deny\"\nother = \"warn\"\n"),
            ("edge/d/src/lib.rs", ""),
            ("edge/d/Cargo.toml", "[lints.rust]\nunsafe_code = \"allow\"\nother = \"warn\"\n"),
            ("edge/e/src/lib.rs", ""),
            ("edge/e/Cargo.toml", "[lints.rust]\nunsafe_code = \"deny\"\n"),
        ]);

        assert_eq!(violations(check, &workspace).len(), 3);
    }
}
