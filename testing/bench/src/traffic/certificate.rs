//! A certificate that nobody signed but itself, for the TLS of all proxies.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};

/// Writes a new certificate with its key into `folder`: apart, as we and nginx have them, and in one file, as HAProxy has it.
pub(super) fn write(folder: &Path) -> anyhow::Result<()> {
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])
        .context("could not make a certificate")?;
    let (certificate, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
    replace(&folder.join(KEY), &key)?;
    replace(&both(folder), &format!("{certificate}{key}"))?;
    // Last: whoever sees the new certificate finds its key.
    replace(&folder.join(CERTIFICATE), &certificate)
}

/// The file that has both.
pub(super) fn both(folder: &Path) -> PathBuf {
    folder.join("both.pem")
}

/// As a manifest has it.
pub(super) fn manifest(folder: &Path) -> Value {
    json!({"certificate": folder.join(CERTIFICATE), "key": folder.join(KEY)})
}

const CERTIFICATE: &str = "tls.pem";
const KEY: &str = "tls.key";

/// Puts a file in the place of the one before at once, so that nobody reads half of it.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).with_context(|| format!("could not write {}", beside.display()))?;
    std::fs::rename(&beside, path).with_context(|| format!("could not replace {}", path.display()))
}
