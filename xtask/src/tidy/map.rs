//! The code map of ARCHITECTURE.md names every crate.

use anyhow::Result;

use super::{Verdict, Violation};
use crate::workspace::Workspace;

const MAP: &str = "ARCHITECTURE.md";

pub(super) fn check(workspace: &Workspace) -> Result<Verdict> {
    let mut verdict =
        Verdict { seen: workspace.packages.len(), of: "crates in the code map", violations: Vec::new() };
    let Some(map) = workspace.texts.get(MAP) else {
        verdict.violations.push(Violation::of(MAP, "is missing: write it, with a line for every crate"));
        return Ok(verdict);
    };
    for package in &workspace.packages {
        let is_named =
            [&package.name, &package.folder].into_iter().any(|name| map.contains(&format!("`{name}`")));
        if !is_named {
            let sentence = format!(
                "does not name the crate `{}` ({}): add it to the code map",
                package.name, package.folder
            );
            verdict.violations.push(Violation::of(MAP, sentence));
        }
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::violations;

    #[test]
    fn a_crate_missing_from_the_map_is_caught() {
        let workspace = Workspace::from_files(&[
            ("core/plan/src/lib.rs", ""),
            ("edge/os/src/lib.rs", ""),
            ("edge/store/src/lib.rs", ""),
            ("ARCHITECTURE.md", "`plan` and `edge/os`, but store without ticks\n"),
        ]);

        assert_eq!(violations(check, &workspace).len(), 1);
    }

    #[test]
    fn a_workspace_without_a_map_is_caught() {
        assert_eq!(violations(check, &Workspace::from_files(&[])).len(), 1);
    }
}
