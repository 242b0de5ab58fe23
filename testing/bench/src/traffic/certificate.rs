//! A self-signed certificate, for the TLS of all proxies.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};

/// Writes a new certificate with its key into `folder`: in two files, as Homeostat and nginx read them, and in one, as HAProxy does.
pub(super) fn write(folder: &Path) -> anyhow::Result<()> {
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])
        .context("could not make a certificate")?;
    let (certificate, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
    replace(&folder.join(KEY), &key)?;
    replace(&combined(folder), &format!("{certificate}{key}"))?;
    // Last, so that its key is there once the new certificate can be seen.
    replace(&folder.join(CERTIFICATE), &certificate)
}

/// The file that contains both.
pub(super) fn combined(folder: &Path) -> PathBuf {
    folder.join("combined.pem")
}

/// The two files, as a manifest names them.
pub(super) fn manifest(folder: &Path) -> Value {
    json!({"certificate": folder.join(CERTIFICATE), "key": folder.join(KEY)})
}

const CERTIFICATE: &str = "tls.pem";
const KEY: &str = "tls.key";

/// Replaces a file atomically, so that no reader gets half of it.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, text).with_context(|| format!("could not write {}", temporary.display()))?;
    std::fs::rename(&temporary, path).with_context(|| format!("could not replace {}", path.display()))
}
