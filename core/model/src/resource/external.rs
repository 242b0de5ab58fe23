//! External load balancers whose backends Homeostat updates.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Span;
use crate::name::ServiceName;

/// An external load balancer that gets the replicas of a service as a file, which is written whenever they change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct External {
    /// The load balancer, which defines the format of the file.
    pub format: ExternalFormat,
    /// The file that the load balancer includes; a relative path starts from the folder of the manifest. Its folder must exist.
    pub file: String,
    /// The name of the `upstream` or `backend`. Default: that of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ExternalName>,
    /// The command that validates the file, such as `[nginx, -t]`. `$(FILE)` in an argument is replaced with the new file, which is then
    /// checked before it replaces the old one; without it, the new file replaces the old one for the check, and the old one is restored if
    /// the check fails. It is run without a shell, in the folder of the file.
    #[schemars(length(min = 1))]
    pub check: Vec<String>,
    /// The command that makes the load balancer load the file, such as `[nginx, -s, reload]`. It is run without a shell, in the folder
    /// of the file.
    #[schemars(length(min = 1))]
    pub reload: Vec<String>,
    /// The timeout of `check` and of `reload`; a command that exceeds it is killed and counts as failed. 100ms to 10m.
    #[serde(default = "timeout_default")]
    pub timeout: Span,
    /// The shortest time from one write of the file to the next: changes in between are written together. 100ms to 1h.
    #[serde(default = "every_default")]
    pub every: Span,
}

const fn timeout_default() -> Span {
    Span::from_secs(10)
}

const fn every_default() -> Span {
    Span::from_secs(1)
}

/// The most external load balancers of one service: an edge and an internal one of each kind, doubled.
pub const EXTERNALS_MAX: usize = 8;

/// The placeholder for the new file in the arguments of a check.
pub const CANDIDATE: &str = "$(FILE)";

impl External {
    /// The name of the `upstream` or the `backend`.
    pub fn name_for<'a>(&'a self, service: &'a ServiceName) -> &'a str {
        self.name.as_ref().map_or(service.as_str(), ExternalName::as_str)
    }

    /// Whether the check gets the path of the new file, so that it runs before the file is replaced.
    pub fn checks_aside(&self) -> bool {
        self.check.iter().any(|argument| argument.contains(CANDIDATE))
    }
}

/// The kind of an external load balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExternalFormat {
    /// An `upstream` of nginx, to be included within `http`.
    Nginx,
    /// A `backend` of HAProxy, as a further file of its configuration.
    Haproxy,
}

impl fmt::Display for ExternalFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
        })
    }
}

/// The name of an `upstream` or a `backend`: letters, digits, `.`, `_` and `-`, the first a letter or digit, at most 64.
///
/// Both load balancers accept it without quotes. Source: HAProxy's configuration manual, section 4, "proxies".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExternalName(Box<str>);

/// The most bytes of such a name.
const NAME_LEN_MAX: usize = 64;

/// Why a text is not a name of an `upstream` or a `backend`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name of an upstream or backend is 1 to {NAME_LEN_MAX} letters, digits and any of ._- of which the first is a letter or digit, not \
     {text:?}"
)]
pub struct ExternalNameError {
    /// The text.
    pub text: String,
}

impl ExternalName {
    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, ExternalNameError> {
        let belongs = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if begins && text.len() <= NAME_LEN_MAX && text.bytes().all(belongs) {
            Ok(Self(text.into()))
        } else {
            Err(ExternalNameError { text: text.to_owned() })
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for ExternalName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ExternalName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for ExternalName {
    fn schema_name() -> Cow<'static, str> {
        "ExternalName".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "The name of an upstream or backend.",
            "type": "string",
            "maxLength": NAME_LEN_MAX,
            "pattern": "^[A-Za-z0-9][-A-Za-z0-9._]*$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_end_a_line_or_a_block_are_refused() {
        for name in ["shop", "shop-v2.blue_1", "9"] {
            assert_eq!(ExternalName::parse(name).map(|name| name.as_str().to_owned()), Ok(name.to_owned()));
        }
        let long = "a".repeat(65);
        for text in ["", "a b", "a;b", "a}b", "a\nb", "-a", ".a", "$a", "a#b", "a\"b", "ä", long.as_str()] {
            assert!(ExternalName::parse(text).is_err(), "{text:?}");
        }
    }
}
