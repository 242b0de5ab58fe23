//! Only `app/homeostat` depends on drivers; all other crates depend on the contract.

use anyhow::Result;

use super::{Verdict, Violation};
use crate::metadata::DependencyKind;
use crate::workspace::Workspace;

/// Prefixes of the names of driver crates in edge/; the contract has the bare name.
const DRIVER_PREFIXES: [&str; 2] = ["platform-", "store-"];

pub(super) fn check(workspace: &Workspace) -> Result<Verdict> {
    let drivers: Vec<&str> = workspace
        .packages
        .iter()
        .filter(|package| package.ring() == "edge")
        .map(|package| package.name.as_str())
        .filter(|name| DRIVER_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        .collect();
    let mut violations = Vec::new();
    for package in &workspace.packages {
        if package.folder == "app/homeostat" || package.ring() == "testing" {
            continue;
        }
        let ships = package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Dev);
        for dependency in ships.filter(|dependency| drivers.contains(&dependency.name.as_str())) {
            violations.push(Violation::of(
                &package.manifest(),
                format!(
                    "`{}` depends on the driver `{}`, which only app/homeostat may: depend on its contract and let main pass \
                     the driver in (tests may use it under [dev-dependencies])",
                    package.name, dependency.name
                ),
            ));
        }
    }
    Ok(Verdict { seen: drivers.len(), of: "drivers", violations })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Package;
    use crate::tidy::violations;

    #[test]
    fn a_driver_named_outside_main_is_caught() {
        let workspace = Workspace::from_packages(vec![
            Package::in_folder("edge/store", &[]),
            Package::in_folder("edge/store-embedded", &["store"]),
            Package::in_folder("app/orchestrator", &["store", "store-embedded"]),
            Package::in_folder("app/agent", &["store"]).with_dev_dependency("store-embedded"),
            Package::in_folder("app/homeostat", &["store-embedded"]),
            Package::in_folder("testing/swarm", &["store-embedded"]),
        ]);

        let found = violations(check, &workspace);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("app/orchestrator/Cargo.toml"));
    }
}
