//! Tests call only programs that `cargo xtask test` installs; others may be missing on a new machine.

use anyhow::Result;

use super::{Verdict, Violation};
use crate::needs::is_provided;
use crate::rust_source::Token;
use crate::workspace::Workspace;

pub(super) fn check(workspace: &Workspace) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "programs that tests call", violations: Vec::new() };
    for source in workspace.sources() {
        let is_testing = source.path.starts_with("testing/");
        for tokens in source.tokens.windows(6) {
            let Some((program, line)) = program_called(tokens) else { continue };
            if !is_testing && !source.is_test_line(line) {
                continue;
            }
            verdict.seen += 1;
            if !is_provided(program) {
                let sentence = format!(
                    "calls `{program}`, which a new machine may lack: add it to xtask/src/needs.rs, or do without"
                );
                verdict.violations.push(Violation::at(&source.path, line, sentence));
            }
        }
    }
    Ok(verdict)
}

/// The program of `Command::new("program")`, if it is a bare name.
fn program_called(tokens: &[Token]) -> Option<(&str, usize)> {
    let [command, colon, second, new, open, program] = tokens else { return None };
    let is_call = command.text == "Command"
        && colon.text == ":"
        && second.text == ":"
        && new.text == "new"
        && open.text == "(";
    let name = program.text.strip_prefix('"')?.strip_suffix('"')?;
    (is_call && !name.contains('/')).then_some((name, program.line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::violations;

    #[test]
    fn an_unlisted_program_is_caught_in_tests_only() {
        let text = "fn ships() { Command::new(\"docker\"); }\n#[cfg(test)]\nmod tests {\n    fn a() {\n        Command::new(\"sh\");\n        \
                    Command::new(\"no-such-program\");\n        Command::new(env!(\"X\"));\n    }\n}\n";
        let workspace = Workspace::from_files(&[("edge/os/src/lib.rs", text)]);

        let found = violations(check, &workspace);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("edge/os/src/lib.rs:6: calls `no-such-program`"));
    }
}
