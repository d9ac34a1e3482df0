//! A certificate and an htpasswd file for servers that speak HTTPS and have accounts.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use rustls::crypto::aws_lc_rs;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::{ClientConfig, RootCertStore};

/// The account that requests are sent with; its namespace is that of the image.
pub(crate) const ACCOUNT: &str = "bench";
/// The password of every account.
const PASSWORD: &str = "correct-horse-battery";
/// The default cost of `htpasswd -B`.
const BCRYPT_COST: u32 = 5;

/// The files, and what clients need beside them.
pub(crate) struct Security {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// The users, as `htpasswd -B` writes them.
    pub(crate) users: PathBuf,
    /// How clients speak TLS with whoever has that certificate.
    pub(crate) client: Arc<ClientConfig>,
}

impl Security {
    /// Makes the files below a directory. In the file of users, [`ACCOUNT`] is the first, and then come so
    /// many others, whom [`stranger`] names.
    pub(crate) fn make(directory: &Path, strangers: usize) -> Result<Self> {
        // The key size of the usual recipe: `openssl genrsa 2048`.
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.self_signed(&pair)?;
        let made = Self {
            certificate: directory.join("server.pem"),
            key: directory.join("server.key"),
            users: directory.join("users"),
            client: Arc::new(client(&certificate)?),
        };
        fs::write(&made.certificate, certificate.pem())?;
        fs::write(&made.key, pair.serialize_pem())?;
        // The same hash for all: to compare with one takes as long as with another.
        let hash = bcrypt::hash(PASSWORD, BCRYPT_COST)?;
        let mut users = format!("{ACCOUNT}:{hash}\n");
        for number in 0..strangers {
            let _ = writeln!(users, "{}:{hash}", stranger(number));
        }
        fs::write(&made.users, users)?;
        Ok(made)
    }
}

/// The name of one of the other users.
pub(crate) fn stranger(number: usize) -> String {
    format!("user-{number:06}")
}

/// The value of `Authorization` for that account (RFC 7617).
pub(crate) fn basic(account: &str) -> String {
    basic_with(account, PASSWORD)
}

/// The same with another secret in place of the password.
pub(crate) fn basic_with(account: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{account}:{secret}")))
}

/// The password, as a registry keeps it that hashes passwords with argon2id of the usual cost.
pub(crate) fn argon2_hash() -> Result<String> {
    use argon2::password_hash::PasswordHasher as _;
    let hash = argon2::Argon2::default().hash_password(PASSWORD.as_bytes());
    Ok(hash.map_err(|error| anyhow::anyhow!("hashing a password: {error}"))?.to_string())
}

/// TLS 1.3 with the suite that Go's clients, docker among them, ask for first.
fn client(certificate: &rcgen::Certificate) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).context("trusting the certificate")?;
    let provider = rustls::crypto::CryptoProvider {
        cipher_suites: vec![TLS13_AES_128_GCM_SHA256],
        ..aws_lc_rs::default_provider()
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Each connection is to have a handshake of its own, as a client's first has.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}
