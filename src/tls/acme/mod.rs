//! Certificates from an authority with the ACME protocol (RFC 8555): ordered, stored and renewed.
//!
//! - `http_client` sends requests, `account` holds the account, `order` takes one order to its certificate.
//! - `challenge` proves to the authority that the hosts lead to this server.
//! - `state_dir` stores the account and the certificate. `schedule` decides when to order and how long to
//!   back off; `renewal` polls the authority for its suggestion (ARI).

mod account;
mod challenge;
mod failure;
mod http_client;
mod order;
mod renewal;
mod schedule;
mod state_dir;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use instant_acme::CertificateIdentifier;
use time::OffsetDateTime;

pub use self::account::ExternalAccountError;
use self::account::{AccountStore, ExternalAccount};
pub(super) use self::challenge::Challenges;
use self::failure::Failure;
use self::http_client::AuthorityClient;
pub use self::http_client::ClientError;
use self::order::Orders;
use self::renewal::Suggestion;
use self::state_dir::StateDir;
use super::certificate::Certificate;
use super::pair::{Pair, PairError};
use super::self_signed::join_hosts;
use crate::config;

/// The longest sleep between two checks, because clocks are set and machines are suspended.
const MAX_SLEEP: Duration = Duration::from_secs(60 * 60);
/// The shortest time between two orders, even if a certificate is due again at once.
const MIN_INTERVAL: Duration = Duration::from_secs(10);

/// Orders and renews the certificate of one authority.
pub(super) struct Acme {
    directory_url: String,
    state_dir: StateDir,
    client: AuthorityClient,
    accounts: AccountStore,
    orders: Orders,
    current: Mutex<Option<Current>>,
}

/// The certificate in use.
#[derive(Clone)]
struct Current {
    certificate: Certificate,
    /// The ARI id. `None` without an authority key identifier.
    id: Option<CertificateIdentifier<'static>>,
}

impl Current {
    fn new(pair: &Pair) -> Self {
        let id = CertificateIdentifier::try_from(pair.der()).ok().map(CertificateIdentifier::into_owned);
        Self { certificate: pair.certificate().clone(), id }
    }
}

impl Acme {
    /// Creates it from the settings, and loads the certificate stored below `directory`. Sends no request.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(super) fn open(
        settings: &config::Acme,
        url: &config::DirectoryUrl,
        directory: &Path,
    ) -> Result<(Self, Option<Pair>), OpenError> {
        let state_dir = StateDir::new(url, directory);
        let stored = state_dir.certificate()?;
        let client = AuthorityClient::new(settings)?;
        let acme = Self {
            directory_url: url.as_str().to_owned(),
            accounts: AccountStore::new(settings, url, state_dir.clone(), client.clone())?,
            state_dir,
            client,
            orders: Orders {
                hosts: settings.hosts.clone(),
                challenge: settings.challenge,
                challenges: Challenges::default(),
            },
            current: Mutex::new(stored.as_ref().map(Current::new)),
        };
        Ok((acme, stored))
    }

    pub(super) fn challenges(&self) -> &Challenges {
        &self.orders.challenges
    }

    /// Orders a certificate whenever one is due, and passes it to `install`. Never returns.
    pub(super) async fn maintain(&self, install: impl Fn(&Pair) -> Result<(), rustls::Error>) -> Infallible {
        let mut failures = 0;
        let mut suggestion = None;
        loop {
            let now = OffsetDateTime::now_utc();
            let current = self.current();
            let id = current.as_ref().and_then(|current| current.id.clone());
            if let Some(id) = &id {
                suggestion = Some(Suggestion::poll(&self.accounts, suggestion.take(), id, now).await);
            }
            let suggested = suggestion.as_ref().and_then(Suggestion::time);
            let current = current.map(|current| current.certificate);
            let due = schedule::due(current.as_ref(), &self.orders.hosts, suggested);
            if let Some(left) = due.wait(now) {
                tokio::time::sleep(left.min(MAX_SLEEP)).await;
                continue;
            }
            tracing::info!(
                directory = self.directory_url,
                hosts = join_hosts(&self.orders.hosts),
                "requesting a certificate: {due}"
            );
            // Only an authority with ARI knows `replaces`. It may still reject it, so that a retry
            // omits it.
            let replaces = id.filter(|_| suggested.is_some() && due.is_renewal() && failures == 0);
            let obtained = self.obtain(replaces).await.and_then(|pair| {
                install(&pair).map_err(Failure::Unusable)?;
                Ok(pair)
            });
            let wait = match obtained {
                Ok(pair) => {
                    failures = 0;
                    suggestion = None;
                    tracing::info!(
                        until = pair.certificate().until(),
                        fingerprint = pair.certificate().fingerprint,
                        "the authority issued a certificate, which is in use"
                    );
                    *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(Current::new(&pair));
                    MIN_INTERVAL
                }
                Err(failure) => {
                    let wait = schedule::backoff(failures, failure.is_transient(), self.client.retry_after());
                    failures = failures.saturating_add(1);
                    self.log_failure(&failure, current.as_ref(), now, wait);
                    wait
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    fn current(&self) -> Option<Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tries once to order a certificate and to store it.
    async fn obtain(&self, replaces: Option<CertificateIdentifier<'static>>) -> Result<Pair, Failure> {
        self.client.reset_retry_after();
        let order = async { self.orders.order(&self.accounts.load_or_create().await?, replaces).await };
        let pem = match order.await {
            // An authority that was reinstalled has lost its accounts.
            Err(failure) if failure.is_account_unknown() => {
                self.orders.order(&self.accounts.create().await?, None).await?
            }
            pem => pem?,
        };
        let pair = self.state_dir.parse(&pem).map_err(Failure::InvalidCertificate)?;
        if let Some(host) = self.orders.hosts.iter().find(|host| !pair.certificate().covers(host)) {
            return Err(Failure::HostMissing(host.clone()));
        }
        // The certificate is used even if it cannot be stored: another order would count against the rate
        // limit.
        if let Err(error) = self.state_dir.store_certificate(pem).await {
            tracing::error!(%error, "the new certificate cannot be stored; it is requested again at the next start");
        }
        Ok(pair)
    }

    fn log_failure(
        &self,
        failure: &Failure,
        current: Option<&Certificate>,
        now: OffsetDateTime,
        wait: Duration,
    ) {
        let consequence = match current {
            Some(certificate) if certificate.not_after > now => {
                format!("the current one stays in use until {}", certificate.until())
            }
            Some(certificate) => format!("the current one expired on {}", certificate.not_after.date()),
            None => "HTTPS is refused until there is one".to_owned(),
        };
        let wait = humantime::format_duration(Duration::from_secs(wait.as_secs()));
        tracing::error!(
            directory = self.directory_url,
            hosts = join_hosts(&self.orders.hosts),
            "the authority issued no certificate: {failure}; {consequence}; trying again in {wait}"
        );
    }
}

/// The path of the stored certificate and its key.
#[must_use]
pub fn file(url: &config::DirectoryUrl, directory: &Path) -> PathBuf {
    StateDir::new(url, directory).certificate_file()
}

/// Why the settings of `[tls.acme]` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Account(#[from] ExternalAccountError),
    /// The stored certificate cannot be read.
    #[error(transparent)]
    Stored(#[from] PairError),
}

/// Checks the files that the settings name. Sends no request.
///
/// # Errors
/// [`OpenError`].
pub(super) fn check(settings: &config::Acme) -> Result<(), OpenError> {
    settings.external_account.as_deref().map(ExternalAccount::read).transpose()?;
    AuthorityClient::new(settings)?;
    Ok(())
}
