//! There are no dead files: every Rust file of a crate is compiled.

use anyhow::Result;

use super::{Verdict, Violation};
use crate::workspace::Workspace;

pub(super) fn check(workspace: &Workspace) -> Result<Verdict> {
    let sentence = "is not compiled, because no `mod` line reaches it: add one, or delete the file";
    let violations = workspace.unreachable.iter().map(|path| Violation::of(path, sentence)).collect();
    Ok(Verdict { seen: workspace.sources().count(), of: "Rust files", violations })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::violations;

    #[test]
    fn a_file_outside_of_any_module_is_caught() {
        let workspace = Workspace::from_files(&[("core/plan/src/lib.rs", ""), ("core/plan/src/old.rs", "")]);

        assert_eq!(violations(check, &workspace).len(), 1);
    }
}
