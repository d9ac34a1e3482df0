//! Issuing bearer and refresh tokens: distribution, "Token Authentication Specification" and
//! "OAuth2 Token Authentication".

use std::time::{Duration, SystemTime};

use accounts::Rights;
use oci::RepositoryName;
use store::StoreError;
use store::metadata::{NewToken, TokenKind};

use super::bearer::{Access, Bond, Jwks};
use super::identity::Proof;
use super::secrets::{Secret, SecretKind};
use super::{Accounts, Identity, ScopeRequest, SignInError, Via};
use crate::Error;

/// How long a refresh token holds.
const REFRESH_LIFETIME: Duration = Duration::from_secs(180 * 24 * 60 * 60);
/// How many refresh tokens an account has at most; the oldest end first.
const REFRESH_TOKENS: usize = 50;

/// A token that was issued.
#[derive(Clone)]
pub struct Issued {
    /// The bearer token.
    pub token: String,
    /// How long it holds.
    pub expires_in: Duration,
    /// From when on.
    pub issued_at: SystemTime,
    /// For getting others without the password, if that was wanted and can be had.
    pub refresh_token: Option<String>,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

impl Accounts {
    /// Issues a bearer token for as much of what is wanted as is allowed: perhaps for nothing. It
    /// holds no longer than what it was got with. With `offline` a refresh token comes along, but
    /// only for who has signed in with a password: other tokens are good for that themselves.
    ///
    /// # Errors
    /// [`SignInError::Wrong`] for who has signed in with a bearer token, which is not good for
    /// another, and for an account whose password has just changed.
    pub async fn issue(
        &self,
        identity: &Identity,
        wanted: &[ScopeRequest],
        offline: bool,
    ) -> Result<Issued, SignInError> {
        let wrong =
            || SignInError::wrong(identity.name().cloned(), "a bearer token, or a password just changed");
        let mut lifetime = self.inner.settings.token_lifetime;
        let now = SystemTime::now();
        let (subject, bond) = match identity {
            Identity::Operator => return Err(wrong()),
            Identity::Anonymous => ("", None),
            Identity::Account(account) if account.via == Via::Bearer => return Err(wrong()),
            Identity::Account(account) => {
                let mut bond = Bond { account: account.id, token: None, password: None };
                match account.proof {
                    Proof::Password(_) => {
                        let record = self.inner.metadata.account(&account.name).await?.ok_or_else(wrong)?;
                        let kept = self.kept_password(&record).ok_or_else(wrong)?;
                        if record.id != account.id || self.proof_of(&kept) != account.proof {
                            return Err(wrong());
                        }
                        bond.password = self.inner.keys.fingerprint(kept.text());
                    }
                    Proof::Token { id, expires_at } => {
                        bond.token = Some(id);
                        if let Some(end) = expires_at {
                            lifetime = lifetime.min(end.duration_since(now).unwrap_or_default());
                        }
                    }
                    Proof::Forward => {}
                }
                (account.name.as_str(), Some(bond))
            }
        };
        let access = self.granted(identity, wanted).await?;
        let claims = self.inner.keys.claims(subject, access, bond, now, lifetime);
        let token = self.inner.keys.sign(&claims).map_err(|error| broken(&error))?;
        let refresh_token = match identity {
            Identity::Account(account) if offline && account.via == Via::Password => {
                Some(self.new_refresh_token(account.id).await?)
            }
            _ => None,
        };
        Ok(Issued { token, expires_in: lifetime, issued_at: now, refresh_token })
    }

    /// What of this is allowed, one entry a repository.
    async fn granted(&self, identity: &Identity, wanted: &[ScopeRequest]) -> Result<Vec<Access>, Error> {
        let mut repositories: Vec<(&RepositoryName, Option<&String>, Rights)> = Vec::new();
        let mut catalog = false;
        for scope in wanted {
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
        let secret = Secret::new(SecretKind::Refresh).map_err(|error| broken(&error))?;
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
        metadata.add_token(token).await?.ok_or(SignInError::wrong(None, "the account is gone"))?;
        let kept = metadata.tokens(account, TokenKind::Refresh, None, REFRESH_TOKENS + 1).await?;
        if kept.len() > REFRESH_TOKENS
            && let Some(oldest) = kept.iter().min_by_key(|token| token.id)
        {
            self.end_token(oldest.id).await?;
        }
        Ok(secret.reveal().to_owned())
    }

    /// Ends a refresh token. Whether there was one.
    ///
    /// # Errors
    /// Only those of the store.
    pub async fn revoke_refresh(&self, token: &str) -> Result<bool, Error> {
        let Some(secret) = Secret::parse(token) else { return Ok(false) };
        match self.inner.metadata.token_by_hash(&secret.hash()).await? {
            Some((token, _)) if token.kind == TokenKind::Refresh => self.end_token(token.id).await,
            _ => Ok(false),
        }
    }

    async fn end_token(&self, id: i64) -> Result<bool, Error> {
        let metadata = self.inner.metadata.clone();
        self.change(async move { Ok(metadata.revoke_token(None, id).await?.is_some()) }).await
    }

    /// The public keys by which bearer tokens can be checked.
    #[must_use]
    pub fn jwks(&self) -> Jwks {
        self.inner.keys.jwks()
    }
}

/// Something that does not fail unless the machine is broken.
fn broken(error: &dyn std::fmt::Display) -> SignInError {
    Error::Store(StoreError::Damaged(error.to_string())).into()
}
