//! Names that people give, checked once at the door.

use std::borrow::Borrow;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;

/// Longest name, in bytes: a DNS label (RFC 1123 section 2.1), so that a service can be found by it.
pub const NAME_LEN_MAX: usize = 63;

/// Why a text is no name.
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
    /// The text holds something other than `a-z`, `0-9` and `-`.
    #[error("a name holds lower-case letters, digits and '-', not {found:?}")]
    Character {
        /// The first character that does not belong.
        found: char,
    },
    /// The text begins or ends with `-`.
    #[error("a name begins and ends with a letter or a digit")]
    Edge,
}

/// Makes a newtype over a shared, checked DNS label.
macro_rules! dns_label {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and takes it as a name: 1 to 63 of `a-z`, `0-9` and `-`, no `-` at either end.
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
    /// The name of a zone: what fails together, such as a data centre or a machine.
    ZoneName
}

fn check_dns_label(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    let belongs = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if let Some(found) = text.chars().find(|c| !belongs(*c)) {
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
