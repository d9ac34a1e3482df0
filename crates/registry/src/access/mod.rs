//! Authentication and authorization: who sends a request, and which repositories and rights it gets.
//!
//! - [`Accounts`]: the entry point, over the metadata alone.
//! - `sign_in`, `credentials`: from an `Authorization` header to an [`Identity`]. `credential_cache` makes
//!   repeated sign-ins cheap; `login_throttle` is the rate limit on wrong ones.
//! - `location_rules`: the operator's rules for trees of repositories, on top of the grants.
//! - `permission_cache`: the rights of an identity on a repository, and the repositories that it may list.
//! - `tokens`, `bearer`, `scope`: the token protocol.
//! - `passwords`, `apr1`, `htpasswd`, `secrets`: credentials at rest.
//! - `revalidation`: whether a sign-in still holds, for requests and streams that last.
//! - `audit`, `repeats`: the audit log.
//! - `maintenance`: background tasks.
//!
//! Access control is in force once there is a user, an htpasswd file or a forward-auth backend, and stays in
//! force after the last user is gone ([`AccountSettings::open`]). Until then every request has all rights,
//! and credentials are ignored.

mod apr1;
mod audit;
mod bearer;
mod credential_cache;
mod credentials;
#[doc(hidden)]
pub mod fuzzing;
mod htpasswd;
mod identity;
mod location_rules;
mod login_throttle;
mod maintenance;
pub mod manage;
mod passwords;
mod permission_cache;
mod repeats;
mod revalidation;
mod scope;
mod secrets;
mod sessions;
mod sign_in;
#[cfg(test)]
mod tests;
mod tokens;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use accounts::{AccountName, PrefixRules};
use store::metadata::{AddOutcome, NewUser, PasswordHash, Source};
use store::{Metadata, StoreError};

pub use audit::{AuditEvent, AuditSink};
pub use bearer::{Jwk, Jwks};
pub use htpasswd::HtpasswdError;
pub use identity::{Identity, SignedIn, TokenScope, Via};
pub use location_rules::LocationAccess;
pub use login_throttle::{RateLimit, ThrottleLimits};
pub use passwords::{Password, PasswordRefused};
pub use permission_cache::Permission;
pub use repeats::SIGN_IN;

pub use scope::{Action, MAX_SCOPES, ScopeRequest};
pub use secrets::{Secret, SecretKind};
pub use sign_in::SignInError;
pub use store::metadata::AuditOutcome;
pub use tokens::Issued;

use crate::Error;
use crate::metrics::SignInMetrics;

/// Stands for all invalid names in the login throttle.
const NOBODY: &str = "?";

/// The operator's settings for accounts.
#[derive(Clone)]
pub struct AccountSettings {
    /// A file of users and password hashes.
    pub htpasswd: Option<PathBuf>,
    /// Whether a backend of the operator names the user: see [`Accounts::sign_in_forwarded`].
    pub forward: bool,
    /// Whether access control applies even while there is no account.
    pub required: bool,
    /// Whether a registry without accounts is open although it has had some.
    pub open: bool,
    /// Rules for trees of repositories, on top of the grants. They apply once access control is in force.
    pub location_rules: PrefixRules<LocationAccess>,
    /// The `iss` claim of bearer tokens.
    pub issuer: String,
    /// The `aud` claim of bearer tokens.
    pub service: String,
    /// The lifetime of a bearer token.
    pub token_lifetime: Duration,
    /// The period after which a new key signs bearer tokens.
    pub key_lifetime: Duration,
    /// The TTL of the credential cache.
    pub remember: Duration,
    /// The rate limits on sign-in and registration.
    pub throttle: ThrottleLimits,
    /// Whether users may register themselves.
    pub self_registration: bool,
    /// The lifetime of a session of a browser.
    pub session_lifetime: Duration,
    /// The retention of the audit log.
    pub audit_retention: Duration,
    /// Receives every entry of the audit log at once.
    pub audit_sink: Option<AuditSink>,
}

impl Default for AccountSettings {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            htpasswd: None,
            forward: false,
            required: false,
            open: false,
            location_rules: PrefixRules::default(),
            issuer: "wharfinger".to_owned(),
            service: "wharfinger".to_owned(),
            token_lifetime: Duration::from_secs(300),
            key_lifetime: 30 * DAY,
            remember: Duration::from_secs(60),
            throttle: ThrottleLimits::default(),
            self_registration: false,
            session_lifetime: 14 * DAY,
            audit_retention: 90 * DAY,
            audit_sink: None,
        }
    }
}

/// The accounts of a registry and their permissions. Clones share one state.
#[derive(Clone)]
pub struct Accounts {
    inner: Arc<Inner>,
}

struct Inner {
    metadata: Metadata,
    settings: AccountSettings,
    in_force: AtomicBool,
    /// Counts changes of accounts, tokens and grants. Cached decisions carry it.
    generation: AtomicU64,
    htpasswd: Option<htpasswd::File>,
    hasher: passwords::Hasher,
    credential_cache: credential_cache::CredentialCache,
    throttle: login_throttle::LoginThrottle,
    nobody: AccountName,
    keys: bearer::Keys,
    location_rules: location_rules::LocationRules,
    permission_cache: permission_cache::PermissionCache,
    audit: audit::Audit,
    maintenance: maintenance::Maintenance,
    metrics: SignInMetrics,
}

impl Accounts {
    /// Opens the accounts of this metadata, reads the htpasswd file and starts the background tasks.
    ///
    /// # Errors
    /// [`Error::Htpasswd`] if the file cannot be read, and errors of the store.
    pub async fn open(metadata: Metadata, settings: AccountSettings) -> Result<Self, Error> {
        let htpasswd = settings.htpasswd.as_deref().map(htpasswd::File::open).transpose()?;
        let no_random = |error: getrandom::Error| {
            StoreError::Damaged(format!("the system gives no random numbers: {error}"))
        };
        let accounts = Self {
            inner: Arc::new(Inner {
                in_force: AtomicBool::new(true),
                generation: AtomicU64::new(1),
                htpasswd,
                hasher: passwords::Hasher::new(),
                credential_cache: credential_cache::CredentialCache::new().map_err(no_random)?,
                throttle: login_throttle::LoginThrottle::new(settings.throttle),
                nobody: NOBODY.parse().map_err(|_| StoreError::Damaged(format!("{NOBODY} is no name")))?,
                keys: bearer::Keys::new(settings.issuer.clone(), settings.service.clone()),
                location_rules: location_rules::LocationRules::new(settings.location_rules.clone()),
                permission_cache: permission_cache::PermissionCache::new(),
                audit: audit::Audit::start(metadata.clone(), settings.audit_sink.clone()),
                maintenance: maintenance::Maintenance::default(),
                metrics: SignInMetrics::default(),
                metadata,
                settings,
            }),
        };
        if accounts.inner.metadata.is_replica() {
            accounts.refresh_in_force().await?;
            accounts.reload_keys().await?;
        } else {
            accounts.sync_htpasswd().await?;
            accounts.refresh_in_force().await?;
            accounts.load_keys().await?;
        }
        accounts.start_maintenance();
        // The listener must not keep the metadata that keep it.
        let inner = Arc::downgrade(&accounts.inner);
        accounts.inner.metadata.on_commit(move |commit| {
            if (commit.is_unknown || commit.are_accounts_changed)
                && let Some(inner) = inner.upgrade()
            {
                Self { inner }.read_anew();
            }
        });
        Ok(accounts)
    }

    /// Stops the background tasks and flushes the audit log.
    pub async fn close(&self) {
        self.stop_maintenance().await;
        self.inner.audit.close().await;
    }

    /// Whether access control is in force.
    #[must_use]
    pub fn in_force(&self) -> bool {
        self.inner.in_force.load(Ordering::Acquire)
    }

    /// Grows with every change of accounts, memberships, tokens and grants. A decision cached under another
    /// value is stale.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.inner.generation.load(Ordering::Acquire)
    }

    pub(crate) fn metrics(&self) -> &SignInMetrics {
        &self.inner.metrics
    }

    /// The operator's settings.
    #[must_use]
    pub fn settings(&self) -> &AccountSettings {
        &self.inner.settings
    }

    /// Creates the first administrator, named on the command line or in the environment. An existing account
    /// of this name stays unchanged. Returns whether the account was created.
    ///
    /// # Errors
    /// [`Error::PasswordRefused`], [`Error::NameUnfit`], or an error of the store.
    pub async fn ensure_administrator(&self, name: &AccountName, password: &str) -> Result<bool, Error> {
        if self.inner.metadata.account(name).await?.is_some() {
            return Ok(false);
        }
        let password = self.hash_password(Password::new(password, name.as_str())?).await?;
        let user = NewUser {
            name: name.clone(),
            password: Some(password),
            administrator: true,
            description: String::new(),
            source: Source::Own,
            only_unused_namespace: false,
        };
        let metadata = self.inner.metadata.clone();
        match self.change(async move { Ok(metadata.add_user(user).await?) }).await? {
            AddOutcome::Added(_) => {
                let detail = "an administrator, by the first start";
                self.record_durably(audit::account_created(audit::OPERATOR, name, None, detail)).await;
                Ok(true)
            }
            AddOutcome::NameTaken => Ok(false),
            AddOutcome::NamespaceInUse | AddOutcome::NameUnfit | AddOutcome::OwnerUnknown => {
                Err(Error::NameUnfit(name.clone()))
            }
        }
    }

    /// Runs a change of accounts, tokens or grants, and invalidates all cached decisions before it returns.
    /// Continues if the caller is dropped.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let accounts = self.clone();
        let task = tokio::spawn(async move {
            let result = work.await;
            // Also after an error, which may follow the commit.
            accounts.changed();
            accounts.refresh_in_force().await?;
            result
        });
        task.await.unwrap_or_else(|_| Err(Error::Store(StoreError::Closed)))
    }

    /// Hashes a new password for the store.
    pub(crate) async fn hash_password(&self, password: Password) -> Result<PasswordHash, Error> {
        let stored = self.inner.hasher.hash(password).await.map_err(|passwords::Busy| Error::Busy)?;
        Ok(PasswordHash(stored.text().to_owned()))
    }

    /// Sets the namespaces of upstream registries, which no account owns.
    pub(crate) fn reserve_namespaces(&self, namespaces: std::collections::HashSet<String>) {
        self.inner.metadata.reserve_namespaces(namespaces);
        self.changed();
    }

    fn changed(&self) {
        self.inner.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether anyone can sign in: there is a user, an htpasswd file or a forward-auth backend.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn exist(&self) -> Result<bool, Error> {
        let settings = &self.inner.settings;
        Ok(settings.htpasswd.is_some() || settings.forward || self.inner.metadata.has_users().await?)
    }

    /// Counts the users in the database.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn count_users(&self) -> Result<u64, Error> {
        Ok(self.inner.metadata.count_users().await?)
    }

    /// Whether this data directory has ever had users.
    #[must_use]
    pub fn have_existed(&self) -> bool {
        self.inner.metadata.has_had_users()
    }

    /// Invalidates all cached decisions, and lets a background task or a request read the state in memory
    /// again.
    fn read_anew(&self) {
        self.inner.maintenance.read_anew();
        self.changed();
    }

    async fn refresh_in_force(&self) -> Result<(), Error> {
        let settings = &self.inner.settings;
        let in_force = settings.required || self.exist().await? || (self.have_existed() && !settings.open);
        if self.inner.in_force.swap(in_force, Ordering::AcqRel) != in_force {
            self.changed();
        }
        Ok(())
    }
}
