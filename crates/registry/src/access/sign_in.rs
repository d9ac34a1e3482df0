//! From an `Authorization` header to an [`Identity`].
//!
//! Whatever is wrong is answered alike: an unknown name, a wrong password, a disabled account. A
//! name that nobody has costs one hash as well, of the dearest kind that the htpasswd file has, if
//! there is one. Where some passwords are kept here and some in a file, the two kinds can be told
//! apart by time; names that are nobody's then look like those of the file.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use accounts::AccountName;
use store::metadata::{AccountKind, AccountRecord, AddOutcome, NewUser, Source, TokenKind, TokenRecord};

use super::bearer::{Access, Refused};
use super::credential_cache::{Entry, Lookup};
use super::credentials::{Credentials, Token};
use super::identity::Proof;
use super::passwords::{Busy, Kept, Password, Scheme};
use super::secrets::{Secret, SecretKind};
use super::{Accounts, AuditEvent, AuditVerdict, Identity, SignedIn, TokenScope, Via};
use crate::Error;

/// How long somebody is sent away while too many passwords are being looked at.
const BUSY: Duration = Duration::from_secs(1);
/// What bcrypt has if `htpasswd -B` is not told otherwise.
const BCRYPT_COST: u32 = 5;
/// The name of `auth.forward` in the audit log. It can be no account's.
const FORWARD: &str = "(auth.forward)";

/// Why somebody is not signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The credentials are wrong. For the audit log, not for the client: `name` is whom they claim
    /// to be of, as far as that can be said.
    #[error("wrong name, password or token")]
    Wrong {
        /// The name that was sent, if it can be one.
        name: Option<AccountName>,
        /// The reason, for the audit log.
        reason: &'static str,
    },
    /// The token was good once.
    #[error("the token has expired or was revoked")]
    Expired {
        /// Whose it was.
        name: Option<AccountName>,
        /// The reason, for the audit log.
        reason: &'static str,
    },
    /// Too many wrong passwords.
    #[error("too many attempts; try again in {} seconds", retry_after.as_secs().max(1))]
    TooMany {
        /// When another attempt is looked at.
        retry_after: Duration,
        /// The name that was sent, if it can be one.
        name: Option<AccountName>,
    },
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] Error),
}

impl From<store::StoreError> for SignInError {
    fn from(error: store::StoreError) -> Self {
        Self::Store(error.into())
    }
}

impl SignInError {
    pub(super) fn wrong(name: impl Into<Option<AccountName>>, reason: &'static str) -> Self {
        Self::Wrong { name: name.into(), reason }
    }

    /// Why the credentials are refused: for the audit log, not for the client.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Wrong { reason, .. } | Self::Expired { reason, .. } => Some(reason),
            Self::TooMany { .. } => Some("too many attempts"),
            Self::Store(_) => None,
        }
    }

    /// Whom the credentials claim to be of, as far as that can be said.
    #[must_use]
    pub fn name(&self) -> Option<&AccountName> {
        match self {
            Self::Wrong { name, .. } | Self::Expired { name, .. } | Self::TooMany { name, .. } => {
                name.as_ref()
            }
            Self::Store(_) => None,
        }
    }
}

/// Who it is, and until when that is known.
struct Found {
    identity: Identity,
    until: Instant,
}

impl Accounts {
    /// Who sent this `Authorization` header from this address, if that was found out a moment ago and
    /// nothing about accounts has changed since. Neither waits nor allocates.
    #[must_use]
    pub fn credential_cache(&self, authorization: &[u8], from: IpAddr) -> Option<Identity> {
        let credential_cache = &self.inner.credential_cache;
        credential_cache.current(credential_cache.key(authorization, from), self.generation(), Instant::now())
    }

    /// Who sent this `Authorization` header, from this address. Without accounts credentials are ignored: clients
    /// send what they have stored.
    ///
    /// # Errors
    /// Why it is nobody. Where there are accounts, a client with wrong credentials is not let in as nobody in
    /// particular either.
    pub async fn sign_in(&self, authorization: &[u8], from: IpAddr) -> Result<Identity, SignInError> {
        if !self.in_force() {
            return Ok(Identity::Anonymous);
        }
        let credential_cache = &self.inner.credential_cache;
        let key = credential_cache.key(authorization, from);
        // Before anything is looked up: what changes meanwhile makes the answer an old one.
        let generation = self.generation();
        match credential_cache.known(key, generation).await {
            Lookup::Hit(identity) => Ok(identity),
            Lookup::Stale(earlier, turn) => {
                let Found { identity, until } =
                    Box::pin(self.find_out(authorization, earlier.as_deref(), from)).await?;
                turn.remember(Entry { identity: identity.clone(), generation, until });
                Ok(identity)
            }
        }
    }

    async fn find_out(
        &self,
        authorization: &[u8],
        earlier: Option<&Entry>,
        from: IpAddr,
    ) -> Result<Found, SignInError> {
        let credentials = Credentials::parse(authorization)
            .ok_or_else(|| SignInError::wrong(None, "neither Basic nor Bearer credentials"));
        let found = match credentials {
            Ok(Credentials::Bearer(Token(token))) => match Secret::parse(&token) {
                Some(secret) => self.with_secret(&secret, None).await,
                None => self.with_bearer(&token).await,
            },
            Ok(Credentials::Basic { name, password }) => {
                let name: Option<AccountName> = name.parse().ok();
                if !Secret::is_meant(password.reveal()) {
                    return self.with_password(name, password, earlier, from).await;
                }
                match (&name, Secret::parse(password.reveal())) {
                    (Some(name), Some(secret)) => self.with_secret(&secret, Some(name)).await,
                    (None, _) => Err(SignInError::wrong(None, "no account can have this name")),
                    (Some(_), None) => Err(SignInError::wrong(name, "a token that is cut short or mistyped")),
                }
            }
            Err(error) => Err(error),
        };
        self.counting_wrong_tokens(found, from)
    }

    /// Counts a token that is wrong. One that was good once, or whose account is known, was not made up.
    fn counting_wrong_tokens<T>(
        &self,
        found: Result<T, SignInError>,
        from: IpAddr,
    ) -> Result<T, SignInError> {
        if let Err(SignInError::Wrong { name, .. }) = &found
            && let Err(too_many) = self.inner.throttle.wrong_token(from, Instant::now())
        {
            return Err(SignInError::TooMany { retry_after: too_many.retry_after, name: name.clone() });
        }
        found
    }

    async fn with_password(
        &self,
        name: Option<AccountName>,
        password: Password,
        earlier: Option<&Entry>,
        from: IpAddr,
    ) -> Result<Found, SignInError> {
        let inner = &self.inner;
        let account = match &name {
            Some(name) => inner.metadata.account(name).await?,
            None => None,
        };
        let kept = account.as_ref().and_then(|account| self.kept_password(account));
        if let (Some(account), Some(kept)) = (&account, &kept)
            && !account.disabled
            && let Some(earlier) = earlier
            && let Some(before) = earlier.identity.account()
            && (before.id, before.proof) == (account.id, self.proof_of(kept))
        {
            // It was found right a moment ago, and neither password nor account has changed.
            return Ok(Found { identity: self.signed_in_with_password(account, kept), until: earlier.until });
        }
        // Names that no account can have count as one.
        let counted = name.clone().unwrap_or_else(|| inner.nobody.clone());
        let throttle = &inner.throttle;
        let attempt = throttle.attempt(&counted, from, Instant::now()).map_err(|too_many| {
            SignInError::TooMany { retry_after: too_many.retry_after, name: name.clone() }
        })?;
        if !attempt.wait.is_zero() {
            tokio::time::sleep(attempt.wait).await;
        }
        let to_compare = match &kept {
            Some(kept) => kept.clone(),
            None => self.nobodys_password()?,
        };
        let is_right = match inner.hashing.matches(to_compare, password).await {
            Ok(is_right) => is_right,
            Err(Busy) => {
                throttle.take_back(&attempt);
                return Err(SignInError::TooMany { retry_after: BUSY, name });
            }
        };
        match (account, kept) {
            (Some(account), Some(kept)) if is_right && !account.disabled => {
                throttle.right(&attempt);
                inner.maintenance.account_seen(account.id);
                let until = self.remember_until(None);
                Ok(Found { identity: self.signed_in_with_password(&account, &kept), until })
            }
            (account, kept) => {
                let reason = match (account, kept) {
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

    /// With a personal token or a robot's secret; `name` is whom the client says that it belongs to.
    async fn with_secret(&self, secret: &Secret, name: Option<&AccountName>) -> Result<Found, SignInError> {
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
        if has_ended(&token) {
            return Err(SignInError::Expired { name: Some(account.name), reason: "the token has expired" });
        }
        self.inner.maintenance.token_used(token.id);
        self.inner.maintenance.account_seen(account.id);
        let until = self.remember_until(token.expires_at);
        Ok(Found { identity: signed_in_with_token(account, token, via), until })
    }

    /// With a bearer token that was issued here.
    async fn with_bearer(&self, token: &str) -> Result<Found, SignInError> {
        let checked = self.inner.keys.check(token).map_err(|refused| match refused {
            Refused::Expired => SignInError::Expired { name: None, reason: "the bearer token has expired" },
            Refused::Wrong => SignInError::wrong(None, "a bearer token that was not issued here"),
        })?;
        let claims = &checked.claims;
        let lasts = claims.ends().duration_since(SystemTime::now()).unwrap_or_default();
        let until = Instant::now() + lasts;
        let Some(bond) = &claims.wharfinger else {
            return match claims.sub.as_str() {
                "" => Ok(Found { identity: Identity::Anonymous, until }),
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
        if account.id != bond.account || account.disabled {
            return Err(revoked());
        }
        let (mut rights, mut patterns) = (None, None);
        let mut until = until;
        let proof = if let Some(id) = bond.token {
            let (token, _) = self.inner.metadata.token(id).await?.ok_or_else(revoked)?;
            if token.account != account.id || has_ended(&token) {
                return Err(revoked());
            }
            until = until.min(instant_of(token.expires_at).unwrap_or(until));
            let proof = Proof::Token { id, expires_at: token.expires_at };
            (rights, patterns) = (token.rights, token.patterns);
            proof
        } else if bond.password.is_some() {
            let kept = self.kept_password(&account).ok_or_else(revoked)?;
            if !self.inner.keys.is_bound_to(&checked, kept.text()) {
                return Err(revoked());
            }
            self.proof_of(&kept)
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
            proof,
        }));
        Ok(Found { identity, until })
    }

    /// Who sent this refresh token. The identity is good for [`Accounts::issue`].
    ///
    /// # Errors
    /// Why it is nobody.
    pub async fn refresh(&self, token: &str, from: IpAddr) -> Result<Identity, SignInError> {
        if !self.in_force() {
            return Ok(Identity::Anonymous);
        }
        let found = self.with_refresh_token(token).await;
        self.counting_wrong_tokens(found, from)
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
        if has_ended(&token) {
            return Err(SignInError::Expired { name: Some(account.name), reason: "the token has expired" });
        }
        self.inner.maintenance.token_used(token.id);
        self.inner.maintenance.account_seen(account.id);
        Ok(signed_in_with_token(account, token, Via::RefreshToken))
    }

    /// Whom the operator's own backend has named. A user whom it names for the first time gets an
    /// account, which owns its namespace like any other.
    ///
    /// # Errors
    /// [`SignInError::Wrong`] if the account is disabled, or no user.
    pub async fn vouched(&self, name: AccountName, from: IpAddr) -> Result<Identity, SignInError> {
        let metadata = &self.inner.metadata;
        let mut account = metadata.account(&name).await?;
        if account.is_none() {
            let user = NewUser {
                name: name.clone(),
                password: None,
                administrator: false,
                description: String::new(),
                source: Source::Forward,
                only_unused_namespace: false,
            };
            let metadata = metadata.clone();
            account = match self.change(async move { Ok(metadata.add_user(user).await?) }).await? {
                AddOutcome::Added(account) => {
                    self.record_durably(made_by(FORWARD, &name, Some(from), "named by auth.forward")).await;
                    Some(account)
                }
                // Another request was faster.
                AddOutcome::NameTaken => self.inner.metadata.account(&name).await?,
                AddOutcome::NamespaceInUse | AddOutcome::NameUnfit | AddOutcome::OwnerUnknown => None,
            };
        }
        match account {
            Some(account) if !account.disabled && account.kind == AccountKind::User => {
                self.inner.maintenance.account_seen(account.id);
                Ok(Identity::Account(Arc::new(SignedIn {
                    id: account.id,
                    name: account.name,
                    administrator: account.administrator,
                    scope: None,
                    via: Via::Forward,
                    proof: Proof::Forward,
                })))
            }
            Some(account) if account.disabled => Err(SignInError::wrong(name, "the account is disabled")),
            _ => Err(SignInError::wrong(name, "the name cannot be a user's")),
        }
    }

    /// Whether this is the password of a user; counted as an attempt to guess it. For changes that
    /// want it again.
    ///
    /// # Errors
    /// [`SignInError::TooMany`], or those of the store.
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

    /// Whether the password of an account is known here, so that nobody else can vouch for it by its name alone.
    ///
    /// # Errors
    /// Only those of the store.
    pub async fn has_password(&self, name: &AccountName) -> Result<bool, Error> {
        let account = self.inner.metadata.account(name).await?;
        Ok(account.is_some_and(|account| account.source != Source::Forward))
    }

    /// The password of a user, wherever it is kept.
    pub(super) fn kept_password(&self, account: &AccountRecord) -> Option<Kept> {
        match account.source {
            Source::Own => {
                let (kept, _) = Kept::parse(&account.password.as_ref()?.0).ok()?;
                Some(kept)
            }
            Source::File => self.inner.htpasswd.as_ref()?.users().password(&account.name).cloned(),
            Source::Forward => None,
        }
    }

    pub(super) fn proof_of(&self, kept: &Kept) -> Proof {
        Proof::Password(self.inner.credential_cache.fingerprint(kept.text().as_bytes()))
    }

    fn signed_in_with_password(&self, account: &AccountRecord, kept: &Kept) -> Identity {
        Identity::Account(Arc::new(SignedIn {
            id: account.id,
            name: account.name.clone(),
            administrator: account.administrator,
            scope: None,
            via: Via::Password,
            proof: self.proof_of(kept),
        }))
    }

    /// What a password is compared with that is sent for a name that has none.
    fn nobodys_password(&self) -> Result<Kept, SignInError> {
        let dearest = self.inner.htpasswd.as_ref().and_then(|file| file.users().dearest());
        let (scheme, cost) = dearest.unwrap_or((Scheme::Argon2, BCRYPT_COST));
        Kept::nobody(scheme, cost).map_err(|_| SignInError::TooMany { retry_after: BUSY, name: None })
    }

    /// Until when credentials are remembered that end then, if they do.
    fn remember_until(&self, expires_at: Option<SystemTime>) -> Instant {
        let longest = Instant::now() + self.inner.settings.remember;
        instant_of(expires_at).map_or(longest, |end| end.min(longest))
    }
}

fn signed_in_with_token(account: AccountRecord, token: TokenRecord, via: Via) -> Identity {
    let TokenRecord { id, rights, patterns, expires_at, .. } = token;
    let is_narrowed = rights.is_some() || patterns.is_some();
    Identity::Account(Arc::new(SignedIn {
        id: account.id,
        name: account.name,
        administrator: account.administrator,
        scope: is_narrowed.then_some(TokenScope::Personal { rights, patterns }),
        via,
        proof: Proof::Token { id, expires_at },
    }))
}

/// The entry of the audit log for an account that no request has asked for by itself.
pub(super) fn made_by(
    maker: &str,
    name: &AccountName,
    address: Option<IpAddr>,
    detail: impl Into<String>,
) -> AuditEvent {
    AuditEvent {
        account: Some(maker.to_owned()),
        address,
        action: "user.add",
        object: Some(name.to_string()),
        verdict: AuditVerdict::Allowed,
        status: None,
        request_id: None,
        detail: Some(detail.into()),
    }
}

fn has_ended(token: &TokenRecord) -> bool {
    token.expires_at.is_some_and(|end| end <= SystemTime::now())
}

/// The same moment by the other clock.
fn instant_of(time: Option<SystemTime>) -> Option<Instant> {
    let lasts = time?.duration_since(SystemTime::now()).unwrap_or_default();
    Instant::now().checked_add(lasts)
}
