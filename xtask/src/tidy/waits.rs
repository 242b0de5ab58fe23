//! Tests wait for a state, with a deadline, and never for a while; none is ignored.

use anyhow::Result;

use super::{Verdict, Violation};
use crate::house::House;
use crate::rust_source::RustSource;

/// What a comment above a sleep may say: that it is the pause between two looks at a condition with a deadline, or
/// that slowness is what is tested, as of a client that drips its request.
const MARKS: [&str; 2] = ["tidy: pause between looks", "tidy: slow on purpose"];

pub(super) fn check(house: &House) -> Result<Verdict> {
    let mut verdict = Verdict { seen: 0, of: "files with tests", violations: Vec::new() };
    for source in house.sources() {
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
    for (at, word) in source.words.iter().enumerate() {
        let is_call = source.words.get(at + 1).is_some_and(|next| next.text == "(");
        let is_declaration = at > 0 && source.words[at - 1].text == "fn";
        // A method named sleep belongs to a clock that the test holds, simulated or paused.
        let is_method = at > 0 && source.words[at - 1].text == ".";
        let is_sleep =
            matches!(word.text.as_str(), "sleep" | "sleep_ms") && is_call && !is_declaration && !is_method;
        let concerns_tests = is_testing || source.is_test_line(word.line);
        if is_sleep && concerns_tests && !MARKS.iter().any(|mark| source.is_marked(word.line, mark)) {
            let [pause, slow] = MARKS;
            let sentence = format!(
                "a test that sleeps is slow on a fast machine and wrong on a slow one: wait for a condition with a \
                 deadline (or say above what it is: `// {pause}` at one, or `// {slow}`)"
            );
            found.push(Violation::at(&source.path, word.line, sentence));
        }
    }
    found
}

fn ignored(source: &RustSource) -> Vec<Violation> {
    let is_ignore = |words: &&[crate::rust_source::Word]| {
        words[0].text == "#" && words[1].text == "[" && words[2].text == "ignore"
    };
    let sentence = "a test that is ignored proves nothing: repair it, or delete it";
    source
        .words
        .windows(3)
        .filter(is_ignore)
        .map(|words| Violation::at(&source.path, words[0].line, sentence))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings;

    #[test]
    fn sleeping_and_ignored_tests_are_caught() {
        let text = "async fn ships() { tokio::time::sleep(x).await; }\n#[cfg(test)]\nmod tests {\n    #[test]\n    #[ignore = \"slow\"]\n    \
                    fn a() { std::thread::sleep(x); }\n    fn b() {\n        // tidy: pause between looks\n        sleep(x);\n        // tidy: slow on purpose\n        sleep(z);\n        clock.sleep(y);\n    }\n}\n";
        let house = House::planted(&[("edge/os/src/lib.rs", text)]);

        let found = findings(check, &house);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("edge/os/src/lib.rs:6:"));
        assert!(found[1].starts_with("edge/os/src/lib.rs:5:"));
    }

    #[test]
    fn everything_in_testing_counts_as_test_code() {
        let house =
            House::planted(&[("testing/swarm/src/main.rs", "fn main() { std::thread::sleep(x); }\n")]);

        assert_eq!(findings(check, &house).len(), 1);
    }
}
