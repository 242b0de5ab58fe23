//! Every ban in a clippy.toml says why, and core/ has a clippy.toml of its own.
//!
//! clippy reads the nearest file above a crate's manifest and no other, so without core/clippy.toml core/
//! would fall back to the weaker list of the root in silence.

use anyhow::{Context, Result};

use super::{Verdict, Violation};
use crate::house::House;

const LISTS: [&str; 3] = ["disallowed-methods", "disallowed-types", "disallowed-macros"];

pub(super) fn check(house: &House) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "bans in clippy.toml files", violations: Vec::new() };
    for needed in ["clippy.toml", "core/clippy.toml"] {
        if !house.texts.contains_key(needed) {
            verdict
                .violations
                .push(Violation::of(needed, "is missing: clippy would hold weaker laws in silence"));
        }
    }
    let is_clippy = |path: &str| path == "clippy.toml" || path.ends_with("/clippy.toml");
    for (path, text) in house.texts.iter().filter(|(path, _)| is_clippy(path)) {
        let config: toml::Table = text.parse().with_context(|| format!("{path} is no TOML"))?;
        for ban in
            LISTS.iter().filter_map(|list| config.get(*list)).filter_map(toml::Value::as_array).flatten()
        {
            verdict.seen += 1;
            let reason = ban.get("reason").and_then(toml::Value::as_str).unwrap_or_default();
            if reason.trim().is_empty() {
                let banned = ban.get("path").unwrap_or(ban);
                let sentence =
                    format!("bans {banned} and does not say why: write {{ path = …, reason = \"…\" }}");
                verdict.violations.push(Violation::of(path, sentence));
            }
        }
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings;

    #[test]
    fn a_ban_without_a_reason_is_caught() {
        let house = House::planted(&[
            ("clippy.toml", "disallowed-methods = [\"a::b\", { path = \"c::d\", reason = \"why\" }]\n"),
            ("core/clippy.toml", "disallowed-types = [{ path = \"c::d\" }]\n"),
        ]);

        assert_eq!(findings(check, &house).len(), 2);
    }

    #[test]
    fn core_without_its_own_list_is_caught() {
        let found = findings(check, &House::planted(&[("clippy.toml", "")]));

        assert_eq!(found, ["core/clippy.toml: is missing: clippy would hold weaker laws in silence"]);
    }
}
