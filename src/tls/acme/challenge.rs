//! Answers to an authority that looks whether a name leads here: a certificate of its own for TLS-ALPN-01 (RFC 8737), a
//! text under an address of its own for HTTP-01 (RFC 8555 section 8.3).

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
use crate::tls::self_signed::alternatives;

/// The protocol by which an authority looks who has the port of HTTPS (RFC 8737 section 6.2).
const ACME_TLS: &[u8] = b"acme-tls/1";

/// The answers that are ready.
#[derive(Default)]
pub(in crate::tls) struct Challenges {
    /// By the name that is called.
    tls: RwLock<HashMap<String, Arc<ServerConfig>>>,
    /// By token.
    http: RwLock<HashMap<String, String>>,
}

/// An answer that is ready for as long as this is there.
pub(super) struct Ready<'a> {
    challenges: &'a Challenges,
    asked: Asked,
}

/// What an authority asks for an answer.
enum Asked {
    /// The name that it calls.
    Name(String),
    /// The token that it names.
    Token(String),
}

impl Drop for Ready<'_> {
    fn drop(&mut self) {
        match &self.asked {
            Asked::Name(name) => drop(write(&self.challenges.tls).remove(name)),
            Asked::Token(token) => drop(write(&self.challenges.http).remove(token)),
        }
    }
}

impl Challenges {
    /// What to answer a client with, if it is an authority that looks, and an answer is ready.
    pub(in crate::tls) fn answer(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        let mut protocols = hello.alpn()?;
        // That protocol and no other (RFC 8737 section 3).
        if protocols.next()? != ACME_TLS || protocols.next().is_some() {
            return None;
        }
        read(&self.tls).get(&hello.server_name()?.to_ascii_lowercase()).cloned()
    }

    /// What to answer someone who asks for the text of a token, if there is one.
    pub(in crate::tls) fn text(&self, token: &str) -> Option<String> {
        read(&self.http).get(token).cloned()
    }

    /// Gets the answer ready to whoever connects to the port of HTTPS and looks for `host`.
    pub(super) fn ready_for_tls(&self, host: &Host, proof: &KeyAuthorization) -> Result<Ready<'_>, Failure> {
        let config = answering(host, proof.digest().as_ref())?;
        let name = server_name(host);
        write(&self.tls).insert(name.clone(), config);
        Ok(Ready { challenges: self, asked: Asked::Name(name) })
    }

    /// Gets the answer ready to whoever asks for the text of a token.
    pub(super) fn ready_for_http(&self, token: &str, proof: &KeyAuthorization) -> Ready<'_> {
        write(&self.http).insert(token.to_owned(), proof.as_str().to_owned());
        Ready { challenges: self, asked: Asked::Token(token.to_owned()) }
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// The name that an authority calls a host by. An address is none, and is called by the name under which its names are
/// looked up (RFC 8738 section 6).
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

/// What the authority looks for: the proof in an extension that no client understands (RFC 8737 section 3).
fn answering(host: &Host, digest: &[u8]) -> Result<Arc<ServerConfig>, Failure> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.subject_alt_names = alternatives(std::slice::from_ref(host))?;
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
    fn addresses_are_called_by_the_names_under_which_they_are_looked_up() {
        let name = |host: &str| server_name(&host.parse().unwrap());
        assert_eq!(name("Registry.example.com"), "registry.example.com");
        assert_eq!(name("192.0.2.7"), "7.2.0.192.in-addr.arpa");
        assert_eq!(
            name("2001:db8::1"),
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }
}
