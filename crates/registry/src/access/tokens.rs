//! Issues bearer and refresh tokens: distribution, "Token Authentication Specification" and
//! "OAuth2 Token Authentication".

use std::time::{Duration, SystemTime};

use accounts::Rights;
use oci::RepositoryName;
use store::StoreError;
use store::metadata::{NewToken, TokenKind};

use super::bearer::{Access, Binding, Jwks};
use super::identity::Proof;
use super::secrets::{Secret, SecretKind};
use super::{Accounts, Identity, ScopeRequest, SignInError, Via};
use crate::Error;

/// The lifetime of a refresh token: 180 days.
const REFRESH_LIFETIME: Duration = Duration::from_secs(180 * 24 * 60 * 60);
/// The maximum number of refresh tokens of an account. The oldest is revoked first.
const MAX_REFRESH_TOKENS: usize = 50;

/// An issued token.
#[derive(Clone)]
pub struct Issued {
    /// The bearer token.
    pub token: String,
    /// The lifetime.
    pub expires_in: Duration,
    /// The start of the lifetime.
    pub issued_at: SystemTime,
    /// The refresh token, if requested and allowed.
    pub refresh_token: Option<String>,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

impl Accounts {
    /// Issues a bearer token for the allowed part of the requested scopes, which may be empty.
    ///
    /// The token does not outlive the token of the sign-in. With `offline`, a client that has signed in with
    /// a password also gets a refresh token; other tokens serve as refresh tokens themselves.
    ///
    /// # Errors
    /// [`SignInError::Wrong`] for a sign-in by bearer token, and for an account whose password has just
    /// changed.
    pub async fn issue(
        &self,
        identity: &Identity,
        requested: &[ScopeRequest],
        offline: bool,
    ) -> Result<Issued, SignInError> {
        let wrong =
            || SignInError::wrong(identity.name().cloned(), "a bearer token, or a password just changed");
        let mut lifetime = self.inner.settings.token_lifetime;
        let now = SystemTime::now();
        let (subject, binding) = match identity {
            Identity::Operator => return Err(wrong()),
            Identity::Anonymous => ("", None),
            Identity::Account(account) if account.via == Via::Bearer => return Err(wrong()),
            Identity::Account(account) => {
                let mut binding = Binding { account: account.id, token: None, password: None };
                match account.proof {
                    Proof::Password(_) => {
                        let record = self.inner.metadata.account(&account.name).await?.ok_or_else(wrong)?;
                        let stored = self.stored_password(&record).ok_or_else(wrong)?;
                        if record.id != account.id || self.proof_of(&stored) != account.proof {
                            return Err(wrong());
                        }
                        binding.password = self.inner.keys.fingerprint(stored.text());
                    }
                    Proof::Token { id, expires_at } => {
                        binding.token = Some(id);
                        if let Some(end) = expires_at {
                            lifetime = lifetime.min(end.duration_since(now).unwrap_or_default());
                        }
                    }
                    Proof::Forward => {}
                }
                (account.name.as_str(), Some(binding))
            }
        };
        let access = self.granted(identity, requested).await?;
        let claims = self.inner.keys.claims(subject, access, binding, now, lifetime);
        let token = self.inner.keys.sign(&claims).map_err(|error| internal(&error))?;
        let refresh_token = match identity {
            Identity::Account(account) if offline && account.via == Via::Password => {
                Some(self.new_refresh_token(account.id).await?)
            }
            _ => None,
        };
        Ok(Issued { token, expires_in: lifetime, issued_at: now, refresh_token })
    }

    /// The allowed part of the requested scopes, one entry for each repository.
    async fn granted(&self, identity: &Identity, requested: &[ScopeRequest]) -> Result<Vec<Access>, Error> {
        let mut repositories: Vec<(&RepositoryName, Option<&String>, Rights)> = Vec::new();
        let mut catalog = false;
        for scope in requested {
            match scope {
                ScopeRequest::Catalog => catalog = true,
                ScopeRequest::Repository { name, class, actions } => {
                    let rights = actions.iter().fold(Rights::NONE, |all, action| all.union(action.rights()));
                    match repositories.iter_mut().find(|(known, ..)| *known == name) {
                        Some((.., all)) => *all = all.union(rights),
                        None => repositories.push((name, class.as_ref(), rights)),
                    }
                }
            }
        }
        let mut access = Vec::with_capacity(repositories.len() + 1);
        for (name, class, rights) in repositories {
            let rights = rights.intersection(self.rights(identity, name).await?);
            if !rights.is_empty() {
                access.push(Access::repository(name, class.cloned(), rights));
            }
        }
        if catalog {
            access.push(Access::catalog());
        }
        Ok(access)
    }

    async fn new_refresh_token(&self, account: i64) -> Result<String, SignInError> {
        let secret = Secret::new(SecretKind::Refresh).map_err(|error| internal(&error))?;
        let metadata = &self.inner.metadata;
        let token = NewToken {
            account,
            kind: TokenKind::Refresh,
            label: String::new(),
            hash: secret.hash(),
            rights: None,
            patterns: None,
            expires_at: Some(SystemTime::now() + REFRESH_LIFETIME),
        };
        metadata.add_token(token, None).await?.ok_or(SignInError::wrong(None, "the account is gone"))?;
        // Requests at the same time may add several. The last one revokes all that are too many.
        let tokens = metadata.tokens(account, TokenKind::Refresh, None, 2 * MAX_REFRESH_TOKENS).await?;
        for oldest in tokens.iter().take(tokens.len().saturating_sub(MAX_REFRESH_TOKENS)) {
            self.revoke_by_id(oldest.id).await?;
        }
        Ok(secret.reveal().to_owned())
    }

    /// Revokes a refresh token. Returns whether it existed.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn revoke_refresh(&self, token: &str) -> Result<bool, Error> {
        let Some(secret) = Secret::parse(token) else { return Ok(false) };
        match self.inner.metadata.token_by_hash(&secret.hash()).await? {
            Some((token, _)) if token.kind == TokenKind::Refresh => self.revoke_by_id(token.id).await,
            _ => Ok(false),
        }
    }

    async fn revoke_by_id(&self, id: i64) -> Result<bool, Error> {
        let metadata = self.inner.metadata.clone();
        self.change(async move { Ok(metadata.revoke_token(None, id).await?.is_some()) }).await
    }

    /// The public keys for verifying bearer tokens.
    #[must_use]
    pub fn jwks(&self) -> Jwks {
        self.inner.keys.jwks()
    }
}

/// An error of signing or random numbers, which needs the operator.
fn internal(error: &dyn std::fmt::Display) -> SignInError {
    Error::Store(StoreError::Damaged(error.to_string())).into()
}
