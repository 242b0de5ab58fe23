//! The user that a replica runs as.

use std::path::PathBuf;

use nix::unistd::{Gid, Uid, User};

/// A user account of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: PathBuf,
}

/// Why a user cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountError {
    #[error("there is no user {user:?} on this machine; create it, or name another in run.user")]
    Unknown { user: String },
    #[error("only root may run a program as user {user:?}; run Homeostat as root, or leave run.user out")]
    NotPermitted { user: String },
    #[error("user {user:?} could not be looked up ({source}); check the user database of this machine")]
    Lookup { user: String, source: nix::Error },
}

impl Account {
    /// The user of this process.
    pub(crate) fn own() -> Self {
        let (uid, gid) = (Uid::effective(), Gid::effective());
        let home = User::from_uid(uid).ok().flatten().map_or_else(|| PathBuf::from("/"), |user| user.dir);
        Self { uid: uid.as_raw(), gid: gid.as_raw(), home }
    }

    /// The user of that name or number; a number without a user gets the group of the same number.
    pub(crate) fn find(user: &str) -> Result<Self, AccountError> {
        let lookup = |source| AccountError::Lookup { user: user.to_owned(), source };
        let found = match user.parse::<u32>() {
            Ok(uid) => match User::from_uid(Uid::from_raw(uid)).map_err(lookup)? {
                Some(found) => Self::of(found),
                None => Self { uid, gid: uid, home: PathBuf::from("/") },
            },
            Err(_) => User::from_name(user)
                .map_err(lookup)?
                .map(Self::of)
                .ok_or_else(|| AccountError::Unknown { user: user.to_owned() })?,
        };
        if found.uid != Uid::effective().as_raw() && !Uid::effective().is_root() {
            return Err(AccountError::NotPermitted { user: user.to_owned() });
        }
        Ok(found)
    }

    fn of(user: User) -> Self {
        Self { uid: user.uid.as_raw(), gid: user.gid.as_raw(), home: user.dir }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_without_a_name_is_a_user() {
        if Uid::effective().is_root() {
            let account = Account::find("3999999").unwrap();
            assert_eq!((account.uid, account.gid), (3_999_999, 3_999_999));
        }
    }

    #[test]
    fn an_unknown_user_is_named_in_the_error() {
        let error = Account::find("no-such-user-here").unwrap_err();
        assert!(error.to_string().contains("no-such-user-here"), "{error}");
    }
}
