//! The certificate in use: where it comes from, and how a new one replaces it without a restart.

use std::convert::Infallible;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, ServerConfig,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use time::OffsetDateTime;

use super::acme::{self, Acme};
use super::certificate::Certificate;
use super::pair::{Pair, PairError};
use super::self_signed::{self, CreateError, Outcome};
use crate::config::{Config, Tls};
use crate::host::Host;

/// How often the files are polled for changes.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How long before its expiry a certificate is logged each day.
const EXPIRY_NOTICE: time::Duration = time::Duration::days(14);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Why the server has no certificate at its start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Pair(#[from] PairError),
    #[error(transparent)]
    Create(#[from] CreateError),
    #[error(transparent)]
    Acme(#[from] acme::OpenError),
    #[error("the certificate in {} expired on {}: replace it by a renewed one", .0.display(), .1)]
    Expired(PathBuf, time::Date),
    #[error("this certificate cannot be used for HTTPS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From files of the operator.
    Files,
    /// Created by this server. `certificate` is the file that clients need.
    SelfSigned { certificate: PathBuf, hosts: Vec<Host> },
    /// Ordered from an authority.
    Authority { hosts: Vec<Host> },
}

/// The current certificate and its maintainer.
pub(super) struct CertificateStore {
    origin: Origin,
    current: RwLock<Arc<ServerConfig>>,
    /// The end of the current certificate, in seconds since 1970; 0 without one.
    expiry: AtomicI64,
    options: TlsOptions,
    maintainer: Maintainer,
}

/// The task that replaces the certificate.
enum Maintainer {
    None,
    /// Reloads the files of the operator when they change.
    Files(Files),
    /// Renews the certificate at an authority.
    Acme(Box<Acme>),
}

/// The TLS settings that are the same for every certificate.
struct TlsOptions {
    /// For ALPN.
    protocols: Vec<Vec<u8>>,
    /// Shared, so that sessions resume after a change of the certificate.
    tickets: Arc<dyn ProducesTickets>,
}

impl CertificateStore {
    /// Opens the certificate of the configuration; `None` without TLS.
    pub(super) fn open(config: &Config, directory: &Path) -> Result<Option<Self>, OpenError> {
        let tls = &config.tls;
        let (origin, pair, maintainer) = if let Some(files) = Files::new(tls) {
            let pair = files.read()?;
            (Origin::Files, Some(pair), Maintainer::Files(files))
        } else if !tls.self_signed.is_empty() {
            let stored = self_signed::load_or_create(directory, &tls.self_signed)?;
            if let Outcome::Replaced(reason) = &stored.outcome {
                tracing::warn!(
                    certificate = %stored.certificate.display(),
                    "the self-signed certificate was replaced, because {reason}; clients that trust the old one need the new one: \
                     `wharfinger cert show`"
                );
            }
            let origin =
                Origin::SelfSigned { certificate: stored.certificate, hosts: tls.self_signed.clone() };
            (origin, Some(stored.pair), Maintainer::None)
        } else if let Some(url) = &config.acme.directory {
            let (acme, stored) = Acme::open(&config.acme, url, directory)?;
            let origin = Origin::Authority { hosts: config.acme.hosts.clone() };
            (origin, stored, Maintainer::Acme(Box::new(acme)))
        } else {
            return Ok(None);
        };
        let mut protocols = vec![b"http/1.1".to_vec()];
        if tls.http2 {
            protocols.insert(0, b"h2".to_vec());
        }
        let options = TlsOptions { protocols, tickets: aws_lc_rs::Ticketer::new()? };
        let current = RwLock::new(options.config(Arc::new(NoCertificate))?);
        let store = Self { origin, current, expiry: AtomicI64::new(0), options, maintainer };
        if let Some(pair) = pair {
            store.install(&pair)?;
        }
        Ok(Some(store))
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The configuration of new connections.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The configuration for a handshake that validates a TLS-ALPN-01 challenge.
    pub(super) fn challenge_config(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        match &self.maintainer {
            Maintainer::Acme(acme) => acme.challenges().tls_response(hello),
            Maintainer::None | Maintainer::Files(_) => None,
        }
    }

    /// The response to an HTTP-01 challenge.
    pub(super) fn challenge_text(&self, token: &str) -> Option<String> {
        match &self.maintainer {
            Maintainer::Acme(acme) => acme.challenges().http_response(token),
            Maintainer::None | Maintainer::Files(_) => None,
        }
    }

    pub(super) fn expiry(&self) -> Option<i64> {
        Some(self.expiry.load(Ordering::Relaxed)).filter(|expiry| *expiry != 0)
    }

    fn install(&self, pair: &Pair) -> Result<(), rustls::Error> {
        let config = self.options.config(Arc::new(SingleCertAndKey::from(pair.certified())))?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
        self.expiry.store(pair.certificate().not_after.unix_timestamp(), Ordering::Relaxed);
        self.log_warnings(pair);
        Ok(())
    }

    /// Keeps the certificate up to date. Never returns.
    pub(super) async fn maintain(&self) -> Infallible {
        match &self.maintainer {
            Maintainer::None => std::future::pending().await,
            Maintainer::Files(files) => self.watch(files).await,
            Maintainer::Acme(acme) => Box::pin(acme.maintain(|pair| self.install(pair))).await,
        }
    }

    /// Logs why clients reject a certificate, now or soon. Certificates of an authority are renewed in time
    /// and are skipped.
    fn log_warnings(&self, pair: &Pair) {
        if matches!(self.maintainer, Maintainer::Acme(_)) {
            return;
        }
        let now = OffsetDateTime::now_utc();
        let certificate = pair.certificate();
        for warning in pair.warnings(now) {
            tracing::warn!(subject = certificate.subject, "the certificate: {warning}");
        }
        let left = certificate.not_after - now;
        if left > time::Duration::ZERO && left < EXPIRY_NOTICE {
            tracing::warn!(
                until = certificate.until(),
                "the certificate expires in {} days; replace it before",
                left.whole_days()
            );
        }
    }

    /// Reloads the files when they change. An invalid pair is logged once, and the last valid pair stays.
    async fn watch(&self, files: &Files) -> Infallible {
        let mut loaded = files.stamp();
        let mut seen = loaded;
        let mut last_warning = tokio::time::Instant::now();
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            let stamp = files.stamp();
            // Debounce: certificate and key are two files, and a reload between their writes would see a
            // mismatch.
            let is_stable = stamp == seen;
            seen = stamp;
            if last_warning.elapsed() >= DAY {
                last_warning = tokio::time::Instant::now();
                if let Ok(pair) = files.read() {
                    self.log_warnings(&pair);
                }
            }
            if stamp == loaded || !is_stable {
                continue;
            }
            loaded = stamp;
            // An error was logged.
            let _ = self.load(files);
        }
    }

    /// Reloads the files of the operator now.
    pub(super) fn reload(&self) -> Result<(), String> {
        match &self.maintainer {
            Maintainer::Files(files) => self.load(files),
            Maintainer::None | Maintainer::Acme(_) => Ok(()),
        }
    }

    fn load(&self, files: &Files) -> Result<(), String> {
        let loaded = files.read().map_err(OpenError::from).and_then(|pair| {
            let now = OffsetDateTime::now_utc();
            let (certificate, expiry) = (pair.certificate(), self.expiry.load(Ordering::Relaxed));
            if is_worse(certificate, expiry, now) {
                return Err(OpenError::Expired(files.certificate.clone(), certificate.not_after.date()));
            }
            self.install(&pair)?;
            Ok(pair)
        });
        match loaded {
            Ok(pair) => {
                tracing::info!(
                    certificate = %files.certificate.display(),
                    until = pair.certificate().until(),
                    fingerprint = pair.certificate().fingerprint,
                    "the certificate was reloaded"
                );
                Ok(())
            }
            Err(error) => {
                tracing::error!(
                    %error,
                    "the certificate or its key is invalid; the last valid one stays in use"
                );
                Err(error.to_string())
            }
        }
    }
}

/// Whether a certificate has expired, unlike the one in use, which expires at `expiry` in seconds since 1970.
fn is_worse(certificate: &Certificate, expiry: i64, now: OffsetDateTime) -> bool {
    now > certificate.not_after && now.unix_timestamp() < expiry
}

impl TlsOptions {
    fn config(&self, certificate: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(certificate);
        config.alpn_protocols.clone_from(&self.protocols);
        config.ticketer = self.tickets.clone();
        // Sessions are in tickets, which clients store.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(config))
    }
}

/// Refuses handshakes with an alert as long as there is no certificate. An untrusted placeholder would teach
/// users to disable verification.
#[derive(Debug)]
struct NoCertificate;

impl ResolvesServerCert for NoCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

/// Checks the files that the configuration names. Creates no file and sends no request.
///
/// # Errors
/// [`OpenError`].
pub fn check(config: &Config) -> Result<(), OpenError> {
    if let Some(files) = Files::new(&config.tls) {
        files.read()?;
    } else if config.acme.directory.is_some() {
        acme::check(&config.acme)?;
    }
    Ok(())
}

/// The files of the operator. They may be the same.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// Device, inode, modification time and size of both files: differs after a write, a rename and a changed
/// symlink.
type Stamp = [Option<(u64, u64, i64, i64, u64)>; 2];

impl Files {
    fn new(tls: &Tls) -> Option<Self> {
        let certificate = tls.certificate.clone()?;
        let key = tls.key.clone().unwrap_or_else(|| certificate.clone());
        Some(Self { certificate, key })
    }

    fn read(&self) -> Result<Pair, PairError> {
        Pair::read(&self.certificate, &self.key)
    }

    fn stamp(&self) -> Stamp {
        [&self.certificate, &self.key].map(|path| {
            let file = std::fs::metadata(path).ok()?;
            Some((file.dev(), file.ino(), file.mtime(), file.mtime_nsec(), file.len()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expired_certificate_replaces_no_valid_one() {
        let directory = tempfile::tempdir().unwrap();
        let hosts: [Host; 1] = ["registry.example.com".parse().unwrap()];
        let created = self_signed::create(&hosts, 1).unwrap();
        let (certificate, key) = (directory.path().join("server.pem"), directory.path().join("server.key"));
        std::fs::write(&certificate, created.certificate).unwrap();
        std::fs::write(&key, created.key).unwrap();
        let pair = Pair::read(&certificate, &key).unwrap();
        let now = OffsetDateTime::now_utc();
        let (tomorrow, later) = (now + 2 * DAY, (now + 10 * DAY).unix_timestamp());
        assert!(is_worse(pair.certificate(), later, tomorrow));
        assert!(!is_worse(pair.certificate(), later, now), "it has not expired yet");
        assert!(!is_worse(pair.certificate(), now.unix_timestamp(), tomorrow), "both have expired");
        assert!(!is_worse(pair.certificate(), 0, tomorrow), "there is none");
    }
}
