//! A test calls only programs that `cargo xtask test` provides: else it fails on the next fresh machine.

use anyhow::Result;

use super::{Verdict, Violation};
use crate::house::House;
use crate::needs::is_provided;
use crate::rust_source::Word;

pub(super) fn check(house: &House) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "programs that tests call", violations: Vec::new() };
    for source in house.sources() {
        let is_testing = source.path.starts_with("testing/");
        for words in source.words.windows(6) {
            let Some((program, line)) = program_called(words) else { continue };
            if !is_testing && !source.is_test_line(line) {
                continue;
            }
            verdict.seen += 1;
            if !is_provided(program) {
                let sentence = format!(
                    "calls `{program}`, which a fresh machine may lack: add it to xtask/src/needs.rs, or do without"
                );
                verdict.violations.push(Violation::at(&source.path, line, sentence));
            }
        }
    }
    Ok(verdict)
}

/// The program of `Command::new("program")`, when it is a bare name.
fn program_called(words: &[Word]) -> Option<(&str, usize)> {
    let [command, colon, second, new, open, program] = words else { return None };
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
    use crate::tidy::findings;

    #[test]
    fn an_unlisted_program_is_caught_in_tests_only() {
        let text = "fn ships() { Command::new(\"docker\"); }\n#[cfg(test)]\nmod tests {\n    fn a() {\n        Command::new(\"sh\");\n        \
                    Command::new(\"no-such-program\");\n        Command::new(env!(\"X\"));\n    }\n}\n";
        let house = House::planted(&[("edge/os/src/lib.rs", text)]);

        let found = findings(check, &house);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("edge/os/src/lib.rs:6: calls `no-such-program`"));
    }
}
