//! Who asks, and what they may do.
//!
//! - [`Accounts`]: everything below, over the metadata alone.
//! - `sign_in`, `credentials`: from an `Authorization` header to an [`Identity`]; `credential_cache` and
//!   `login_throttle` keep that cheap for who is right, and dear for who is not.
//! - `location_rules`: where the operator's settings let in more, or fewer, than was granted.
//! - `permission_cache`: what an identity may do with a repository, and which it may know of.
//! - `tokens`, `bearer`, `scope`: the token protocol.
//! - `passwords`, `apr1`, `htpasswd`, `secrets`: what people and programs prove themselves with.
//! - `audit`, `repeats`: who did what.
//! - `maintenance`: what runs beside the requests.
//!
//! Accounts are in force as soon as there is a user, an htpasswd file or a backend of the
//! operator's, and stay so when the last user is gone (`AccountSettings::open`). Until then everybody may do everything,
//! and credentials are ignored.

mod apr1;
mod audit;
mod bearer;
mod credential_cache;
mod credentials;
mod htpasswd;
mod identity;
mod location_rules;
mod login_throttle;
mod maintenance;
pub mod manage;
mod passwords;
mod permission_cache;
mod repeats;
mod scope;
mod secrets;
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
pub use permission_cache::Verdict;
pub use repeats::SIGN_IN;
pub use scope::{Action, MAX_SCOPES, ScopeRequest};
pub use secrets::{Secret, SecretKind};
pub use sign_in::SignInError;
pub use store::metadata::Verdict as AuditVerdict;
pub use tokens::Issued;

use crate::Error;

/// Stands for names that no account can have.
const NOBODY: &str = "?";

/// What the operator decides about accounts.
#[derive(Clone)]
pub struct AccountSettings {
    /// A file of users as `htpasswd` makes it.
    pub htpasswd: Option<PathBuf>,
    /// Whether a backend of the operator's says who asks: see [`Accounts::vouched`].
    pub forward: bool,
    /// Whether access control applies even while there is no account.
    pub required: bool,
    /// Whether a registry that has lost its last account is open to everyone again.
    pub open: bool,
    /// Who is let in to trees of repositories, whatever was granted. It counts once accounts are in force.
    pub location_rules: PrefixRules<LocationAccess>,
    /// Who issues bearer tokens: their `iss`.
    pub issuer: String,
    /// For what they are issued: their `aud`.
    pub service: String,
    /// How long a bearer token holds.
    pub token_lifetime: Duration,
    /// How long a key signs bearer tokens before the next one does.
    pub key_lifetime: Duration,
    /// How long credentials that were found right are remembered.
    pub remember: Duration,
    /// The limits on attempts to sign in, and on new accounts.
    pub throttle: ThrottleLimits,
    /// Whether people may make accounts for themselves.
    pub self_registration: bool,
    /// How long the audit log is kept.
    pub audit_retention: Duration,
    /// Sees every entry of the audit log as it is made.
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
            audit_retention: 90 * DAY,
            audit_sink: None,
        }
    }
}

/// The accounts of a registry, and what they may do. Cheap to clone: all clones are the same.
#[derive(Clone)]
pub struct Accounts {
    inner: Arc<Inner>,
}

struct Inner {
    metadata: Metadata,
    settings: AccountSettings,
    in_force: AtomicBool,
    /// Counts changes of anything on which a decision rests.
    generation: AtomicU64,
    htpasswd: Option<htpasswd::File>,
    hashing: passwords::Hashing,
    credential_cache: credential_cache::CredentialCache,
    throttle: login_throttle::LoginThrottle,
    /// [`NOBODY`].
    nobody: AccountName,
    keys: bearer::Keys,
    admissions: location_rules::LocationRules,
    permission_cache: permission_cache::PermissionCache,
    audit: audit::Audit,
    maintenance: maintenance::Maintenance,
}

impl Accounts {
    /// The accounts that are kept in this metadata. Reads the htpasswd file, if there is one, and
    /// starts what runs beside the requests, until [`Accounts::close`].
    ///
    /// # Errors
    /// [`Error::Htpasswd`] if the file cannot be used, and those of the store.
    pub async fn open(metadata: Metadata, settings: AccountSettings) -> Result<Self, Error> {
        let htpasswd = settings.htpasswd.as_deref().map(htpasswd::File::open).transpose()?;
        let no_random = |error: getrandom::Error| StoreError::Damaged(format!("no random numbers: {error}"));
        let accounts = Self {
            inner: Arc::new(Inner {
                in_force: AtomicBool::new(true),
                generation: AtomicU64::new(1),
                htpasswd,
                hashing: passwords::Hashing::new(),
                credential_cache: credential_cache::CredentialCache::new().map_err(no_random)?,
                throttle: login_throttle::LoginThrottle::new(settings.throttle),
                nobody: NOBODY.parse().map_err(|_| StoreError::Damaged(format!("{NOBODY} is no name")))?,
                keys: bearer::Keys::new(settings.issuer.clone(), settings.service.clone()),
                admissions: location_rules::LocationRules::new(settings.location_rules.clone()),
                permission_cache: permission_cache::PermissionCache::new(),
                audit: audit::Audit::start(metadata.clone(), settings.audit_sink.clone()),
                maintenance: maintenance::Maintenance::default(),
                metadata,
                settings,
            }),
        };
        accounts.sync_htpasswd().await?;
        accounts.refresh_in_force().await?;
        accounts.read_keys().await?;
        accounts.start_tending();
        Ok(accounts)
    }

    /// Ends what runs beside the requests, and writes down what is not yet.
    pub async fn close(&self) {
        self.stop_tending().await;
        self.inner.audit.close().await;
    }

    /// Whether accounts decide anything yet.
    #[must_use]
    pub fn in_force(&self) -> bool {
        self.inner.in_force.load(Ordering::Acquire)
    }

    /// Grows with every change of accounts, memberships, tokens and grants. What was decided under
    /// another number must be decided anew.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.inner.generation.load(Ordering::Acquire)
    }

    /// What the operator decides about accounts.
    #[must_use]
    pub fn settings(&self) -> &AccountSettings {
        &self.inner.settings
    }

    /// Makes the first administrator, for a start from a command line or an environment that
    /// names one. If there is an account of this name it stays as it is. Whether it was made.
    ///
    /// # Errors
    /// [`Error::PasswordRefused`], [`Error::NameUnfit`], or those of the store.
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
                self.record_durably(sign_in::made_by(audit::OPERATOR, name, None, detail)).await;
                Ok(true)
            }
            AddOutcome::NameTaken => Ok(false),
            AddOutcome::NamespaceInUse | AddOutcome::NameUnfit | AddOutcome::OwnerUnknown => {
                Err(Error::NameUnfit(name.clone()))
            }
        }
    }

    /// Does something that changes accounts, tokens or grants, and makes sure that what rested on
    /// how they were is not believed any more when the answer is given. It comes to its end even if
    /// the client that wanted it goes away.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let accounts = self.clone();
        let task = tokio::spawn(async move {
            let done = work.await;
            // After an error as well: it may have come after the commit.
            accounts.changed();
            accounts.refresh_in_force().await?;
            done
        });
        task.await.unwrap_or_else(|_| Err(Error::Store(StoreError::Closed)))
    }

    /// A new password as it is to be kept.
    pub(crate) async fn hash_password(&self, password: Password) -> Result<PasswordHash, Error> {
        let kept = self.inner.hashing.hash(password).await.map_err(|passwords::Busy| Error::Busy)?;
        Ok(PasswordHash(kept.text().to_owned()))
    }

    fn changed(&self) {
        self.inner.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether somebody could sign in: there is a user, an htpasswd file or a backend of the operator's.
    ///
    /// # Errors
    /// Only those of the store.
    pub async fn exist(&self) -> Result<bool, Error> {
        let settings = &self.inner.settings;
        Ok(settings.htpasswd.is_some() || settings.forward || self.inner.metadata.has_users().await?)
    }

    /// The number of users in the database.
    ///
    /// # Errors
    /// Only those of the store.
    pub async fn count_users(&self) -> Result<u64, Error> {
        Ok(self.inner.metadata.count_users().await?)
    }

    /// Whether this directory has had users, even if it has none now.
    #[must_use]
    pub fn have_existed(&self) -> bool {
        self.inner.metadata.has_had_users()
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
