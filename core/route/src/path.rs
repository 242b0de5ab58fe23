//! Paths in the form in which they are compared: two that mean the same have the same form.

use std::borrow::Cow;

/// The path with its unreserved characters decoded: `/%61dmin` and `/admin` are the same path, and services treat them so.
///
/// All others stay encoded: `%2F` is no `/`. Allocates only when something is decoded. Source: RFC 3986, section 6.2.2.2.
pub(crate) fn plain(path: &str) -> Cow<'_, str> {
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

/// Where in `path` the part ends whose [plain] form is the first `cut` bytes of the whole plain form. Both end where an element does.
pub(crate) fn cut_in(path: &str, plain: &str, cut: usize) -> usize {
    if path.len() == plain.len() {
        return cut;
    }
    // Each `/` of one is a `/` of the other.
    let slashes = plain[..cut].matches('/').count();
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
    fn only_what_needs_no_encoding_is_decoded() {
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
            assert_eq!(plain(path), becomes, "{path}");
        }
        assert!(matches!(plain("/a%2Fb"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_cut_is_found_in_what_was_asked() {
        let path = "/%61pi/%62/c";
        let decoded = plain(path);
        assert_eq!(decoded, "/api/b/c");
        for (cut, becomes) in [(4, "/%61pi"), (6, "/%61pi/%62"), (8, path)] {
            assert_eq!(&path[..cut_in(path, &decoded, cut)], becomes);
        }
    }
}
