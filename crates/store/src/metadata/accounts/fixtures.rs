//! Test fixtures of accounts.

#![allow(clippy::unwrap_used, reason = "in a test, what goes wrong is best told by where it stands")]

use super::super::Metadata;
use super::{AddOutcome, NewUser, Source};
use accounts::{AccountName, Rights};

pub(super) fn name(name: &str) -> AccountName {
    name.parse().unwrap()
}

/// Adds a user and returns its id.
pub(in super::super) async fn add_user(metadata: &Metadata, user: &str) -> i64 {
    let user = NewUser {
        name: name(user),
        password: None,
        administrator: false,
        description: String::new(),
        source: Source::Own,
        only_unused_namespace: false,
    };
    match metadata.add_user(user).await.unwrap() {
        AddOutcome::Added(user) => user.id,
        outcome => panic!("{outcome:?}"),
    }
}

/// The rights of an account on a repository.
pub(super) async fn rights(metadata: &Metadata, account: i64, repository: &str) -> Rights {
    metadata.rights_of(Some(account), &repository.parse().unwrap()).await.unwrap()
}
