//! Dependencies point inward: testing → app → edge → core. xtask and the examples are independent of the rings.

use anyhow::Result;

use super::{Verdict, Violation};
use crate::metadata::{Dependency, DependencyKind, Package};
use crate::workspace::Workspace;

/// The rings from inside out; a crate may use its own ring and those before it.
const RINGS: [&str; 4] = ["core", "edge", "app", "testing"];

pub(super) fn check(workspace: &Workspace) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "dependencies between crates", violations: Vec::new() };
    for package in &workspace.packages {
        for dependency in &package.dependencies {
            let Some(target) = workspace.package(&dependency.name) else { continue };
            verdict.seen += 1;
            if let Some(sentence) = objection(package, dependency, target) {
                verdict.violations.push(Violation::of(&package.manifest(), sentence));
            }
        }
    }
    Ok(verdict)
}

fn objection(package: &Package, dependency: &Dependency, target: &Package) -> Option<String> {
    let (from, to) = (&package.name, &target.name);
    let Some(own) = ring_index(package) else {
        return Some(format!(
            "`{from}` in {}/ may not depend on crates of the workspace: remove `{to}`, use it as a program or over \
             HTTP",
            package.ring()
        ));
    };
    let Some(other) = ring_index(target) else {
        return Some(format!(
            "`{to}` in {}/ is outside of the rings, so no crate may depend on it: remove the dependency",
            target.ring()
        ));
    };
    // Tests of a crate belong to the outermost ring, except those of core, which are as pure as core.
    let is_test_of_an_outer_ring =
        dependency.kind == DependencyKind::Dev && own > 0 && target.ring() == "testing";
    if other <= own || is_test_of_an_outer_ring {
        return None;
    }
    Some(format!(
        "`{from}` in {}/ may not depend on `{to}` in {}/, dependencies point inward: move shared code inward, or let the \
         outer ring pass it in",
        package.ring(),
        target.ring()
    ))
}

fn ring_index(package: &Package) -> Option<usize> {
    RINGS.iter().position(|ring| *ring == package.ring())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::violations;

    #[test]
    fn a_dependency_on_an_outer_ring_is_caught() {
        let workspace = Workspace::from_packages(vec![
            Package::in_folder("core/plan", &["store"]),
            Package::in_folder("edge/store", &["plan"]),
        ]);

        let found = violations(check, &workspace);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("core/plan/Cargo.toml: `plan` in core/ may not depend on `store` in edge/")
        );
    }

    #[test]
    fn examples_and_xtask_are_exempt() {
        let workspace = Workspace::from_packages(vec![
            Package::in_folder("core/model", &[]),
            Package::in_folder("examples/shop", &["model"]),
            Package::in_folder("xtask", &["model"]),
            Package::in_folder("app/cli", &["shop"]),
        ]);

        assert_eq!(violations(check, &workspace).len(), 3);
    }

    #[test]
    fn tests_of_an_edge_may_only_use_the_conformance_suite_of_outer_rings() {
        let workspace = Workspace::from_packages(vec![
            Package::in_folder("edge/store-embedded", &[])
                .with_dev_dependency("conformance")
                .with_dev_dependency("api"),
            Package::in_folder("core/plan", &[]).with_dev_dependency("conformance"),
            Package::in_folder("testing/conformance", &[]),
            Package::in_folder("app/api", &[]),
        ]);

        assert_eq!(violations(check, &workspace).len(), 2);
    }
}
