//! A certificate chain with its key, read from PEM files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::certificate::{self, Certificate, ParseError};
use crate::byte_order_mark;
use crate::operator_file;

/// A certificate chain with the key of its first certificate.
#[derive(Debug)]
pub struct Pair {
    certified: Arc<CertifiedKey>,
    chain: Vec<Certificate>,
}

/// Why files contain no certificate with its key.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is not PEM: {reason}", path.display())]
    NotPem { path: PathBuf, reason: String },
    #[error("{} contains no certificate: it should begin with -----BEGIN CERTIFICATE-----", .0.display())]
    NoCertificate(PathBuf),
    #[error("{}: {source}", path.display())]
    Certificate { path: PathBuf, source: ParseError },
    #[error("{} contains no private key: it should have -----BEGIN PRIVATE KEY-----, or RSA or EC PRIVATE KEY", .0.display())]
    NoKey(PathBuf),
    #[error("the key in {} is encrypted, and a server cannot ask for its passphrase; decrypt it with: \
             openssl pkey -in {} -out server.key", .0.display(), .0.display())]
    Encrypted(PathBuf),
    #[error("the key in {} cannot be used: {reason}; use RSA from 2048 bits, ECDSA P-256, P-384, P-521 or Ed25519", path.display())]
    Key { path: PathBuf, reason: String },
    #[error("the key in {} does not belong to the first certificate in {}", key.display(), certificate.display())]
    Mismatch { certificate: PathBuf, key: PathBuf },
}

impl Pair {
    /// Reads the chain, own certificate first, and the key in PKCS#8, PKCS#1 or SEC1. Both may be in one
    /// file.
    ///
    /// # Errors
    /// [`PairError`].
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, PairError> {
        Self::parse((certificate, &read(certificate)?), (key, &read(key)?))
    }

    /// Parses PEM. The paths are for errors.
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
        // rustls does not compare the key with an X.509 version 1 certificate, which openssl creates if no
        // extension is requested.
        if signing.public_key().is_none_or(|signing| signing.as_ref() != public) {
            return Err(PairError::Mismatch { certificate: certificate.to_owned(), key: key.to_owned() });
        }
        Ok(Self { certified: Arc::new(CertifiedKey::new(der, signing)), chain })
    }

    /// The server's own certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.chain[0]
    }

    /// All certificates in the order of the file.
    #[must_use]
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// The server's own certificate as DER.
    pub(super) fn der(&self) -> &CertificateDer<'static> {
        &self.certified.cert[0]
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        self.certified.clone()
    }

    /// The reasons for which clients reject the chain, each with advice.
    #[must_use]
    pub fn warnings(&self, now: time::OffsetDateTime) -> Vec<String> {
        let mut warnings = self.certificate().warnings(now);
        warnings.extend(chain_warnings(&self.certified.cert));
        for issuer in &self.chain[1..] {
            if now > issuer.not_after {
                warnings.push(format!(
                    "the certificate of {} in its chain expired on {}; replace it",
                    issuer.subject,
                    issuer.not_after.date()
                ));
            }
        }
        warnings
    }
}

/// Reads the certificates of a file, which contains at least one.
///
/// # Errors
/// [`PairError`].
pub fn certificates(path: &Path) -> Result<Vec<Certificate>, PairError> {
    Ok(read_chain(path)?.1)
}

/// Like [`certificates`], with the DER encodings.
pub(crate) fn read_chain(path: &Path) -> Result<(Vec<CertificateDer<'static>>, Vec<Certificate>), PairError> {
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

/// A warning for each certificate that the next one did not sign.
pub(super) fn chain_warnings(chain: &[CertificateDer<'_>]) -> Vec<String> {
    let broken = chain
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| !certificate::is_signed_by(&pair[0], &pair[1]).unwrap_or(false));
    broken
        .map(|(at, _)| {
            format!(
                "certificate {} of its file did not sign certificate {}: the file should contain the server's own \
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
            // The traditional format has header lines, which are not base64.
            drop(error);
            PairError::Encrypted(path.to_owned())
        }
        error => not_pem(path, &error),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, PairError> {
    let text =
        operator_file::read(path).map_err(|source| PairError::Read { path: path.to_owned(), source })?;
    Ok(byte_order_mark::strip(&text).to_owned())
}

fn not_pem(path: &Path, error: &pem::Error) -> PairError {
    PairError::NotPem { path: path.to_owned(), reason: error.to_string() }
}
