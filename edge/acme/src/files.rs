//! The files of accounts and certificates.

use std::path::{Path, PathBuf};

use model::resource::Acme;
use xxhash_rust::xxh3::Xxh3;

/// What identifies a certificate: declarations with the same subject share one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Subject {
    pub(crate) directory: String,
    /// In alphabetical order.
    pub(crate) hosts: Vec<String>,
}

impl Subject {
    pub(crate) fn of(acme: &Acme) -> Self {
        let mut hosts: Vec<String> = acme.hosts.iter().map(ToString::to_string).collect();
        hosts.sort_unstable();
        Self { directory: acme.directory.as_str().to_owned(), hosts }
    }

    /// The file with its key and its chain, named after its first host.
    pub(crate) fn file(&self, folder: &Path) -> PathBuf {
        let first = self.hosts.first().map_or("none", String::as_str);
        let parts = std::iter::once(self.directory.as_str()).chain(self.hosts.iter().map(String::as_str));
        folder.join(format!("{first}-{:016x}.pem", digest(parts)))
    }
}

/// The file with the key of the account that orders a certificate.
pub(crate) fn account_file(folder: &Path, acme: &Acme) -> PathBuf {
    let parts = [acme.directory.as_str(), acme.email.as_deref().unwrap_or_default()];
    folder.join(format!("account-{:016x}.json", digest(parts)))
}

/// Makes the names of files unique; security does not depend on it.
fn digest<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut hash = Xxh3::new();
    for part in parts {
        hash.update(part.as_bytes());
        // A separator that no host, URL or mailbox contains.
        hash.update(b"\0");
    }
    hash.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acme(directory: &str, hosts: &[&str]) -> Acme {
        serde_json::from_value(serde_json::json!({"directory": directory, "hosts": hosts})).unwrap()
    }

    #[test]
    fn the_file_of_a_certificate_depends_on_authority_and_hosts_but_not_on_their_order() {
        let file = |acme: &Acme| Subject::of(acme).file(Path::new("/d"));
        let one = file(&acme("https://ca/", &["b.example", "a.example"]));
        assert!(one.to_str().unwrap().starts_with("/d/a.example-"), "{one:?}");
        assert_eq!(one, file(&acme("https://ca/", &["a.example", "b.example"])));
        assert_ne!(one, file(&acme("https://other/", &["a.example", "b.example"])));
        assert_ne!(one, file(&acme("https://ca/", &["a.example"])));
    }
}
