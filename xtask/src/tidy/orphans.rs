//! No dead files: every Rust file of a crate is reached from something that cargo compiles.

use anyhow::Result;

use super::{Verdict, Violation};
use crate::house::House;

pub(super) fn check(house: &House) -> Result<Verdict> {
    let sentence = "no `mod` line leads here, so nothing compiles it: add one, or delete the file";
    let violations = house.unreached.iter().map(|path| Violation::of(path, sentence)).collect();
    Ok(Verdict { seen: house.sources().count(), of: "Rust files", violations })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings;

    #[test]
    fn a_file_outside_of_any_module_is_caught() {
        let house = House::planted(&[("core/plan/src/lib.rs", ""), ("core/plan/src/old.rs", "")]);

        assert_eq!(findings(check, &house).len(), 1);
    }
}
