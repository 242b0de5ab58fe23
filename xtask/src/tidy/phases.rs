//! The phases of the loop do not know each other; only `control` knows their order.
//!
//! `fluid` may ask `plan`, and no other phase: it knows no order, and what it simulates has to be the production code
//! (docs/decisions/0022).

use anyhow::Result;

use super::{Verdict, Violation};
use crate::house::House;

const PHASES: [&str; 5] = ["monitor", "analyze", "plan", "guard", "execute"];

/// The crate that shows what a phase would have decided, and that phase.
const SIMULATED: (&str, &str) = ("fluid", "plan");

pub(super) fn check(house: &House) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "crates that may know a phase", violations: Vec::new() };
    for package in &house.packages {
        verdict.seen += 1;
        if package.name == "control" || package.ring() == "testing" {
            continue;
        }
        let is_forbidden = |need: &str| PHASES.contains(&need) && (package.name.as_str(), need) != SIMULATED;
        for need in package.needs.iter().filter(|need| is_forbidden(&need.name)) {
            verdict.violations.push(Violation::of(
                &package.manifest(),
                format!(
                    "`{}` may not depend on the phase `{}`, only `control` knows the phases: put what both need into \
                     `model` or `knowledge`, or go through `control`",
                    package.name, need.name
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
    use crate::tidy::findings;

    #[test]
    fn a_phase_that_uses_another_is_caught_even_in_tests() {
        let house = House::planted_crates(vec![
            Package::planted("core/control", &["plan", "guard"]),
            Package::planted("core/plan", &["model"]).with_dev_need("guard"),
            Package::planted("core/guard", &["plan"]),
            Package::planted("app/orchestrator", &["execute"]),
            Package::planted("testing/bench", &["plan"]),
            Package::planted("core/fluid", &["plan", "guard"]),
        ]);

        let found = findings(check, &house);
        assert_eq!(found.len(), 4, "{found:?}");
    }
}
