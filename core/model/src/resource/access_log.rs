//! What people declare of the log of requests.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Quantity;

/// A log with a line for each request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AccessLog {
    /// The file; a relative path begins at the folder of the manifest, and its folder must be there. `-` is the standard output of Homeostat. Several
    /// services and routes may have the same one.
    pub file: String,
    /// What a line looks like.
    #[serde(default)]
    pub format: AccessLogFormat,
    /// Bytes of the file; before a line that would not fit the file becomes `FILE.1`, that one `FILE.2`, and so on. 4Ki to 1Ti.
    #[serde(default = "size_default")]
    pub size: Quantity,
    /// How many of those are kept beside the file; older ones are removed. 0 to 1000.
    #[serde(default = "keep_default")]
    pub keep: u32,
}

/// What a line of an access log looks like.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum AccessLogFormat {
    /// An object of JSON with all that is known.
    #[default]
    Json,
    /// As Apache's `combined`, which most tools read.
    Combined,
}

const fn size_default() -> Quantity {
    Quantity::from_milli(64 * 1024 * 1024 * 1000)
}

const fn keep_default() -> u32 {
    8
}

/// The file that stands for the standard output.
const STANDARD_OUTPUT: &str = "-";

impl AccessLog {
    /// Whether it goes to the standard output, which is not rotated.
    pub fn is_standard_output(&self) -> bool {
        self.file == STANDARD_OUTPUT
    }

    /// Bytes of the file.
    pub fn bytes_max(&self) -> u64 {
        u64::try_from(self.size.milli() / 1000).unwrap_or(0)
    }
}
