//! Metadata of resources: name, labels and annotations.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::name::{NameError, ServiceName};

/// Name, labels and annotations of a Homeostat resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Metadata {
    /// The name of the resource, which no other of its kind has. 1 to 63 of `a-z`, `0-9` and `-`.
    pub name: ServiceName,
    /// What selects and groups resources.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Notes of people and tools; Homeostat selects nothing by them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The version of the resource that this manifest was made from, as `get -o yaml` prints it: `apply` refuses to change the resource if it
    /// has been changed or deleted since. Without it, `apply` does not compare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<ResourceVersion>,
}

impl Metadata {
    /// Metadata with only a name.
    pub const fn named(name: ServiceName) -> Self {
        Self { name, labels: BTreeMap::new(), annotations: BTreeMap::new(), resource_version: None }
    }
}

/// The version of a declared resource: the revision of the store in which it was last written.
///
/// Written as `r12`. A version of a Kubernetes API server is a number alone, so that an autoscaler exported from there is not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceVersion(pub u64);

/// A text is not a [`ResourceVersion`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a resourceVersion is written as `get -o yaml` prints it, such as r12; leave it out to apply without comparing"
)]
pub struct ResourceVersionError;

impl ResourceVersion {
    /// Parses a version in the form `r12`.
    pub fn parse(text: &str) -> Result<Self, ResourceVersionError> {
        let digits = text.strip_prefix('r').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        digits.and_then(|digits| digits.parse().ok()).map(Self).ok_or(ResourceVersionError)
    }
}

impl fmt::Display for ResourceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

impl Serialize for ResourceVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ResourceVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for ResourceVersion {
    fn schema_name() -> Cow<'static, str> {
        "ResourceVersion".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "The version of a declared resource.",
            "type": "string",
            "pattern": "^r[0-9]+$",
        })
    }
}

/// Longest name of a Kubernetes object, in bytes (RFC 1123 subdomain).
pub const OBJECT_NAME_LEN_MAX: usize = 253;

/// The name of a Kubernetes object: DNS labels joined by dots.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(Arc<str>);

impl ObjectName {
    /// Parses a name: up to 253 of `a-z`, `0-9`, `-` and `.`, each part beginning and ending with a letter or digit.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.len() > OBJECT_NAME_LEN_MAX {
            return Err(NameError::TooLong { len: text.len() });
        }
        let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        if let Some(found) = text.chars().find(|c| !is_allowed(*c)) {
            return Err(NameError::Character { found });
        }
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.split('.').any(|label| label.is_empty() || label.starts_with('-') || label.ends_with('-')) {
            return Err(NameError::Edge);
        }
        Ok(Self(text.into()))
    }

    /// The name of the shadow of a forecast in mode `shadow`.
    pub(crate) fn forecast() -> Self {
        Self(super::FORECAST_SHADOW.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

crate::text::as_text!(ObjectName);

impl FromStr for ObjectName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl From<ServiceName> for ObjectName {
    /// Every service name is an object name: one label without a dot.
    fn from(name: ServiceName) -> Self {
        Self(name.as_str().into())
    }
}

impl JsonSchema for ObjectName {
    fn schema_name() -> Cow<'static, str> {
        "ObjectName".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "The name of a Kubernetes object: DNS labels joined by dots.",
            "type": "string",
            "maxLength": OBJECT_NAME_LEN_MAX,
            "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        })
    }
}

/// Metadata of a Kubernetes object, with all that an API server adds to it.
///
/// Homeostat reads the name, the labels and the annotations. The rest is kept as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ObjectMeta {
    /// What the object is called.
    pub name: ObjectName,
    /// The Kubernetes namespace; kept and not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What selects and groups objects.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What people and tools note; older forms of the HorizontalPodAutoscaler keep metrics and behavior here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Set by a Kubernetes API server; kept and not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<String>,
    /// Set by a Kubernetes API server; kept and not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_grace_period_seconds: Option<i64>,
    /// Set by a Kubernetes API server; kept and not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<String>,
    /// Kept, not used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
    /// Kept, not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate_name: Option<String>,
    /// Set by a Kubernetes API server; kept and not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// Set by a Kubernetes API server; kept and not used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub managed_fields: Vec<Value>,
    /// Kept, not used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owner_references: Vec<Value>,
    /// As in a Service, if it is one of Homeostat, such as `r12`. That of a Kubernetes API server is not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// Set by older Kubernetes API servers; kept and not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_link: Option<String>,
    /// Set by a Kubernetes API server; kept and not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

impl ObjectMeta {
    /// Metadata with only a name.
    pub const fn named(name: ObjectName) -> Self {
        Self {
            name,
            namespace: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            creation_timestamp: None,
            deletion_grace_period_seconds: None,
            deletion_timestamp: None,
            finalizers: Vec::new(),
            generate_name: None,
            generation: None,
            managed_fields: Vec::new(),
            owner_references: Vec::new(),
            resource_version: None,
            self_link: None,
            uid: None,
        }
    }
}
