//! A certificate with its key, as PEM files hold them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::certificate::{self, Certificate, NotACertificate};
use crate::byte_order_mark;

/// A certificate, the certificates of those who vouch for it, and its key.
#[derive(Debug)]
pub struct Pair {
    certified: Arc<CertifiedKey>,
    chain: Vec<Certificate>,
}

/// Why files are no certificate with its key. The text says which file, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not PEM.
    #[error("{} is not PEM: {reason}", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no certificate in it.
    #[error("{} holds no certificate: it should begin with -----BEGIN CERTIFICATE-----", .0.display())]
    NoCertificate(PathBuf),
    /// One of the certificates is none.
    #[error("{}: {source}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: NotACertificate,
    },
    /// There is no key in it.
    #[error("{} holds no private key: it should have -----BEGIN PRIVATE KEY-----, or RSA or EC PRIVATE KEY", .0.display())]
    NoKey(PathBuf),
    /// The key is encrypted.
    #[error("the key in {} is protected by a passphrase, for which a server cannot ask; write it without \
             one: openssl pkey -in {} -out server.key", .0.display(), .0.display())]
    Encrypted(PathBuf),
    /// It is a key of a kind that is not taken.
    #[error("the key in {} cannot be used: {reason}; RSA from 2048 bits, ECDSA P-256, P-384, P-521 and Ed25519 can", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The key is another certificate's.
    #[error("the key in {} does not belong to the first certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
}

impl Pair {
    /// Reads a pair: the certificate first, then those who vouch for it; the key as PKCS#8, PKCS#1 or SEC1. Both may
    /// be in one file.
    ///
    /// # Errors
    /// [`PairError`].
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, PairError> {
        Self::parse((certificate, &read(certificate)?), (key, &read(key)?))
    }

    /// The same, of what was read from files or is to be written to them.
    ///
    /// # Errors
    /// [`PairError`], which names the paths.
    pub(super) fn parse(
        (certificate, certificate_pem): (&Path, &[u8]),
        (key, key_pem): (&Path, &[u8]),
    ) -> Result<Self, PairError> {
        let (der, chain) = parse_chain(certificate, certificate_pem)?;
        let secret = parse_key(key, key_pem)?;
        let signing = any_supported_type(&secret)
            .map_err(|error| PairError::Key { path: key.to_owned(), reason: error.to_string() })?;
        let public = certificate::public_key(&der[0])
            .map_err(|source| PairError::Certificate { path: certificate.to_owned(), source })?;
        // rustls compares them as well, yet not for certificates that it would not take from others: those of X.509
        // version 1, which openssl makes where it is told of no extension.
        if signing.public_key().is_none_or(|mine| mine.as_ref() != public) {
            return Err(PairError::Mismatch { certificate: certificate.to_owned(), key: key.to_owned() });
        }
        Ok(Self { certified: Arc::new(CertifiedKey::new(der, signing)), chain })
    }

    /// What the certificate says.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.chain[0]
    }

    /// The certificate and those who vouch for it, in the order of the file.
    #[must_use]
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// The certificate as it stands.
    pub(super) fn der(&self) -> &CertificateDer<'static> {
        &self.certified.cert[0]
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        self.certified.clone()
    }

    /// What will keep clients from taking the pair, each with what to do.
    #[must_use]
    pub fn doubts(&self, now: time::OffsetDateTime) -> Vec<String> {
        let mut doubts = self.certificate().doubts(now);
        doubts.extend(chain_doubts(&self.certified.cert));
        for above in &self.chain[1..] {
            if now > above.not_after {
                doubts.push(format!(
                    "the certificate of {} in its chain expired on {}; replace it",
                    above.subject,
                    above.not_after.date()
                ));
            }
        }
        doubts
    }
}

/// What the certificates of a file say, of which there is at least one.
///
/// # Errors
/// [`PairError`].
pub fn certificates(path: &Path) -> Result<Vec<Certificate>, PairError> {
    Ok(read_chain(path)?.1)
}

/// The certificates of a file, of which there is at least one.
///
/// # Errors
/// [`PairError`].
pub(super) fn read_chain(path: &Path) -> Result<(Vec<CertificateDer<'static>>, Vec<Certificate>), PairError> {
    parse_chain(path, &read(path)?)
}

fn parse_chain(
    path: &Path,
    pem: &[u8],
) -> Result<(Vec<CertificateDer<'static>>, Vec<Certificate>), PairError> {
    let der = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| not_pem(path, &error))?;
    if der.is_empty() {
        return Err(PairError::NoCertificate(path.to_owned()));
    }
    let chain = der
        .iter()
        .map(|der| Certificate::read(der))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| PairError::Certificate { path: path.to_owned(), source })?;
    Ok((der, chain))
}

/// Where each certificate is not vouched for by the next one.
pub(super) fn chain_doubts(chain: &[CertificateDer<'_>]) -> Vec<String> {
    let broken = chain
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| !certificate::is_signed_by(&pair[0], &pair[1]).unwrap_or(false));
    broken
        .map(|(at, _)| {
            format!(
                "certificate {} of its file did not sign certificate {}: the file should hold the server's own \
                 certificate first, then the one that signed it, and so on",
                at + 2,
                at + 1
            )
        })
        .collect()
}

fn parse_key(path: &Path, text: &[u8]) -> Result<PrivateKeyDer<'static>, PairError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            let encrypted = text.windows(9).any(|window| window == b"ENCRYPTED");
            if encrypted { PairError::Encrypted(path.to_owned()) } else { PairError::NoKey(path.to_owned()) }
        }
        error if text.windows(9).any(|window| window == b"ENCRYPTED") => {
            // The old form says so in lines that are not base64.
            drop(error);
            PairError::Encrypted(path.to_owned())
        }
        error => not_pem(path, &error),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, PairError> {
    let text = std::fs::read(path).map_err(|source| PairError::Read { path: path.to_owned(), source })?;
    Ok(byte_order_mark::strip(&text).to_owned())
}

fn not_pem(path: &Path, error: &pem::Error) -> PairError {
    PairError::NotPem { path: path.to_owned(), reason: error.to_string() }
}
