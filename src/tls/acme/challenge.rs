//! Responses to challenges: a special certificate for TLS-ALPN-01 (RFC 8737), a text at a well-known URL for
//! HTTP-01 (RFC 8555 section 8.3).

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use instant_acme::KeyAuthorization;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ServerConfig};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::failure::Failure;
use crate::host::Host;
use crate::tls::self_signed::subject_alternative_names;

/// The ALPN protocol of a validation (RFC 8737 section 6.2).
const ACME_TLS: &[u8] = b"acme-tls/1";

/// The published responses.
#[derive(Default)]
pub(in crate::tls) struct Challenges {
    /// By server name (SNI).
    tls: RwLock<HashMap<String, Arc<ServerConfig>>>,
    /// By token.
    http: RwLock<HashMap<String, String>>,
}

/// A response that is withdrawn when this is dropped.
pub(super) struct Published<'a> {
    challenges: &'a Challenges,
    key: Key,
}

enum Key {
    ServerName(String),
    Token(String),
}

impl Drop for Published<'_> {
    fn drop(&mut self) {
        match &self.key {
            Key::ServerName(name) => drop(write(&self.challenges.tls).remove(name)),
            Key::Token(token) => drop(write(&self.challenges.http).remove(token)),
        }
    }
}

impl Challenges {
    /// The TLS configuration for a handshake that validates a published challenge.
    pub(in crate::tls) fn tls_response(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        let mut protocols = hello.alpn()?;
        // The client offers this protocol only (RFC 8737 section 3).
        if protocols.next()? != ACME_TLS || protocols.next().is_some() {
            return None;
        }
        read(&self.tls).get(&hello.server_name()?.to_ascii_lowercase()).cloned()
    }

    /// The key authorization for a published token.
    pub(in crate::tls) fn http_response(&self, token: &str) -> Option<String> {
        read(&self.http).get(token).cloned()
    }

    pub(super) fn publish_tls(
        &self,
        host: &Host,
        key_authorization: &KeyAuthorization,
    ) -> Result<Published<'_>, Failure> {
        let config = validation_config(host, key_authorization.digest().as_ref())?;
        let name = server_name(host);
        write(&self.tls).insert(name.clone(), config);
        Ok(Published { challenges: self, key: Key::ServerName(name) })
    }

    pub(super) fn publish_http(&self, token: &str, key_authorization: &KeyAuthorization) -> Published<'_> {
        write(&self.http).insert(token.to_owned(), key_authorization.as_str().to_owned());
        Published { challenges: self, key: Key::Token(token.to_owned()) }
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// The server name (SNI) of a validation. For an address it is the name of its reverse lookup (RFC 8738
/// section 6).
fn server_name(host: &Host) -> String {
    match host {
        Host::Name(name) => name.clone(),
        Host::Address(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        Host::Address(IpAddr::V6(address)) => {
            let mut name = String::new();
            for byte in address.octets().iter().rev() {
                let _ = write!(name, "{:x}.{:x}.", byte & 0xf, byte >> 4);
            }
            name + "ip6.arpa"
        }
    }
}

/// A certificate with the key authorization in a critical extension (RFC 8737 section 3).
fn validation_config(host: &Host, digest: &[u8]) -> Result<Arc<ServerConfig>, Failure> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.subject_alt_names = subject_alternative_names(std::slice::from_ref(host))?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key)?.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = any_supported_type(&key).map_err(Failure::Unusable)?;
    let certified = CertifiedKey::new(vec![certificate], key);
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(Failure::Unusable)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_name_of_address_is_its_reverse_name() {
        let name = |host: &str| server_name(&host.parse().unwrap());
        assert_eq!(name("Registry.example.com"), "registry.example.com");
        assert_eq!(name("192.0.2.7"), "7.2.0.192.in-addr.arpa");
        assert_eq!(
            name("2001:db8::1"),
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }
}
