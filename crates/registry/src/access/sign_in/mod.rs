//! Sign-in: from an `Authorization` header to an [`Identity`].
//!
//! All wrong credentials get the same answer: an unknown name, a wrong password, a disabled account. An
//! unknown name costs one hash as well, of the slowest scheme in the htpasswd file, or argon2id without a
//! file. With passwords both in the metadata and in a file, the response time tells the two apart; unknown
//! names then look like those of the file.

mod error;
mod forward;
mod password;
pub(super) mod token;

use std::net::IpAddr;
use std::time::{Instant, SystemTime};

use accounts::AccountName;

use super::credential_cache::{Entry, Lookup};
use super::credentials::{Credentials, Token};
use super::secrets::Secret;
use super::{Accounts, Identity};

pub use error::SignInError;

/// An identity, and the time until which it may be cached.
struct Resolved {
    identity: Identity,
    until: Instant,
}

impl Accounts {
    /// The cached identity for this `Authorization` header from this address. Neither waits nor allocates.
    #[must_use]
    pub fn cached_identity(&self, authorization: &[u8], from: IpAddr) -> Option<Identity> {
        let cache = &self.inner.credential_cache;
        cache.current(cache.key(authorization, from), self.generation(), Instant::now())
    }

    /// Authenticates an `Authorization` header from this address. Without accounts, credentials are ignored,
    /// because clients send stored ones.
    ///
    /// # Errors
    /// The reason for the refusal. Where accounts are in force, wrong credentials never yield
    /// [`Identity::Anonymous`].
    pub async fn sign_in(&self, authorization: &[u8], from: IpAddr) -> Result<Identity, SignInError> {
        if !self.in_force() {
            return Ok(Identity::Anonymous);
        }
        let cache = &self.inner.credential_cache;
        let key = cache.key(authorization, from);
        // Read before the lookup: a concurrent change then makes the cached entry stale.
        let generation = self.generation();
        match cache.lookup(key, generation).await {
            Lookup::Hit(identity) => {
                self.inner.metrics.cached.inc();
                Ok(identity)
            }
            Lookup::Stale(earlier, slot) => {
                let Resolved { identity, until } =
                    self.count(Box::pin(self.resolve(authorization, earlier.as_deref(), from)).await)?;
                slot.insert(Entry { identity: identity.clone(), generation, until });
                Ok(identity)
            }
        }
    }

    /// Counts a sign-in by its result.
    fn count(&self, result: Result<Resolved, SignInError>) -> Result<Resolved, SignInError> {
        let outcome = match &result {
            Ok(_) => "accepted",
            Err(SignInError::Wrong { .. }) => "wrong",
            Err(SignInError::Expired { .. }) => "expired",
            Err(SignInError::TooMany { .. }) => "limited",
            Err(SignInError::Store(_)) => "failed",
        };
        self.inner.metrics.sign_ins.of(outcome).inc();
        result
    }

    async fn resolve(
        &self,
        authorization: &[u8],
        earlier: Option<&Entry>,
        from: IpAddr,
    ) -> Result<Resolved, SignInError> {
        let credentials = Credentials::parse(authorization)
            .ok_or_else(|| SignInError::wrong(None, "neither Basic nor Bearer credentials"));
        let result = match credentials {
            Ok(Credentials::Bearer(Token(token))) => match Secret::parse(&token) {
                Some(secret) => self.with_secret(&secret, None).await,
                None => self.with_bearer(&token).await,
            },
            Ok(Credentials::Basic { name, password }) => {
                let name: Option<AccountName> = name.parse().ok();
                if !Secret::has_shape_of(password.reveal()) {
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
        self.count_wrong_token(result, from)
    }

    /// The end of a cache entry for credentials that expire at `expires_at`.
    fn cached_until(&self, expires_at: Option<SystemTime>) -> Instant {
        let longest = Instant::now() + self.inner.settings.remember;
        instant_of(expires_at).map_or(longest, |end| end.min(longest))
    }
}

/// Converts a wall-clock time to the monotonic clock.
fn instant_of(time: Option<SystemTime>) -> Option<Instant> {
    let remaining = time?.duration_since(SystemTime::now()).unwrap_or_default();
    Instant::now().checked_add(remaining)
}
