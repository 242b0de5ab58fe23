//! A concrete driver is named once, in `app/homeostat`; everybody else knows the contract only.

use anyhow::Result;

use super::{Verdict, Violation};
use crate::house::House;
use crate::metadata::NeedKind;

/// A crate of edge/ whose name begins like this is a driver; the contract has the bare name.
const DRIVER_PREFIXES: [&str; 2] = ["platform-", "store-"];

pub(super) fn check(house: &House) -> Result<Verdict> {
    let drivers: Vec<&str> = house
        .packages
        .iter()
        .filter(|package| package.ring() == "edge")
        .map(|package| package.name.as_str())
        .filter(|name| DRIVER_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        .collect();
    let mut violations = Vec::new();
    for package in &house.packages {
        if package.folder == "app/homeostat" || package.ring() == "testing" {
            continue;
        }
        let ships = package.needs.iter().filter(|need| need.kind != NeedKind::Dev);
        for need in ships.filter(|need| drivers.contains(&need.name.as_str())) {
            violations.push(Violation::of(
                &package.manifest(),
                format!(
                    "`{}` names the driver `{}`, which only app/homeostat may: depend on its contract and let main pass \
                     the driver in (tests may name it under [dev-dependencies])",
                    package.name, need.name
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
    use crate::tidy::findings;

    #[test]
    fn a_driver_named_outside_main_is_caught() {
        let house = House::planted_crates(vec![
            Package::planted("edge/store", &[]),
            Package::planted("edge/store-embedded", &["store"]),
            Package::planted("app/orchestrator", &["store", "store-embedded"]),
            Package::planted("app/agent", &["store"]).with_dev_need("store-embedded"),
            Package::planted("app/homeostat", &["store-embedded"]),
            Package::planted("testing/swarm", &["store-embedded"]),
        ]);

        let found = findings(check, &house);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("app/orchestrator/Cargo.toml"));
    }
}
