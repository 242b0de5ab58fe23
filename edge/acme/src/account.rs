//! The account at an authority, which is created once and stored.

use std::io;
use std::path::Path;

use instant_acme::{Account, AccountCredentials, NewAccount};
use model::resource::Acme;

use crate::failure::{Failure, directory_failure};
use crate::files::account_file;
use crate::http_client::HttpsClient;

/// Opens the stored account, or creates a new one.
pub(crate) async fn open(folder: &Path, acme: &Acme, http: HttpsClient) -> Result<Account, Failure> {
    let builder = Account::builder_with_http(Box::new(http));
    if let Some(kept) = read(&account_file(folder, acme)) {
        return builder.from_credentials(kept).await.map_err(|error| directory_failure(acme, error));
    }
    let contact = acme.email.as_ref().map(|email| format!("mailto:{email}"));
    let contact: Vec<&str> = contact.as_deref().into_iter().collect();
    let wanted = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let directory = acme.directory.as_str().to_owned();
    let made = builder.create(&wanted, directory, None).await;
    let (account, credentials) = made.map_err(|error| directory_failure(acme, error))?;
    write(&account_file(folder, acme), &credentials)?;
    Ok(account)
}

/// Removes an account that the authority no longer knows: the next attempt creates a new one.
pub(crate) fn forget(folder: &Path, acme: &Acme) {
    match std::fs::remove_file(account_file(folder, acme)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(directory = acme.directory.as_str(), %error, "acme_account_not_removed");
        }
        Ok(()) | Err(_) => {}
    }
}

/// The stored account; `None` when there is none, or it cannot be used, and a new one is to be created.
fn read(file: &Path) -> Option<AccountCredentials> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

fn write(file: &Path, credentials: &AccountCredentials) -> Result<(), Failure> {
    let failed = |why: String| Failure::Write { file: file.to_owned(), why };
    let text = serde_json::to_vec(credentials).map_err(|error| failed(error.to_string()))?;
    os::write_secret(file, &text).map_err(|error| failed(error.source.to_string()))
}
