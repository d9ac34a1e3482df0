//! Sign-in with a password, behind the login throttle.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use accounts::AccountName;
use store::metadata::{AccountRecord, Source};

use super::{Resolved, SignInError};
use crate::Error;
use crate::access::credential_cache::Entry;
use crate::access::identity::Proof;
use crate::access::passwords::{Busy, Password, Scheme, StoredPassword};
use crate::access::{Accounts, Identity, SignedIn, Via};

/// The retry interval while the queue of password hashes is full.
const BUSY: Duration = Duration::from_secs(1);
/// The default cost of `htpasswd -B`.
const BCRYPT_COST: u32 = 5;

impl Accounts {
    /// Verifies a password. `earlier` is the expired or outdated cache entry of the same header.
    pub(super) async fn with_password(
        &self,
        name: Option<AccountName>,
        password: Password,
        earlier: Option<&Entry>,
        from: IpAddr,
    ) -> Result<Resolved, SignInError> {
        let inner = &self.inner;
        let account = match &name {
            Some(name) => inner.metadata.account(name).await?,
            None => None,
        };
        let stored = account.as_ref().and_then(|account| self.stored_password(account));
        if let (Some(account), Some(stored)) = (&account, &stored)
            && !account.disabled
            && let Some(earlier) = earlier
            && let Some(before) = earlier.identity.account()
            && (before.id, before.proof) == (account.id, self.proof_of(stored))
        {
            // Neither the password nor the account has changed since it was verified, so no hash is needed.
            return Ok(Resolved {
                identity: self.signed_in_with_password(account, stored),
                until: earlier.until,
            });
        }
        // All invalid names share one entry of the throttle.
        let counted = name.clone().unwrap_or_else(|| inner.nobody.clone());
        let throttle = &inner.throttle;
        let attempt = throttle.attempt(&counted, from, Instant::now()).map_err(|too_many| {
            SignInError::TooMany { retry_after: too_many.retry_after, name: name.clone() }
        })?;
        if !attempt.wait.is_zero() {
            tokio::time::sleep(attempt.wait).await;
        }
        let expected = match &stored {
            Some(stored) => stored.clone(),
            None => self.unmatchable_password()?,
        };
        let is_right = match inner.hasher.matches(expected, password).await {
            Ok(is_right) => is_right,
            Err(Busy) => {
                throttle.refund(&attempt);
                return Err(SignInError::TooMany { retry_after: BUSY, name });
            }
        };
        match (account, stored) {
            (Some(account), Some(stored)) if is_right && !account.disabled => {
                throttle.succeeded(&attempt);
                inner.maintenance.account_seen(account.id);
                let until = self.cached_until(None);
                Ok(Resolved { identity: self.signed_in_with_password(&account, &stored), until })
            }
            (account, stored) => {
                let reason = match (account, stored) {
                    _ if name.is_none() => "no account can have this name",
                    (Some(account), _) if is_right && account.disabled => "the account is disabled",
                    (Some(_), Some(_)) => "wrong password",
                    (Some(_), None) => "the account has no password here",
                    (None, _) => "no such account",
                };
                Err(SignInError::wrong(name, reason))
            }
        }
    }

    /// Whether this is the password of a user. Counts as a sign-in attempt. For changes that ask for the
    /// password again.
    ///
    /// # Errors
    /// [`SignInError::TooMany`], or an error of the store.
    pub async fn is_password_of(
        &self,
        account: &AccountRecord,
        password: Password,
        from: IpAddr,
    ) -> Result<bool, SignInError> {
        match self.with_password(Some(account.name.clone()), password, None, from).await {
            Ok(_) => Ok(true),
            Err(SignInError::Wrong { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether this registry or its htpasswd file has the account's password. Forward auth must then not
    /// accept the name alone.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn has_password(&self, name: &AccountName) -> Result<bool, Error> {
        let account = self.inner.metadata.account(name).await?;
        Ok(account.is_some_and(|account| account.source != Source::Forward))
    }

    /// The password hash of a user, from the metadata or the htpasswd file.
    pub(in crate::access) fn stored_password(&self, account: &AccountRecord) -> Option<StoredPassword> {
        match account.source {
            Source::Own => {
                let (stored, _) = StoredPassword::parse(&account.password.as_ref()?.0).ok()?;
                Some(stored)
            }
            Source::File => self.inner.htpasswd.as_ref()?.users().password(&account.name).cloned(),
            Source::Forward => None,
        }
    }

    pub(in crate::access) fn proof_of(&self, stored: &StoredPassword) -> Proof {
        Proof::Password(self.inner.credential_cache.fingerprint(stored.text().as_bytes()))
    }

    fn signed_in_with_password(&self, account: &AccountRecord, stored: &StoredPassword) -> Identity {
        Identity::Account(Arc::new(SignedIn {
            id: account.id,
            name: account.name.clone(),
            administrator: account.administrator,
            scope: None,
            via: Via::Password,
            expires_at: None,
            proof: self.proof_of(stored),
        }))
    }

    /// A hash that no password matches, so that an unknown name takes as long as a wrong password.
    fn unmatchable_password(&self) -> Result<StoredPassword, SignInError> {
        let slowest = self.inner.htpasswd.as_ref().and_then(|file| file.users().slowest());
        let (scheme, cost) = slowest.unwrap_or((Scheme::Argon2, BCRYPT_COST));
        StoredPassword::unmatchable(scheme, cost)
            .map_err(|_| SignInError::TooMany { retry_after: BUSY, name: None })
    }
}
