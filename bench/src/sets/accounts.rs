//! Accounts with grants, put straight into the database of a registry of ours: by requests a million would
//! take hours, and receiving them is not what they are for.

use std::path::Path;

use accounts::{AccountName, Pattern, Right, Rights, Subject};
use anyhow::{Context as _, Result, bail};
use registry::access::{Secret, SecretKind};
use store::metadata::{AddOutcome, NewToken, NewUser, PasswordHash, SetGrant, Source, TokenKind};
use store::{Directory, Metadata};

use super::{Crowd, Scale};
use crate::security::{self, ACCOUNT, stranger};

/// How many of the accounts have a personal token.
const TOKENS: usize = 1_000;
/// How many grants each account has.
const GRANTS: usize = 10;
/// How many changes are on their way to the database at once: those that wait share a transaction.
const AT_ONCE: usize = 512;

/// The accounts: [`ACCOUNT`], whose the image is, and others who were granted to pull it, among much else.
pub(crate) struct Accounts {
    scale: Scale,
    tokens: Vec<Secret>,
}

impl Accounts {
    /// Accounts of that scale.
    pub(crate) fn new(scale: Scale) -> Result<Self> {
        let tokens = (0..TOKENS).map(|_| Secret::new(SecretKind::Personal)).collect::<Result<_, _>>();
        Ok(Self { scale, tokens: tokens.context("making tokens")? })
    }

    /// How many there are besides [`ACCOUNT`].
    pub(crate) fn count(&self, crowd: Crowd) -> usize {
        match crowd {
            Crowd::Few => TOKENS,
            Crowd::Many => self.scale.pick(100_000, 5_000),
        }
    }

    /// The values of `Authorization` of those that have a token.
    pub(crate) fn with_tokens(&self) -> Vec<String> {
        let one = |(number, token): (usize, &Secret)| security::basic_with(&stranger(number), token.reveal());
        self.tokens.iter().enumerate().map(one).collect()
    }

    /// Puts them into a data directory in which no server runs.
    pub(crate) fn place(&self, data: &Path, crowd: Crowd) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(async {
            let metadata = Metadata::open(&Directory::open(data)?.metadata())?;
            let password = PasswordHash(security::argon2_hash()?);
            add_user(&metadata, ACCOUNT.to_owned(), &password).await?;
            let next = &std::cell::Cell::new(0);
            let work = || async {
                while next.get() < self.count(crowd) {
                    let number = next.replace(next.get() + 1);
                    self.add(&metadata, number, &password).await?;
                }
                anyhow::Ok(())
            };
            futures_util::future::try_join_all((0..AT_ONCE).map(|_| work())).await?;
            metadata.close().await;
            Ok(())
        })
    }

    async fn add(&self, metadata: &Metadata, number: usize, password: &PasswordHash) -> Result<()> {
        let account = add_user(metadata, stranger(number), password).await?;
        let subject = Subject::Account(stranger(number).parse()?);
        // As people are granted things: the image that is pulled here, some repositories by name, some by a
        // pattern.
        for grant in 0..GRANTS {
            let pattern = match grant {
                0 => format!("{ACCOUNT}/app"),
                1..=6 => format!("team-{}/app-{}", number * 7 % 5_000, number % 100 + grant),
                _ => format!("team-{}/*", (number * 13 + grant) % 5_000),
            };
            let pattern: Pattern = pattern.parse()?;
            let set = metadata.set_grant(&subject, &pattern, Rights::of([Right::Pull]), None).await?;
            if set != SetGrant::Set {
                bail!("a grant was not made: {set:?}");
            }
        }
        if let Some(token) = self.tokens.get(number) {
            let token = NewToken {
                account,
                kind: TokenKind::Personal,
                label: "bench".to_owned(),
                hash: token.hash(),
                rights: None,
                patterns: None,
                expires_at: None,
            };
            metadata.add_token(token, None).await?.context("a token was not made")?;
        }
        Ok(())
    }
}

/// Makes a user. Its number.
async fn add_user(metadata: &Metadata, name: String, password: &PasswordHash) -> Result<i64> {
    let name: AccountName = name.parse()?;
    let user = NewUser {
        name,
        password: Some(password.clone()),
        administrator: false,
        description: String::new(),
        source: Source::Own,
        only_unused_namespace: false,
    };
    match metadata.add_user(user).await? {
        AddOutcome::Added(account) => Ok(account.id),
        other => bail!("an account was not made: {other:?}"),
    }
}
