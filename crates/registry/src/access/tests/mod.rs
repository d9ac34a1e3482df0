//! Tests of [`Accounts`] as a whole, over a real database.

mod audit;
mod htpasswd;
mod maintenance;
mod permissions;
mod sign_in;
mod tokens;

use super::*;
use accounts::{Pattern, Right, Rights, Subject, Visible};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci::RepositoryName;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::SystemTime;
use store::metadata::{
    AccountChange, AuditFilter, ChangeOutcome, NewToken, RemoveOutcome, SetGrant, TokenKind,
};
use tempfile::TempDir;

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

const PASSWORD: &str = "correct horse battery";

struct Fixture {
    accounts: Accounts,
    directory: TempDir,
}

impl std::ops::Deref for Fixture {
    type Target = Accounts;

    fn deref(&self) -> &Accounts {
        &self.accounts
    }
}

fn name(name: &str) -> AccountName {
    name.parse().unwrap()
}

fn repository(name: &str) -> RepositoryName {
    name.parse().unwrap()
}

fn rights(text: &str) -> Rights {
    text.parse().unwrap()
}

fn basic(name: &str, password: &str) -> Vec<u8> {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))).into_bytes()
}

fn bearer(token: &str) -> Vec<u8> {
    format!("Bearer {token}").into_bytes()
}

async fn open(directory: TempDir, settings: AccountSettings) -> Fixture {
    let metadata = Metadata::open(&directory.path().join("metadata.db")).unwrap();
    Fixture { accounts: Accounts::open(metadata, settings).await.unwrap(), directory }
}

/// Accounts with the administrator `root` and the users `ann` and `bob`.
async fn fixture() -> Fixture {
    let fixture = open(tempfile::tempdir().unwrap(), AccountSettings::default()).await;
    assert!(fixture.ensure_administrator(&name("root"), PASSWORD).await.unwrap());
    fixture.add_user("ann").await;
    fixture.add_user("bob").await;
    fixture
}

impl Fixture {
    async fn add_user(&self, user: &str) {
        let password = self.hash_password(Password::new(PASSWORD, user).unwrap()).await.unwrap();
        let user = NewUser {
            name: name(user),
            password: Some(password),
            administrator: false,
            description: String::new(),
            source: Source::Own,
            only_unused_namespace: false,
        };
        let metadata = self.inner.metadata.clone();
        let added = self.change(async move { Ok(metadata.add_user(user).await?) }).await.unwrap();
        assert!(matches!(added, AddOutcome::Added(_)), "{added:?}");
    }

    async fn change_account(&self, account: &str, change: AccountChange) {
        let (metadata, account) = (self.inner.metadata.clone(), name(account));
        let changed =
            self.change(async move { Ok(metadata.change_account(&account, change).await?) }).await.unwrap();
        assert!(matches!(changed, ChangeOutcome::Changed(_)), "{changed:?}");
    }

    async fn disable(&self, account: &str, disabled: bool) {
        self.change_account(account, AccountChange { disabled: Some(disabled), ..AccountChange::default() })
            .await;
    }

    async fn set_password(&self, account: &str, password: &str) {
        let password = self.hash_password(Password::new(password, account).unwrap()).await.unwrap();
        self.change_account(account, AccountChange { password: Some(password), ..AccountChange::default() })
            .await;
    }

    async fn grant(&self, subject: &str, pattern: &str, granted: &str) {
        let (subject, pattern): (Subject, Pattern) = (subject.parse().unwrap(), pattern.parse().unwrap());
        let (metadata, granted) = (self.inner.metadata.clone(), rights(granted));
        let set = self
            .change(async move { Ok(metadata.set_grant(&subject, &pattern, granted, None).await?) })
            .await;
        assert_eq!(set.unwrap(), SetGrant::Set);
    }

    async fn remove_grant(&self, subject: &str, pattern: &str) {
        let (subject, pattern): (Subject, Pattern) = (subject.parse().unwrap(), pattern.parse().unwrap());
        let metadata = self.inner.metadata.clone();
        let removed = self.change(async move { Ok(metadata.remove_grant(&subject, &pattern).await?) }).await;
        assert!(removed.unwrap());
    }

    /// Creates a personal token and returns its text and id.
    async fn token(
        &self,
        account: &str,
        narrowed: Option<(&str, &[&str])>,
        expires_at: Option<SystemTime>,
    ) -> (String, i64) {
        let account = self.inner.metadata.account(&name(account)).await.unwrap().unwrap();
        let secret = Secret::new(SecretKind::Personal).unwrap();
        let token = NewToken {
            account: account.id,
            kind: TokenKind::Personal,
            label: "test".to_owned(),
            hash: secret.hash(),
            rights: narrowed.map(|(narrowed, _)| rights(narrowed)),
            patterns: narrowed
                .map(|(_, patterns)| patterns.iter().map(|text| text.parse().unwrap()).collect()),
            expires_at,
        };
        let metadata = self.inner.metadata.clone();
        let added =
            self.change(async move { Ok(metadata.add_token(token, None).await?) }).await.unwrap().unwrap();
        (secret.reveal().to_owned(), added.id)
    }

    async fn revoke(&self, id: i64) {
        let metadata = self.inner.metadata.clone();
        assert!(
            self.change(async move { Ok(metadata.revoke_token(None, id).await?) }).await.unwrap().is_some()
        );
    }

    async fn signed_in(&self, header: &[u8]) -> Identity {
        self.sign_in(header, HOME).await.unwrap()
    }

    async fn refused(&self, header: &[u8]) -> SignInError {
        match self.sign_in(header, HOME).await {
            Ok(identity) => panic!("{identity:?} has signed in"),
            Err(error) => error,
        }
    }

    async fn assert_wrong(&self, header: &[u8]) {
        let error = self.refused(header).await;
        assert!(matches!(error, SignInError::Wrong { .. }), "{error:?}");
    }

    async fn assert_expired(&self, header: &[u8]) {
        let error = self.refused(header).await;
        assert!(matches!(error, SignInError::Expired { .. }), "{error:?}");
    }

    /// Issues a bearer token and returns its header.
    async fn issued(&self, identity: &Identity, scopes: &str) -> Vec<u8> {
        bearer(&self.issue(identity, &ScopeRequest::parse_all([scopes]), false).await.unwrap().token)
    }

    fn hashes(&self) -> u64 {
        self.inner.hasher.count()
    }
}
