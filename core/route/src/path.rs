//! Normalized paths, in which equivalent paths are equal.

use std::borrow::Cow;

/// The path with its unreserved characters decoded: `/%61dmin` and `/admin` are the same path, and services treat them so.
///
/// All others stay encoded: `%2F` is no `/`. Allocates only when something is decoded. Source: RFC 3986, section 6.2.2.2.
pub(crate) fn normalized(path: &str) -> Cow<'_, str> {
    let mut whole = String::new();
    let mut taken = 0;
    for (at, _) in path.match_indices('%') {
        if let Some(character) = unreserved(path.as_bytes().get(at + 1..at + 3)) {
            whole.push_str(&path[taken..at]);
            whole.push(character);
            taken = at + 3;
        }
    }
    if taken == 0 {
        return Cow::Borrowed(path);
    }
    whole.push_str(&path[taken..]);
    Cow::Owned(whole)
}

/// The length of the part of `path` whose [normalized] form is the first `cut` bytes of the whole form. Both end where a path element ends.
pub(crate) fn original_len(path: &str, normalized: &str, cut: usize) -> usize {
    if path.len() == normalized.len() {
        return cut;
    }
    // Each `/` of one is a `/` of the other.
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
        for (path, becomes) in [
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
            assert_eq!(normalized(path), becomes, "{path}");
        }
        assert!(matches!(normalized("/a%2Fb"), Cow::Borrowed(_)));
    }

    #[test]
    fn the_length_in_the_original_path_is_found() {
        let path = "/%61pi/%62/c";
        let decoded = normalized(path);
        assert_eq!(decoded, "/api/b/c");
        for (cut, becomes) in [(4, "/%61pi"), (6, "/%61pi/%62"), (8, path)] {
            assert_eq!(&path[..original_len(path, &decoded, cut)], becomes);
        }
    }
}
