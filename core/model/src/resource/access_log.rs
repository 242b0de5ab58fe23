//! The access log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Quantity;

/// A log with a line for each request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AccessLog {
    /// The file to write; a relative path starts from the folder of the manifest. Its folder must exist. `-` is the
    /// standard output of Homeostat. Several services and routes may write to the same file.
    pub file: String,
    /// The format of a line.
    #[serde(default)]
    pub format: AccessLogFormat,
    /// The maximum size of the file in bytes (the default is 64Mi). Before a line that would exceed it, the file is renamed to
    /// `FILE.1`, `FILE.1` to `FILE.2`, and so on. 4Ki to 1Ti.
    #[serde(default = "size_default")]
    pub size: Quantity,
    /// The number of renamed files (`FILE.1`, `FILE.2` and so on) that are kept; older ones are deleted. 0 to 1000.
    #[serde(default = "keep_default")]
    pub keep: u32,
}

/// The format of a line of an access log.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum AccessLogFormat {
    /// A JSON object with all fields of the request.
    #[default]
    Json,
    /// Apache's combined log format, which most tools support.
    Combined,
}

const fn size_default() -> Quantity {
    Quantity::from_milli(64 * 1024 * 1024 * 1000)
}

const fn keep_default() -> u32 {
    8
}

/// The path that means the standard output.
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
