//! Tests wait for a condition with a deadline and never for a fixed time; no test is ignored.

use anyhow::Result;

use super::{Verdict, Violation};
use crate::rust_source::RustSource;
use crate::workspace::Workspace;

/// In a comment above a sleep: it is the pause between two checks of a condition with a deadline, or slowness is
/// what is tested, such as that of a client that sends its request byte by byte.
const MARKS: [&str; 2] = ["tidy: pause between looks", "tidy: slow on purpose"];

pub(super) fn check(workspace: &Workspace) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "files with tests", violations: Vec::new() };
    for source in workspace.sources() {
        let is_testing = source.path.starts_with("testing/");
        let has_tests = is_testing || (1..=source.text.lines().count()).any(|line| source.is_test_line(line));
        if has_tests {
            verdict.seen += 1;
            verdict.violations.extend(idle_waits(source, is_testing));
        }
        verdict.violations.extend(ignored(source));
    }
    Ok(verdict)
}

fn idle_waits(source: &RustSource, is_testing: bool) -> Vec<Violation> {
    let mut found = Vec::new();
    for (at, token) in source.tokens.iter().enumerate() {
        let is_call = source.tokens.get(at + 1).is_some_and(|next| next.text == "(");
        let is_declaration = at > 0 && source.tokens[at - 1].text == "fn";
        // A method named sleep belongs to a clock of the test, simulated or paused.
        let is_method = at > 0 && source.tokens[at - 1].text == ".";
        let is_sleep =
            matches!(token.text.as_str(), "sleep" | "sleep_ms") && is_call && !is_declaration && !is_method;
        let concerns_tests = is_testing || source.is_test_line(token.line);
        if is_sleep && concerns_tests && !MARKS.iter().any(|mark| source.is_marked(token.line, mark)) {
            let [pause, slow] = MARKS;
            let sentence = format!(
                "a test that sleeps is slow on a fast machine and wrong on a slow one: wait for a condition with a \
                 deadline (or mark it in a comment above: `// {pause}` for one, or `// {slow}`)"
            );
            found.push(Violation::at(&source.path, token.line, sentence));
        }
    }
    found
}

fn ignored(source: &RustSource) -> Vec<Violation> {
    let is_ignore = |tokens: &&[crate::rust_source::Token]| {
        tokens[0].text == "#" && tokens[1].text == "[" && tokens[2].text == "ignore"
    };
    let sentence = "an ignored test proves nothing: repair it, or delete it";
    source
        .tokens
        .windows(3)
        .filter(is_ignore)
        .map(|tokens| Violation::at(&source.path, tokens[0].line, sentence))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::violations;

    #[test]
    fn sleeping_and_ignored_tests_are_caught() {
        let text = "async fn ships() { tokio::time::sleep(x).await; }\n#[cfg(test)]\nmod tests {\n    #[test]\n    #[ignore = \"slow\"]\n    \
                    fn a() { std::thread::sleep(x); }\n    fn b() {\n        // tidy: pause between looks\n        sleep(x);\n        // tidy: slow on purpose\n        sleep(z);\n        clock.sleep(y);\n    }\n}\n";
        let workspace = Workspace::from_files(&[("edge/os/src/lib.rs", text)]);

        let found = violations(check, &workspace);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("edge/os/src/lib.rs:6:"));
        assert!(found[1].starts_with("edge/os/src/lib.rs:5:"));
    }

    #[test]
    fn everything_in_testing_counts_as_test_code() {
        let workspace =
            Workspace::from_files(&[("testing/swarm/src/main.rs", "fn main() { std::thread::sleep(x); }\n")]);

        assert_eq!(violations(check, &workspace).len(), 1);
    }
}
