//! Keys of rows, and prefixes of keys.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The longest key, in bytes.
///
/// 8 segments of a DNS label (63 bytes) with their slashes are 511: deeper or longer names are a mistake, and keys are
/// held in memory by every watcher.
pub const KEY_BYTES_MAX: usize = 512;

/// The name of one row: segments joined by `/`, like `services/shop`.
///
/// A segment is one or more of `A-Z`, `a-z`, `0-9`, `-`, `_`, `.` and `:`. Keys order by their bytes, in every store.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

/// A folder of keys: `services/` holds `services/shop`, and holds neither `services` nor `services2/shop`.
///
/// An empty text is not a prefix; [`Prefix::root`] is the prefix of every key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(Arc<str>);

/// Why a text is not a key or prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is empty.
    #[error("a key must not be empty")]
    Empty,
    /// The text is longer than [`KEY_BYTES_MAX`].
    #[error("a key has at most {KEY_BYTES_MAX} bytes, this one has {bytes}")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// The text has a character that a key may not have.
    #[error("a key has letters, digits, '-', '_', '.', ':' and '/', not {found:?}")]
    Character {
        /// The first such character.
        found: char,
    },
    /// The text has two slashes in a row, or one at its start or end.
    #[error("the segments of a key must not be empty")]
    EmptySegment,
    /// The text is meant as a prefix and does not end with `/`.
    #[error("a prefix ends with '/'")]
    OpenPrefix,
}

impl Key {
    /// Parses a key.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        check(text)?;
        Ok(Self(text.into()))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Prefix {
    /// The prefix of every key.
    pub fn root() -> Self {
        Self("".into())
    }

    /// Parses a prefix, which ends with `/`.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        match text.strip_suffix('/') {
            Some(folder) => check(folder)?,
            None if text.is_empty() => return Err(KeyError::Empty),
            None => return Err(KeyError::OpenPrefix),
        }
        Ok(Self(text.into()))
    }

    /// Whether `key` is in this folder.
    pub fn holds(&self, key: &Key) -> bool {
        key.0.starts_with(&*self.0)
    }

    /// The prefix as text; empty for [`Prefix::root`].
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(text: &str) -> Result<(), KeyError> {
    if text.is_empty() {
        return Err(KeyError::Empty);
    }
    if text.len() > KEY_BYTES_MAX {
        return Err(KeyError::TooLong { bytes: text.len() });
    }
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/');
    if let Some(found) = text.chars().find(|c| !is_allowed(*c)) {
        return Err(KeyError::Character { found });
    }
    if text.split('/').any(str::is_empty) {
        return Err(KeyError::EmptySegment);
    }
    Ok(())
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(if self.0.is_empty() { "every key" } else { &self.0 })
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_segments_separated_by_slashes() {
        assert_eq!(Key::parse("services/shop").unwrap().as_str(), "services/shop");
        assert!(Key::parse("A.b_c:7460/x-1").is_ok());
        assert!(Key::parse(&"a".repeat(KEY_BYTES_MAX)).is_ok());
        assert_eq!(Key::parse(""), Err(KeyError::Empty));
        assert_eq!(Key::parse("/a"), Err(KeyError::EmptySegment));
        assert_eq!(Key::parse("a//b"), Err(KeyError::EmptySegment));
        assert_eq!(Key::parse("a/"), Err(KeyError::EmptySegment));
        assert_eq!(Key::parse("a b"), Err(KeyError::Character { found: ' ' }));
        assert_eq!(Key::parse("ä"), Err(KeyError::Character { found: 'ä' }));
        assert_eq!(
            Key::parse(&"a".repeat(KEY_BYTES_MAX + 1)),
            Err(KeyError::TooLong { bytes: KEY_BYTES_MAX + 1 })
        );
    }

    #[test]
    fn a_prefix_matches_whole_segments() {
        let services = Prefix::parse("services/").unwrap();
        assert!(services.holds(&Key::parse("services/shop").unwrap()));
        assert!(!services.holds(&Key::parse("services").unwrap()));
        assert!(!services.holds(&Key::parse("services2/shop").unwrap()));
        assert!(Prefix::root().holds(&Key::parse("anything").unwrap()));
        assert_eq!(Prefix::parse(""), Err(KeyError::Empty));
        assert_eq!(Prefix::parse("services"), Err(KeyError::OpenPrefix));
        assert_eq!(Prefix::parse("/"), Err(KeyError::Empty));
    }
}
