//! Names in resources, validated when they are parsed.

use std::borrow::Borrow;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;

/// Longest name, in bytes: that of a DNS label (RFC 1123, section 2.1), so that names can be used as host names.
pub const NAME_LEN_MAX: usize = 63;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name must not be empty")]
    Empty,
    /// The text is longer than [`NAME_LEN_MAX`].
    #[error("a name has at most {NAME_LEN_MAX} characters, this one has {len}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The text contains something other than `a-z`, `0-9` and `-`.
    #[error("a name contains only lower-case letters, digits and '-', not {found:?}")]
    Character {
        /// The first invalid character.
        found: char,
    },
    /// The text begins or ends with `-`.
    #[error("a name begins and ends with a letter or a digit")]
    Edge,
}

/// Defines a newtype over a shared, validated DNS label.
macro_rules! dns_label {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses a name: 1 to 63 of `a-z`, `0-9` and `-`, without `-` at either end.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                check_dns_label(text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        crate::text::as_text!($name);

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "maxLength": NAME_LEN_MAX,
                    "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
                })
            }
        }
    };
}

dns_label! {
    /// The name of a service.
    ServiceName
}

dns_label! {
    /// The name of a node: a machine that runs an agent.
    NodeName
}

dns_label! {
    /// The name of a zone: a failure domain, such as a data centre or a machine.
    ZoneName
}

fn check_dns_label(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if let Some(found) = text.chars().find(|c| !is_allowed(*c)) {
        return Err(NameError::Character { found });
    }
    if text.len() > NAME_LEN_MAX {
        return Err(NameError::TooLong { len: text.len() });
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(NameError::Edge);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_dns_label() {
        assert!(ServiceName::parse("shop").is_ok());
        assert!(ServiceName::parse("shop-2").is_ok());
        assert!(ServiceName::parse(&"a".repeat(63)).is_ok());
        assert_eq!(ServiceName::parse(""), Err(NameError::Empty));
        assert_eq!(ServiceName::parse(&"a".repeat(64)), Err(NameError::TooLong { len: 64 }));
        assert_eq!(ServiceName::parse("Shop"), Err(NameError::Character { found: 'S' }));
        assert_eq!(ServiceName::parse("a/b"), Err(NameError::Character { found: '/' }));
        assert_eq!(ServiceName::parse("-a"), Err(NameError::Edge));
        assert_eq!(ServiceName::parse("a-"), Err(NameError::Edge));
    }
}
