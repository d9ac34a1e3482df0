//! Which certificate is in force, where it comes from, and how a new one takes its place.

use std::convert::Infallible;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, ServerConfig,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use time::OffsetDateTime;

use super::acme::{self, Acme};
use super::pair::{Pair, PairError};
use super::self_signed::{self, MakeError, Outcome};
use crate::config::{Config, Tls};
use crate::host::Host;

/// How often files are looked at.
const TICK: Duration = Duration::from_secs(1);
/// From when on it is said each day that a certificate will end.
const NOTICE: time::Duration = time::Duration::days(14);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Why there is no certificate to begin with. The text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The files of the configuration are no certificate with its key.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// The self-signed one cannot be made.
    #[error(transparent)]
    Make(#[from] MakeError),
    /// No authority can be asked for one.
    #[error(transparent)]
    Acme(#[from] acme::OpenError),
    /// It cannot be used for TLS.
    #[error("this certificate cannot be used for HTTPS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From files that the operator looks after.
    Files,
    /// It was made here, and vouches for itself.
    SelfSigned {
        /// The file that clients need.
        certificate: PathBuf,
        /// Its hosts, as the configuration names them.
        hosts: Vec<Host>,
    },
    /// An authority gives it.
    Authority {
        /// Its hosts, as the configuration names them.
        hosts: Vec<Host>,
    },
}

/// The certificate in force, and what looks after it.
pub(super) struct CertificateStore {
    origin: Origin,
    current: RwLock<Arc<ServerConfig>>,
    terms: TlsOptions,
    keeper: Maintainer,
}

/// Who looks after the certificate.
enum Maintainer {
    /// Nobody has to.
    Nobody,
    /// The operator does, and what changes is taken.
    Operator(Files),
    /// An authority gives it anew in good time.
    Authority(Box<Acme>),
}

/// What all certificates are used with.
struct TlsOptions {
    protocols: Vec<Vec<u8>>,
    /// Sessions go on when the certificate changes.
    tickets: Arc<dyn ProducesTickets>,
}

impl CertificateStore {
    /// What the configuration asks for; `None` if it asks for no TLS.
    pub(super) fn open(config: &Config, directory: &Path) -> Result<Option<Self>, OpenError> {
        let tls = &config.tls;
        let (origin, pair, keeper) = if let Some(files) = Files::of(tls) {
            let pair = files.read()?;
            (Origin::Files, Some(pair), Maintainer::Operator(files))
        } else if !tls.self_signed.is_empty() {
            let kept = self_signed::keep(directory, &tls.self_signed)?;
            if let Outcome::Replaced(reason) = &kept.fate {
                tracing::warn!(
                    certificate = %kept.certificate.display(),
                    "the self-signed certificate was replaced, because {reason}; clients that trust the old one need the new one: \
                     `wharfinger cert show`"
                );
            }
            let origin = Origin::SelfSigned { certificate: kept.certificate, hosts: tls.self_signed.clone() };
            (origin, Some(kept.pair), Maintainer::Nobody)
        } else if let Some(url) = &config.acme.directory {
            let (acme, kept) = Acme::open(&config.acme, url, directory)?;
            let origin = Origin::Authority { hosts: config.acme.hosts.clone() };
            (origin, kept, Maintainer::Authority(Box::new(acme)))
        } else {
            return Ok(None);
        };
        let mut protocols = vec![b"http/1.1".to_vec()];
        if tls.http2 {
            protocols.insert(0, b"h2".to_vec());
        }
        let terms = TlsOptions { protocols, tickets: aws_lc_rs::Ticketer::new()? };
        let source =
            Self { origin, current: RwLock::new(terms.config(Arc::new(NoCertificate))?), terms, keeper };
        if let Some(pair) = pair {
            source.put(&pair)?;
        }
        Ok(Some(source))
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What connections are made with.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a client is answered with that is an authority, looking whether a host leads here.
    pub(super) fn challenge(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        match &self.keeper {
            Maintainer::Authority(acme) => acme.challenges().answer(hello),
            Maintainer::Nobody | Maintainer::Operator(_) => None,
        }
    }

    /// What someone is answered who asks for the text of a token, in plain HTTP.
    pub(super) fn challenge_text(&self, token: &str) -> Option<String> {
        match &self.keeper {
            Maintainer::Authority(acme) => acme.challenges().text(token),
            Maintainer::Nobody | Maintainer::Operator(_) => None,
        }
    }

    /// Puts a pair in force.
    fn put(&self, pair: &Pair) -> Result<(), rustls::Error> {
        let config = self.terms.config(Arc::new(SingleCertAndKey::from(pair.certified())))?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
        self.tell_doubts(pair);
        Ok(())
    }

    /// Looks after the certificate, for ever.
    pub(super) async fn maintain(&self) -> Infallible {
        match &self.keeper {
            Maintainer::Nobody => std::future::pending().await,
            Maintainer::Operator(files) => self.follow(files).await,
            Maintainer::Authority(acme) => Box::pin(acme.maintain(|pair| self.put(pair))).await,
        }
    }

    /// Says in the log what will keep clients from taking a certificate, now or soon. What an authority gives is its
    /// own business, and renewed before it ends.
    fn tell_doubts(&self, pair: &Pair) {
        if matches!(self.keeper, Maintainer::Authority(_)) {
            return;
        }
        let now = OffsetDateTime::now_utc();
        let certificate = pair.certificate();
        for doubt in pair.doubts(now) {
            tracing::warn!(subject = certificate.subject, "the certificate: {doubt}");
        }
        let left = certificate.not_after - now;
        if left > time::Duration::ZERO && left < NOTICE {
            tracing::warn!(
                until = certificate.until(),
                "the certificate expires in {} days; replace it before",
                left.whole_days()
            );
        }
    }

    /// Takes the files anew whenever they change. What cannot be used is told once, and the last good pair stays.
    async fn follow(&self, files: &Files) -> Infallible {
        let mut loaded = files.stamp();
        let mut seen = loaded;
        let mut told = tokio::time::Instant::now();
        loop {
            tokio::time::sleep(TICK).await;
            let stamp = files.stamp();
            // A certificate and its key are two files: they are taken when they have been still for a moment, or the
            // one would be compared with the other's predecessor.
            let still = stamp == seen;
            seen = stamp;
            if told.elapsed() >= DAY {
                told = tokio::time::Instant::now();
                if let Ok(pair) = files.read() {
                    self.tell_doubts(&pair);
                }
            }
            if stamp == loaded || !still {
                continue;
            }
            loaded = stamp;
            self.take(files);
        }
    }

    /// Reads the files again now. What is not in files has nothing to be read.
    pub(super) fn reload(&self) {
        if let Maintainer::Operator(files) = &self.keeper {
            self.take(files);
        }
    }

    fn take(&self, files: &Files) {
        let taken = files.read().map_err(OpenError::from).and_then(|pair| Ok((self.put(&pair)?, pair).1));
        match taken {
            Ok(pair) => tracing::info!(
                certificate = %files.certificate.display(),
                until = pair.certificate().until(),
                fingerprint = pair.certificate().fingerprint,
                "the certificate was read again, and is in force"
            ),
            Err(error) => tracing::error!(
                %error,
                "the certificate or its key cannot be used; the last good one stays in force"
            ),
        }
    }
}

impl TlsOptions {
    fn config(&self, certificate: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(certificate);
        config.alpn_protocols.clone_from(&self.protocols);
        config.ticketer = self.tickets.clone();
        // Clients keep their sessions themselves, in tickets.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(config))
    }
}

/// There is no certificate yet: whoever connects is refused with an alert. One that nobody trusts in its stead would
/// only have people tell their clients to trust anything.
#[derive(Debug)]
struct NoCertificate;

impl ResolvesServerCert for NoCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

/// Whether what the configuration names can be used for HTTPS, as far as that can be told without making anything or
/// asking anyone.
///
/// # Errors
/// [`OpenError`].
pub fn check(config: &Config) -> Result<(), OpenError> {
    if let Some(files) = Files::of(&config.tls) {
        files.read()?;
    } else if config.acme.directory.is_some() {
        acme::check(&config.acme)?;
    }
    Ok(())
}

/// Two files that the operator looks after.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// What tells one state of the files from another, whatever way they were changed: written, replaced, or a link to
/// them turned elsewhere.
type Stamp = [Option<(u64, u64, i64, i64, u64)>; 2];

impl Files {
    /// Those that the configuration names.
    fn of(tls: &Tls) -> Option<Self> {
        let certificate = tls.certificate.clone()?;
        // Both may be in one file.
        let key = tls.key.clone().unwrap_or_else(|| certificate.clone());
        Some(Self { certificate, key })
    }

    fn read(&self) -> Result<Pair, PairError> {
        Pair::read(&self.certificate, &self.key)
    }

    fn stamp(&self) -> Stamp {
        [&self.certificate, &self.key].map(|path| {
            let of = std::fs::metadata(path).ok()?;
            Some((of.dev(), of.ino(), of.mtime(), of.mtime_nsec(), of.len()))
        })
    }
}
