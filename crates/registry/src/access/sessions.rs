//! Sessions of browsers: begun with a password, found by a random secret of which the store holds the
//! SHA-256.
//!
//! A session has the rights of its account as they are now. It ends at its time, by a sign-out, by a
//! revocation, and with the password that began it.

use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};
use store::StoreError;
use store::metadata::{AccountRecord, NewToken, TokenKind};

use super::identity::Proof;
use super::secrets::{Secret, SecretKind};
use super::{Accounts, Identity, SignedIn, Via};
use crate::Error;

/// The sessions that an account can have. A further one replaces the oldest.
const MAX_SESSIONS: usize = 50;
/// The longest description of a browser, in characters.
const MAX_LABEL: usize = 200;
/// The length of a fingerprint and the space after it.
const FINGERPRINT: usize = 17;

impl Accounts {
    /// Begins a session for an account that has signed in with its password. `browser` describes the browser
    /// in the list of sessions. Returns `None` for every other identity.
    ///
    /// # Errors
    /// The errors of the store, and if the system gives no random numbers.
    pub async fn begin_session(&self, identity: &Identity, browser: &str) -> Result<Option<Secret>, Error> {
        let Some(account) = identity.account().filter(|account| account.via == Via::Password) else {
            return Ok(None);
        };
        let metadata = &self.inner.metadata;
        let Some(record) = metadata.account(&account.name).await? else { return Ok(None) };
        let Some(fingerprint) = self.session_binding(&record) else { return Ok(None) };
        let secret = Secret::new(SecretKind::Session)
            .map_err(|error| StoreError::Damaged(format!("the system gives no random numbers: {error}")))?;
        let lifetime = self.inner.settings.session_lifetime;
        let token = NewToken {
            account: account.id,
            kind: TokenKind::Session,
            label: fingerprint.chars().chain(browser.chars().take(MAX_LABEL)).collect(),
            hash: secret.hash(),
            rights: None,
            patterns: None,
            expires_at: SystemTime::now().checked_add(lifetime),
        };
        Ok(metadata.add_token_for_oldest(token, MAX_SESSIONS).await?.map(|_| secret))
    }

    /// Returns the identity of a session, or `None` if there is no such session any more.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn session(&self, secret: &str) -> Result<Option<Identity>, Error> {
        let secret = Secret::parse(secret).filter(|secret| secret.kind() == SecretKind::Session);
        let Some(secret) = secret else { return Ok(None) };
        let Some((token, account)) = self.inner.metadata.token_by_hash(&secret.hash()).await? else {
            return Ok(None);
        };
        let has_expired = token.expires_at.is_some_and(|end| end <= SystemTime::now());
        let is_bound = self.session_binding(&account).is_some_and(|bound| token.label.starts_with(&bound));
        if token.kind != TokenKind::Session || account.disabled || has_expired || !is_bound {
            return Ok(None);
        }
        self.inner.maintenance.token_used(token.id);
        self.inner.maintenance.account_seen(account.id);
        Ok(Some(Identity::Account(Arc::new(SignedIn {
            id: account.id,
            name: account.name,
            administrator: account.administrator,
            scope: None,
            via: Via::Session,
            expires_at: token.expires_at,
            proof: Proof::Token { id: token.id, expires_at: token.expires_at },
        }))))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn end_session(&self, secret: &str) -> Result<(), Error> {
        let secret = Secret::parse(secret).filter(|secret| secret.kind() == SecretKind::Session);
        let Some(secret) = secret else { return Ok(()) };
        let metadata = self.inner.metadata.clone();
        self.change(async move {
            if let Some((token, account)) = metadata.token_by_hash(&secret.hash()).await? {
                metadata.revoke_token(Some(account.id), token.id).await?;
            }
            Ok(())
        })
        .await
    }

    /// Returns the beginning of the labels of the sessions that the present password of an account has begun.
    pub(super) fn session_binding(&self, account: &AccountRecord) -> Option<String> {
        let stored = self.stored_password(account)?;
        let hash: [u8; 32] = Sha256::digest(stored.text().as_bytes()).into();
        let number = u64::from_be_bytes(hash[..8].try_into().ok()?);
        Some(format!("{number:016x} "))
    }
}

/// Returns the description of the browser in the label of a session.
pub(super) fn browser(label: &str) -> &str {
    label.get(FINGERPRINT..).unwrap_or_default()
}
