//! Normalized paths, in which equivalent paths are equal.

use std::borrow::Cow;

/// The path with its unreserved characters decoded, because services treat `/%61dmin` and `/admin` as the same path.
///
/// All other characters stay encoded: `%2F` is not `/`. Allocates only when something is decoded. Source: RFC 3986, section 6.2.2.2.
pub(crate) fn normalized(path: &str) -> Cow<'_, str> {
    let mut decoded = String::new();
    let mut copied = 0;
    for (at, _) in path.match_indices('%') {
        if let Some(character) = unreserved(path.as_bytes().get(at + 1..at + 3)) {
            decoded.push_str(&path[copied..at]);
            decoded.push(character);
            copied = at + 3;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(path);
    }
    decoded.push_str(&path[copied..]);
    Cow::Owned(decoded)
}

/// The length in `path` of the first `cut` bytes of its [normalized] form, which end at the end of a path element.
pub(crate) fn original_len(path: &str, normalized: &str, cut: usize) -> usize {
    if path.len() == normalized.len() {
        return cut;
    }
    // Both have the same `/`, because a decoded character is never one.
    let slashes = normalized[..cut].matches('/').count();
    path.match_indices('/').nth(slashes).map_or(path.len(), |(at, _)| at)
}

fn unreserved(digits: Option<&[u8]>) -> Option<char> {
    let [high, low] = digits? else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let character = char::from_u32(digit(high)? * 16 + digit(low)?)?;
    (character.is_ascii_alphanumeric() || "-._~".contains(character)).then_some(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unreserved_characters_are_decoded() {
        for (path, decoded) in [
            ("/admin", "/admin"),
            ("/%61dmin", "/admin"),
            ("/%7Euser/%2Dx%2e%5f", "/~user/-x._"),
            ("/a%2Fb%20c", "/a%2Fb%20c"),
            ("/a%2F%62", "/a%2Fb"),
            ("/%", "/%"),
            ("/%6", "/%6"),
            ("/%zz%4", "/%zz%4"),
            ("/%2561", "/%2561"),
            ("/é%61", "/éa"),
            ("/%é", "/%é"),
        ] {
            assert_eq!(normalized(path), decoded, "{path}");
        }
        assert!(matches!(normalized("/a%2Fb"), Cow::Borrowed(_)));
    }

    #[test]
    fn the_length_in_the_original_path_is_found() {
        let path = "/%61pi/%62/c";
        let decoded = normalized(path);
        assert_eq!(decoded, "/api/b/c");
        for (cut, prefix) in [(4, "/%61pi"), (6, "/%61pi/%62"), (8, path)] {
            assert_eq!(&path[..original_len(path, &decoded, cut)], prefix);
        }
    }
}
