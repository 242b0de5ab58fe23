//! The known name that a misspelt one was meant to be.

/// Longest name that is compared, in bytes: no known name is half as long, and the comparison takes their product in time.
const NAME_BYTES_MAX: usize = 64;

/// The one of `known` that `written` most likely means; none when nothing is near.
///
/// Near is the same but for case, `_` and `-`, or within a third of its length in edits (insert, delete, change, swap).
pub fn nearest<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if written.len() > NAME_BYTES_MAX {
        return None;
    }
    let folded = fold(written);
    let edits_max = (folded.chars().count() / 3).clamp(1, 3);
    let by_edits = known.into_iter().map(|name| (strsim::osa_distance(&folded, &fold(name)), name));
    by_edits.filter(|(edits, _)| *edits <= edits_max).min_by_key(|(edits, _)| *edits).map(|(_, name)| name)
}

fn fold(name: &str) -> String {
    name.chars().filter(|c| *c != '_' && *c != '-').flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_name() {
        let known = ["readiness", "liveness", "startup", "every", "timeout"];
        for (written, meant) in [
            ("evry", Some("every")),
            ("readyness", Some("readiness")),
            ("time_out", Some("timeout")),
            ("Startup", Some("startup")),
            ("livenses", Some("liveness")),
            ("image", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, known), meant, "{written}");
        }
    }

    #[test]
    fn an_endless_name_is_near_nothing() {
        assert_eq!(nearest(&"every".repeat(1000), ["every"]), None);
    }
}
