//! Arrows point inward: testing → app → edge → core, never back. xtask and the examples stand outside.

use anyhow::Result;

use super::{Verdict, Violation};
use crate::house::House;
use crate::metadata::{Need, NeedKind, Package};

/// The rings from the inside out; a crate may use its own ring and those before it.
const RINGS: [&str; 4] = ["core", "edge", "app", "testing"];

pub(super) fn check(house: &House) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "arrows between our crates", violations: Vec::new() };
    for package in &house.packages {
        for need in &package.needs {
            let Some(target) = house.package(&need.name) else { continue };
            verdict.seen += 1;
            if let Some(sentence) = objection(package, need, target) {
                verdict.violations.push(Violation::of(&package.manifest(), sentence));
            }
        }
    }
    Ok(verdict)
}

fn objection(package: &Package, need: &Need, target: &Package) -> Option<String> {
    let (from, to) = (&package.name, &target.name);
    let Some(own) = ring_index(package) else {
        return Some(format!(
            "`{from}` in {}/ stands outside the house and may depend on nothing of ours: drop `{to}`, call it as a \
             program or over HTTP",
            package.ring()
        ));
    };
    let Some(other) = ring_index(target) else {
        return Some(format!(
            "`{to}` in {}/ stands outside the house: nothing depends on it, drop it",
            target.ring()
        ));
    };
    // A crate's own tests stand in the outermost ring, but those of core are as pure as core is.
    let is_test_of_an_outer_ring = need.kind == NeedKind::Dev && own > 0 && target.ring() == "testing";
    if other <= own || is_test_of_an_outer_ring {
        return None;
    }
    Some(format!(
        "`{from}` in {}/ may not depend on `{to}` in {}/, arrows point inward: move what is shared inward, or let the \
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
    use crate::tidy::findings;

    #[test]
    fn a_dependency_on_an_outer_ring_is_caught() {
        let house = House::planted_crates(vec![
            Package::planted("core/plan", &["store"]),
            Package::planted("edge/store", &["plan"]),
        ]);

        let found = findings(check, &house);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("core/plan/Cargo.toml: `plan` in core/ may not depend on `store` in edge/")
        );
    }

    #[test]
    fn examples_and_xtask_are_exempt() {
        let house = House::planted_crates(vec![
            Package::planted("core/model", &[]),
            Package::planted("examples/shop", &["model"]),
            Package::planted("xtask", &["model"]),
            Package::planted("app/cli", &["shop"]),
        ]);

        assert_eq!(findings(check, &house).len(), 3);
    }

    #[test]
    fn tests_of_an_edge_may_only_use_the_conformance_suite_of_outer_rings() {
        let house = House::planted_crates(vec![
            Package::planted("edge/store-embedded", &[]).with_dev_need("conformance").with_dev_need("api"),
            Package::planted("core/plan", &[]).with_dev_need("conformance"),
            Package::planted("testing/conformance", &[]),
            Package::planted("app/api", &[]),
        ]);

        assert_eq!(findings(check, &house).len(), 2);
    }
}
