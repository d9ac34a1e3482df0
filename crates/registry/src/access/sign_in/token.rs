//! Sign-in with a personal token, a robot's secret, a bearer token or a refresh token.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use accounts::AccountName;
use store::metadata::{AccountRecord, TokenKind, TokenRecord};

use super::{Resolved, SignInError, instant_of};
use crate::access::bearer::{Access, TokenError};
use crate::access::identity::Proof;
use crate::access::secrets::{Secret, SecretKind};
use crate::access::{Accounts, Identity, SignedIn, TokenScope, Via};

impl Accounts {
    /// Counts a wrong token. Expired tokens and disabled accounts do not count: nobody guessed them.
    pub(super) fn count_wrong_token<T>(
        &self,
        result: Result<T, SignInError>,
        from: IpAddr,
    ) -> Result<T, SignInError> {
        if let Err(SignInError::Wrong { name, .. }) = &result
            && let Err(too_many) = self.inner.throttle.wrong_token(from, Instant::now())
        {
            return Err(SignInError::TooMany { retry_after: too_many.retry_after, name: name.clone() });
        }
        result
    }

    /// Signs in with a personal token or a robot's secret. `name` is the user name of Basic credentials.
    pub(super) async fn with_secret(
        &self,
        secret: &Secret,
        name: Option<&AccountName>,
    ) -> Result<Resolved, SignInError> {
        let Some((token, account)) = self.inner.metadata.token_by_hash(&secret.hash()).await? else {
            return Err(SignInError::wrong(name.cloned(), "unknown or revoked token"));
        };
        let via = match (secret.kind(), token.kind) {
            (SecretKind::Personal, TokenKind::Personal) => Via::PersonalToken,
            (SecretKind::Robot, TokenKind::Robot) => Via::RobotSecret,
            _ => return Err(SignInError::wrong(name.cloned(), "a refresh token is not good for this")),
        };
        if account.disabled {
            return Err(SignInError::wrong(account.name, "the account is disabled"));
        }
        if name.is_some_and(|name| *name != account.name) {
            return Err(SignInError::wrong(name.cloned(), "the token is another account's"));
        }
        if has_expired(&token) {
            return Err(SignInError::Expired { name: Some(account.name), reason: "the token has expired" });
        }
        self.inner.maintenance.token_used(token.id);
        self.inner.maintenance.account_seen(account.id);
        let until = self.cached_until(token.expires_at);
        Ok(Resolved { identity: signed_in_with_token(account, token, via), until })
    }

    /// Signs in with a bearer token of this registry.
    pub(super) async fn with_bearer(&self, token: &str) -> Result<Resolved, SignInError> {
        let verified = self.inner.keys.verify(token).map_err(|error| match error {
            TokenError::Expired => {
                SignInError::Expired { name: None, reason: "the bearer token has expired" }
            }
            TokenError::Invalid => SignInError::wrong(None, "a bearer token that was not issued here"),
        })?;
        let claims = &verified.claims;
        let remaining = claims.expires_at().duration_since(SystemTime::now()).unwrap_or_default();
        let mut until = Instant::now() + remaining;
        let Some(binding) = &claims.wharfinger else {
            return match claims.sub.as_str() {
                "" => Ok(Resolved { identity: Identity::Anonymous, until }),
                _ => Err(SignInError::wrong(None, "a bearer token that names no account")),
            };
        };
        let name: AccountName = claims
            .sub
            .parse()
            .map_err(|_| SignInError::wrong(None, "a bearer token that names no account"))?;
        let revoked = || SignInError::Expired {
            name: Some(name.clone()),
            reason: "the password, token or account behind the bearer token is no longer valid",
        };
        let account = self.inner.metadata.account(&name).await?.ok_or_else(revoked)?;
        if account.id != binding.account || account.disabled {
            return Err(revoked());
        }
        let (mut rights, mut patterns) = (None, None);
        let proof = if let Some(id) = binding.token {
            let (token, _) = self.inner.metadata.token(id).await?.ok_or_else(revoked)?;
            if token.account != account.id || has_expired(&token) {
                return Err(revoked());
            }
            until = until.min(instant_of(token.expires_at).unwrap_or(until));
            (rights, patterns) = (token.rights, token.patterns);
            Proof::Token { id, expires_at: token.expires_at }
        } else if binding.password.is_some() {
            let stored = self.stored_password(&account).ok_or_else(revoked)?;
            if !self.inner.keys.is_bound_to(&verified, stored.text()) {
                return Err(revoked());
            }
            self.proof_of(&stored)
        } else {
            Proof::Forward
        };
        let scope = TokenScope::Bearer {
            repositories: claims.access.iter().filter_map(Access::rights).collect(),
            catalog: claims.access.iter().any(Access::is_catalog),
            rights,
            patterns,
        };
        let identity = Identity::Account(Arc::new(SignedIn {
            id: account.id,
            name: account.name,
            administrator: account.administrator,
            scope: Some(scope),
            via: Via::Bearer,
            expires_at: Some(claims.expires_at()),
            proof,
        }));
        Ok(Resolved { identity, until })
    }

    /// Signs in with a refresh token. The identity serves for [`Accounts::issue`] only.
    ///
    /// # Errors
    /// As for [`Accounts::sign_in`].
    pub async fn refresh(&self, token: &str, from: IpAddr) -> Result<Identity, SignInError> {
        if !self.in_force() {
            return Ok(Identity::Anonymous);
        }
        let result = self.with_refresh_token(token).await;
        self.count_wrong_token(result, from)
    }

    async fn with_refresh_token(&self, token: &str) -> Result<Identity, SignInError> {
        let wrong = || SignInError::wrong(None, "unknown or revoked refresh token");
        let secret =
            Secret::parse(token).filter(|secret| secret.kind() == SecretKind::Refresh).ok_or_else(wrong)?;
        let (token, account) = self.inner.metadata.token_by_hash(&secret.hash()).await?.ok_or_else(wrong)?;
        if token.kind != TokenKind::Refresh {
            return Err(SignInError::wrong(account.name, "a token that is no refresh token"));
        }
        if account.disabled {
            return Err(SignInError::wrong(account.name, "the account is disabled"));
        }
        if has_expired(&token) {
            return Err(SignInError::Expired { name: Some(account.name), reason: "the token has expired" });
        }
        self.inner.maintenance.token_used(token.id);
        self.inner.maintenance.account_seen(account.id);
        Ok(signed_in_with_token(account, token, Via::RefreshToken))
    }
}

fn signed_in_with_token(account: AccountRecord, token: TokenRecord, via: Via) -> Identity {
    let TokenRecord { id, rights, patterns, expires_at, .. } = token;
    Identity::Account(Arc::new(SignedIn {
        id: account.id,
        name: account.name,
        administrator: account.administrator,
        scope: TokenScope::personal(rights, patterns),
        via,
        expires_at,
        proof: Proof::Token { id, expires_at },
    }))
}

pub(in crate::access) fn has_expired(token: &TokenRecord) -> bool {
    token.expires_at.is_some_and(|end| end <= SystemTime::now())
}
