//! X.509 certificates (RFC 5280): parsing and checks.

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;

use oci::Algorithm;

use crate::host::Host;

/// The fields of a certificate that operators need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// The distinguished name in the format of `openssl`.
    pub subject: String,
    pub issuer: String,
    /// The subjectAltName. Clients compare it with the host of the URL.
    #[serde(serialize_with = "as_text")]
    pub hosts: Vec<Host>,
    #[serde(serialize_with = "as_time")]
    pub not_before: OffsetDateTime,
    #[serde(serialize_with = "as_time")]
    pub not_after: OffsetDateTime,
    /// In hexadecimal.
    pub serial: String,
    /// `ECDSA P-256` or `RSA 2048`.
    pub key: String,
    /// The SHA-256 in the format of `openssl x509 -fingerprint -sha256`.
    pub fingerprint: String,
    /// Whether it is a CA certificate.
    pub authority: bool,
    pub self_signed: bool,
}

fn as_text<S: serde::Serializer>(hosts: &[Host], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(hosts.iter().map(ToString::to_string))
}

fn as_time<S: serde::Serializer>(time: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*time))
}

#[derive(Debug, thiserror::Error)]
#[error("not an X.509 certificate: {0}")]
pub struct ParseError(String);

impl Certificate {
    /// Reads the first certificate of a PEM file; `None` if there is none.
    #[must_use]
    pub fn of_file(file: &std::path::Path) -> Option<Self> {
        use rustls::pki_types::pem::PemObject as _;
        let der = rustls::pki_types::CertificateDer::from_pem_file(file).ok()?;
        Self::read(&der).ok()
    }

    /// Parses DER.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn read(der: &[u8]) -> Result<Self, ParseError> {
        let certificate = parse(der)?;
        let alternatives = certificate
            .subject_alternative_name()
            .ok()
            .flatten()
            .map(|extension| extension.value.general_names.as_slice())
            .unwrap_or_default();
        let hosts = alternatives.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => name.parse().ok(),
            GeneralName::IPAddress(bytes) => match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| Host::Address(bytes.into())),
                16 => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| Host::Address(bytes.into())),
                _ => None,
            },
            _ => None,
        });
        let validity = certificate.validity();
        Ok(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            hosts: hosts.collect(),
            not_before: validity.not_before.to_datetime(),
            not_after: validity.not_after.to_datetime(),
            serial: certificate.raw_serial_as_string(),
            key: key_kind(&certificate),
            fingerprint: fingerprint(der),
            authority: certificate.is_ca(),
            self_signed: certificate.subject() == certificate.issuer(),
        })
    }

    /// Whether it is valid for `host`.
    #[must_use]
    pub fn covers(&self, host: &Host) -> bool {
        self.hosts.iter().any(|covered| covered.covers(host))
    }

    /// The time of expiry in RFC 3339 format.
    #[must_use]
    pub fn until(&self) -> String {
        rfc3339(self.not_after)
    }

    /// The host in the common name of the subject. Clients ignore it since subjectAltName exists.
    #[must_use]
    pub fn common_name(&self) -> Option<Host> {
        let name = self.subject.split(", ").find_map(|part| part.strip_prefix("CN="))?;
        name.parse().ok()
    }

    /// The reasons for which clients reject it, each with advice.
    #[must_use]
    pub fn warnings(&self, now: OffsetDateTime) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.hosts.is_empty() {
            let host = self.common_name().unwrap_or_else(|| Host::Name("registry.example.com".to_owned()));
            warnings.push(format!(
                "it has no host in a subjectAltName, so clients written in Go (docker, containerd, podman, buildah, \
                 skopeo, crane, oras, helm) refuse it; make one with: openssl req -newkey rsa:2048 -nodes \
                 -keyout server.key -x509 -days 3650 -out server.pem -subj \"/CN={host}\" \
                 -addext \"subjectAltName={}\"",
                host.as_openssl()
            ));
        }
        if now > self.not_after {
            warnings.push(format!("it expired on {}; replace it", self.not_after.date()));
        } else if now < self.not_before {
            warnings.push(format!(
                "it is not valid before {}; check the clock of this machine",
                rfc3339(self.not_before)
            ));
        }
        warnings
    }
}

/// Formats a time as RFC 3339.
pub(super) fn rfc3339(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}

/// Whether `certificate` names `issuer` and is signed with its key.
pub(super) fn is_signed_by(certificate: &[u8], issuer: &[u8]) -> Result<bool, ParseError> {
    let (certificate, issuer) = (parse(certificate)?, parse(issuer)?);
    Ok(certificate.issuer() == issuer.subject()
        && certificate.verify_signature(Some(issuer.public_key())).is_ok())
}

/// The SubjectPublicKeyInfo.
pub(super) fn public_key(der: &[u8]) -> Result<Vec<u8>, ParseError> {
    Ok(parse(der)?.public_key().raw.to_vec())
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, ParseError> {
    X509Certificate::from_der(der)
        .map(|(_, certificate)| certificate)
        .map_err(|error| ParseError(error.to_string()))
}

fn key_kind(certificate: &X509Certificate<'_>) -> String {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA {}", key.key_size()),
        Ok(PublicKey::EC(point)) => format!("ECDSA P-{}", point.key_size()),
        _ => match certificate.public_key().algorithm.algorithm.to_id_string().as_str() {
            "1.3.101.112" => "Ed25519".to_owned(),
            other => other.to_owned(),
        },
    }
}

fn fingerprint(der: &[u8]) -> String {
    let hex = Algorithm::Sha256.digest(der).hex().to_uppercase();
    let pairs: Vec<&str> = (0..hex.len()).step_by(2).map(|at| &hex[at..at + 2]).collect();
    pairs.join(":")
}
