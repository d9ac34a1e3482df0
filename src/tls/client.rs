//! TLS client: verifies the certificates of other servers, for the commands and the gateway.
//!
//! A certificate that is itself in the trust store is accepted for its hosts, as by OpenSSL and Go. By
//! itself, rustls rejects a CA certificate, and `openssl req -x509` creates only such ones.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::certificate::Certificate;

/// Whether the system's trust store is used besides the named certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    Trusted,
    Ignored,
}

/// The configuration of a TLS client that trusts `named`.
///
/// # Errors
/// [`rustls::Error`] if the TLS library cannot be initialized.
pub fn config(named: Vec<CertificateDer<'static>>, system: System) -> Result<ClientConfig, Error> {
    config_with_identity(named, system, None)
}

/// The same, with a client certificate and its key.
///
/// # Errors
/// [`rustls::Error`] if the certificate and the key do not fit.
pub fn config_with_identity(
    named: Vec<CertificateDer<'static>>,
    system: System,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Result<ClientConfig, Error> {
    let mut trusted = named;
    if system == System::Trusted {
        trusted.extend(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Verifier::new(trusted, provider.clone());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key),
        None => Ok(builder.with_no_client_auth()),
    }
}

#[derive(Debug)]
struct Verifier {
    /// Verifies chains; `None` without a root certificate.
    chains: Option<Arc<WebPkiServerVerifier>>,
    trusted: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(trusted: Vec<CertificateDer<'static>>, provider: Arc<CryptoProvider>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(trusted.iter().cloned());
        let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        Self { chains: chains.ok(), trusted, provider }
    }

    /// Checks the validity and the hosts of a certificate that is in the trust store itself.
    fn verify_trusted(
        &self,
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let fields = Certificate::read(certificate).map_err(|_| CertificateError::BadEncoding)?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now > fields.not_after.unix_timestamp() {
            return Err(CertificateError::Expired.into());
        }
        if now < fields.not_before.unix_timestamp() {
            return Err(CertificateError::NotValidYet.into());
        }
        verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
        Ok(ServerCertVerified::assertion())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.trusted.iter().any(|trusted| trusted == certificate) {
            return self.verify_trusted(certificate, name, now);
        }
        match &self.chains {
            Some(chains) => chains.verify_server_cert(certificate, intermediates, name, ocsp, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject as _;

    use super::*;
    use crate::tls::self_signed;

    fn certificate(host: &str, days: u32) -> CertificateDer<'static> {
        let created = self_signed::create(&[host.parse().unwrap()], days).unwrap();
        CertificateDer::from_pem_slice(created.certificate.as_bytes()).unwrap()
    }

    fn verify(
        trusted: &CertificateDer<'static>,
        shown: &CertificateDer<'static>,
        name: &str,
        day: u64,
    ) -> Result<(), Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = Verifier::new(vec![trusted.clone()], provider);
        let now = UnixTime::since_unix_epoch(
            UnixTime::now().as_secs().checked_add(day * 86_400).map(std::time::Duration::from_secs).unwrap(),
        );
        let name = ServerName::try_from(name.to_owned()).unwrap();
        verifier.verify_server_cert(shown, &[], &name, &[], now).map(drop)
    }

    #[test]
    fn named_certificate_is_trusted_for_its_names() {
        let (own, other) = (certificate("a.example", 10), certificate("a.example", 10));
        assert_eq!(verify(&own, &own, "a.example", 0), Ok(()));
        for (shown, name, day) in [(&own, "b.example", 0), (&own, "a.example", 11), (&other, "a.example", 0)]
        {
            let refused = verify(&own, shown, name, day);
            assert!(matches!(refused, Err(Error::InvalidCertificate(_))), "{name} {day} {refused:?}");
        }
    }
}
