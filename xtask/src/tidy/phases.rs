//! The phases of the loop are independent of each other; only `control` knows their order.
//!
//! `fluid` may depend on `plan`, since it has to simulate the production code (docs/decisions/0022), and on no other phase.

use anyhow::Result;

use super::{Verdict, Violation};
use crate::workspace::Workspace;

const PHASES: [&str; 5] = ["monitor", "analyze", "plan", "guard", "execute"];

/// The crate that simulates decisions, and the phase that makes them.
const SIMULATED: (&str, &str) = ("fluid", "plan");

pub(super) fn check(workspace: &Workspace) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "crates", violations: Vec::new() };
    for package in &workspace.packages {
        verdict.seen += 1;
        if package.name == "control" || package.ring() == "testing" {
            continue;
        }
        let is_forbidden = |name: &str| PHASES.contains(&name) && (package.name.as_str(), name) != SIMULATED;
        for dependency in package.dependencies.iter().filter(|dependency| is_forbidden(&dependency.name)) {
            verdict.violations.push(Violation::of(
                &package.manifest(),
                format!(
                    "`{}` may not depend on the phase `{}`, only `control` may depend on phases: move what both need to \
                     `model` or `knowledge`, or use `control`",
                    package.name, dependency.name
                ),
            ));
        }
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Package;
    use crate::tidy::violations;

    #[test]
    fn a_phase_that_uses_another_is_caught_even_in_tests() {
        let workspace = Workspace::from_packages(vec![
            Package::in_folder("core/control", &["plan", "guard"]),
            Package::in_folder("core/plan", &["model"]).with_dev_dependency("guard"),
            Package::in_folder("core/guard", &["plan"]),
            Package::in_folder("app/orchestrator", &["execute"]),
            Package::in_folder("testing/bench", &["plan"]),
            Package::in_folder("core/fluid", &["plan", "guard"]),
        ]);

        let found = violations(check, &workspace);
        assert_eq!(found.len(), 4, "{found:?}");
    }
}
