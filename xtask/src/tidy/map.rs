//! ARCHITECTURE.md names every crate: a map that misses a room is not believed about the others.

use anyhow::Result;

use super::{Verdict, Violation};
use crate::house::House;

const MAP: &str = "ARCHITECTURE.md";

pub(super) fn check(house: &House) -> Result<Verdict> {
    let mut verdict = Verdict { seen: house.packages.len(), of: "crates on the map", violations: Vec::new() };
    let Some(map) = house.texts.get(MAP) else {
        verdict
            .violations
            .push(Violation::of(MAP, "is missing: write it, with every crate and what it never does"));
        return Ok(verdict);
    };
    for package in &house.packages {
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
    use crate::tidy::findings;

    #[test]
    fn a_crate_missing_from_the_map_is_caught() {
        let house = House::planted(&[
            ("core/plan/src/lib.rs", ""),
            ("edge/os/src/lib.rs", ""),
            ("edge/store/src/lib.rs", ""),
            ("ARCHITECTURE.md", "`plan` and `edge/os`, but store without ticks\n"),
        ]);

        assert_eq!(findings(check, &house).len(), 1);
    }

    #[test]
    fn a_workspace_without_a_map_is_caught() {
        assert_eq!(findings(check, &House::planted(&[])).len(), 1);
    }
}
