//! Secrets and certificates in files and in the environment.

use std::env::VarError;

use model::resource::Secret;

use crate::failure::Failure;

/// Most bytes of a secret in a file: those in use have less than a thousand.
const SECRET_BYTES_MAX: u64 = 16 * 1024;

/// The secret in `file`, without the white space around it.
pub(crate) async fn secret(file: &str, what: &'static str) -> Result<String, Failure> {
    let bytes = contents(file, what, SECRET_BYTES_MAX).await?;
    let text = String::from_utf8(bytes);
    // The error would show the content of the file.
    let text = text.map_err(|_| Failure::File {
        file: file.to_owned(),
        what,
        why: "it is not UTF-8 text".to_owned(),
    })?;
    Ok(text.trim().to_owned())
}

/// The password that `from` names.
pub(crate) async fn password(from: &Secret) -> Result<String, Failure> {
    match from {
        Secret::File(file) => secret(file, "password").await,
        Secret::Variable(name) => variable(name),
    }
}

#[expect(clippy::disallowed_methods, reason = "which variable holds a password is known once it is declared")]
fn variable(name: &str) -> Result<String, Failure> {
    // The error itself would show the value.
    let why = |error| match error {
        VarError::NotPresent => "it is not set",
        VarError::NotUnicode(_) => "it is not UTF-8 text",
    };
    std::env::var(name).map_err(|error| Failure::Variable { name: name.to_owned(), why: why(error) })
}

/// The content of `file`, if it is not longer than `bytes_max`; `what` says what it should be.
pub(crate) async fn contents(file: &str, what: &'static str, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let wrong = |why: String| Failure::File { file: file.to_owned(), what, why };
    let metadata = tokio::fs::metadata(file).await.map_err(|error| wrong(error.to_string()))?;
    // A pipe would hold up a thread until somebody writes to it, whatever the timeout of the measurement.
    if !metadata.is_file() {
        return Err(wrong("it is not a regular file".to_owned()));
    }
    if metadata.len() > bytes_max {
        return Err(wrong(format!("it has more than {bytes_max} bytes")));
    }
    tokio::fs::read(file).await.map_err(|error| wrong(error.to_string()))
}
