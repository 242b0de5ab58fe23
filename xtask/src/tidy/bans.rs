//! Every ban in a clippy.toml has a reason, and core/ has a clippy.toml of its own.
//!
//! clippy reads only the nearest file above the manifest of a crate, so without core/clippy.toml the weaker list of
//! the root would silently apply to core/.

use anyhow::{Context, Result};

use super::{Verdict, Violation};
use crate::workspace::Workspace;

const LISTS: [&str; 3] = ["disallowed-methods", "disallowed-types", "disallowed-macros"];

pub(super) fn check(workspace: &Workspace) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "bans in clippy.toml files", violations: Vec::new() };
    for needed in ["clippy.toml", "core/clippy.toml"] {
        if !workspace.texts.contains_key(needed) {
            verdict
                .violations
                .push(Violation::of(needed, "is missing: clippy would silently apply weaker bans"));
        }
    }
    let is_clippy = |path: &str| path == "clippy.toml" || path.ends_with("/clippy.toml");
    for (path, text) in workspace.texts.iter().filter(|(path, _)| is_clippy(path)) {
        let config: toml::Table = text.parse().with_context(|| format!("{path} is not valid TOML"))?;
        for ban in
            LISTS.iter().filter_map(|list| config.get(*list)).filter_map(toml::Value::as_array).flatten()
        {
            verdict.seen += 1;
            let reason = ban.get("reason").and_then(toml::Value::as_str).unwrap_or_default();
            if reason.trim().is_empty() {
                let banned = ban.get("path").unwrap_or(ban);
                let sentence =
                    format!("bans {banned} without a reason: write {{ path = …, reason = \"…\" }}");
                verdict.violations.push(Violation::of(path, sentence));
            }
        }
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::violations;

    #[test]
    fn a_ban_without_a_reason_is_caught() {
        let workspace = Workspace::from_files(&[
            ("clippy.toml", "disallowed-methods = [\"a::b\", { path = \"c::d\", reason = \"why\" }]\n"),
            ("core/clippy.toml", "disallowed-types = [{ path = \"c::d\" }]\n"),
        ]);

        assert_eq!(violations(check, &workspace).len(), 2);
    }

    #[test]
    fn core_without_its_own_list_is_caught() {
        let found = violations(check, &Workspace::from_files(&[("clippy.toml", "")]));

        assert_eq!(found, ["core/clippy.toml: is missing: clippy would silently apply weaker bans"]);
    }
}
