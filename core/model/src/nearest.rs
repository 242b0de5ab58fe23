//! Suggests the known name that a misspelt one most likely means.

/// Longest name that is compared, in bytes: known names are less than half as long, and the comparison takes time proportional to the
/// product of both lengths.
const NAME_BYTES_MAX: usize = 64;

/// The name of `known` that `written` most likely means; `None` when none is similar.
///
/// Names are similar when they differ only in case, `_` and `-`, or by edits (insert, delete, change, swap) of at most a third of the
/// length.
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
    fn a_misspelt_name_finds_the_known_one() {
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
    fn a_very_long_name_is_not_compared() {
        assert_eq!(nearest(&"every".repeat(1000), ["every"]), None);
    }
}
