//! A certificate of an authority that gives them to whoever proves that a name is theirs (ACME, RFC 8555): obtained
//! when there is none, kept, and renewed in good time.
//!
//! - `directory` asks the authority, `account` is who asks, `order` goes through one order from its beginning to the
//!   certificate.
//! - `challenge` answers the authority when it looks whether the names lead here.
//! - `state_dir` keeps what must outlast a restart; `pace` says when it is time, and when to try again;
//!   `renewal` knows what the authority says to that.

mod account;
mod challenge;
mod directory;
mod failure;
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

pub use self::account::NoExternalAccount;
use self::account::{Contact, ExternalAccount};
pub(super) use self::challenge::Challenges;
use self::directory::Directory;
pub use self::directory::NoDirectory;
use self::failure::Failure;
use self::renewal::Suggestion;
use self::state_dir::StateDir;
use super::certificate::Certificate;
use super::pair::{Pair, PairError};
use super::self_signed::listed;
use crate::config::{self, AcmeChallenge};
use crate::host::Host;

/// How long is waited at most before it is looked again whether it is time: clocks are set, and machines sleep.
const LOOK: Duration = Duration::from_secs(60 * 60);
/// The least time between two certificates, whatever an authority makes of their lives.
const LEAST: Duration = Duration::from_secs(10);

/// What obtains a certificate from an authority, and keeps it.
pub(super) struct Acme {
    url: String,
    hosts: Vec<Host>,
    contact: Contact,
    external: Option<ExternalAccount>,
    state_dir: StateDir,
    directory: Directory,
    challenge: AcmeChallenge,
    challenges: Challenges,
    /// The certificate in force.
    held: Mutex<Option<Held>>,
}

/// A certificate in force.
#[derive(Clone)]
struct Held {
    /// What it says.
    certificate: Certificate,
    /// By what the authority knows it, if it says by whose key it was signed.
    id: Option<CertificateIdentifier<'static>>,
}

impl Held {
    fn new(pair: &Pair) -> Self {
        let id = CertificateIdentifier::try_from(pair.der()).ok().map(CertificateIdentifier::into_owned);
        Self { certificate: pair.certificate().clone(), id }
    }
}

impl Acme {
    /// What the settings ask for; with the certificate that is kept in `directory`, if there is one that can be used.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(super) fn open(
        settings: &config::Acme,
        url: &config::DirectoryUrl,
        directory: &Path,
    ) -> Result<(Self, Option<Pair>), OpenError> {
        let state_dir = StateDir::of(url, directory);
        let kept = state_dir.certificate()?;
        let acme = Self {
            url: url.as_str().to_owned(),
            hosts: settings.hosts.clone(),
            contact: Contact(settings.contact.clone()),
            external: settings.external_account.as_deref().map(ExternalAccount::read).transpose()?,
            state_dir,
            directory: Directory::new(settings)?,
            challenge: settings.challenge,
            challenges: Challenges::default(),
            held: Mutex::new(kept.as_ref().map(Held::new)),
        };
        Ok((acme, kept))
    }

    /// What the authority is answered when it looks whether the names lead here.
    pub(super) fn challenges(&self) -> &Challenges {
        &self.challenges
    }

    /// Obtains a certificate whenever one is due, for ever, and gives it to `put`.
    pub(super) async fn maintain(&self, put: impl Fn(&Pair) -> Result<(), rustls::Error>) -> Infallible {
        let mut failures = 0;
        let mut suggestion = None;
        loop {
            let now = OffsetDateTime::now_utc();
            let held = self.held();
            let id = held.as_ref().and_then(|held| held.id.clone());
            if let Some(id) = &id {
                suggestion = Some(self.suggestion(suggestion.take(), id, now).await);
            }
            let wanted = suggestion.as_ref().and_then(Suggestion::time);
            let held = held.map(|held| held.certificate);
            let due = schedule::due(held.as_ref(), &self.hosts, wanted);
            if let Some(left) = due.wait(now) {
                tokio::time::sleep(left.min(LOOK)).await;
                continue;
            }
            tracing::info!(
                directory = self.url,
                hosts = listed(&self.hosts),
                "asking for a certificate: {due}"
            );
            // An authority that does not say when to renew does not know what it is to replace one. One that does may
            // find something wrong with it all the same, and then it is a new one.
            let replaces = id.filter(|_| wanted.is_some() && due.is_renewal() && failures == 0);
            let obtained = self.obtain(replaces).await.and_then(|pair| {
                put(&pair).map_err(Failure::Unusable)?;
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
                    *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(Held::new(&pair));
                    LEAST
                }
                Err(failure) => {
                    let wait = schedule::pause(failures, failure.passes(), self.directory.told_to_wait());
                    failures = failures.saturating_add(1);
                    self.tell(&failure, held.as_ref(), now, wait);
                    wait
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    fn held(&self) -> Option<Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One try, from the account to a certificate that is kept.
    async fn obtain(&self, replaces: Option<CertificateIdentifier<'static>>) -> Result<Pair, Failure> {
        self.directory.begin();
        let ordered = async { self.order(&self.account().await?, replaces).await };
        let pem = match ordered.await {
            // It may have forgotten its accounts, as one that is set up anew has.
            Err(failure) if failure.is_of_a_forgotten_account() => {
                self.order(&self.new_account().await?, None).await?
            }
            ordered => ordered?,
        };
        let pair = self.state_dir.read(&pem).map_err(Failure::NoCertificate)?;
        if let Some(host) = self.hosts.iter().find(|host| !pair.certificate().covers(host)) {
            return Err(Failure::NotFor(host.clone()));
        }
        // One that cannot be kept is better than none, and ordering again would only use up the authority's patience.
        if let Err(error) = self.state_dir.keep_certificate(pem).await {
            tracing::error!(%error, "the new certificate cannot be stored; it is requested again at the next start");
        }
        Ok(pair)
    }

    fn tell(&self, failure: &Failure, held: Option<&Certificate>, now: OffsetDateTime, wait: Duration) {
        let still = match held {
            Some(certificate) if certificate.not_after > now => {
                format!("the current one stays in use until {}", certificate.until())
            }
            Some(certificate) => format!("the current one expired on {}", certificate.not_after.date()),
            None => "HTTPS is refused until there is one".to_owned(),
        };
        let again = humantime::format_duration(Duration::from_secs(wait.as_secs()));
        tracing::error!(
            directory = self.url,
            hosts = listed(&self.hosts),
            "the authority issued no certificate: {failure}; {still}; trying again in {again}"
        );
    }
}

/// The file of the certificate that an authority gave, and of its key.
#[must_use]
pub fn file(url: &config::DirectoryUrl, directory: &Path) -> PathBuf {
    StateDir::of(url, directory).certificate_file()
}

/// Why no authority can be asked. The text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Whatever it answers.
    #[error(transparent)]
    Directory(#[from] NoDirectory),
    /// Nor as whom.
    #[error(transparent)]
    Account(#[from] NoExternalAccount),
    /// A certificate is kept and cannot be read.
    #[error(transparent)]
    Kept(#[from] PairError),
}

/// Whether an authority could be asked with these settings, as far as can be told without asking.
///
/// # Errors
/// [`OpenError`].
pub(super) fn check(settings: &config::Acme) -> Result<(), OpenError> {
    settings.external_account.as_deref().map(ExternalAccount::read).transpose()?;
    Directory::new(settings)?;
    Ok(())
}
