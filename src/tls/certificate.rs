//! What a certificate says: for whom, how long, with which key (RFC 5280).

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;

use oci::Algorithm;

use crate::host::Host;

/// What one certificate says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// The subject's distinguished name, as `openssl` prints it.
    pub subject: String,
    /// The distinguished name of whoever signed it.
    pub issuer: String,
    /// The names and addresses of its subjectAltName: what clients compare with the host that they called.
    #[serde(serialize_with = "as_text")]
    pub hosts: Vec<Host>,
    /// From when it holds.
    #[serde(serialize_with = "as_time")]
    pub not_before: OffsetDateTime,
    /// Until when it holds.
    #[serde(serialize_with = "as_time")]
    pub not_after: OffsetDateTime,
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// The kind of its key: `ECDSA P-256`, `RSA 2048`.
    pub key: String,
    /// The SHA-256 of the certificate, as `openssl x509 -fingerprint -sha256` prints it.
    pub fingerprint: String,
    /// Whether it is the certificate of an authority.
    pub authority: bool,
    /// Whether it vouches for itself alone: its issuer is its subject.
    pub self_signed: bool,
}

fn as_text<S: serde::Serializer>(hosts: &[Host], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(hosts.iter().map(ToString::to_string))
}

fn as_time<S: serde::Serializer>(time: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&written(*time))
}

/// Bytes are no X.509 certificate.
#[derive(Debug, thiserror::Error)]
#[error("not an X.509 certificate: {0}")]
pub struct NotACertificate(String);

impl Certificate {
    /// Reads one from its DER.
    ///
    /// # Errors
    /// [`NotACertificate`].
    pub fn read(der: &[u8]) -> Result<Self, NotACertificate> {
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

    /// Whether clients that call `host` take it for that host's.
    #[must_use]
    pub fn covers(&self, host: &Host) -> bool {
        self.hosts.iter().any(|mine| mine.covers(host))
    }

    /// Until when it holds, for people and machines (RFC 3339).
    #[must_use]
    pub fn until(&self) -> String {
        written(self.not_after)
    }

    /// The host that its subject names, as certificates did before subjectAltName; clients look no longer.
    #[must_use]
    pub fn common_name(&self) -> Option<Host> {
        let name = self.subject.split(", ").find_map(|part| part.strip_prefix("CN="))?;
        name.parse().ok()
    }

    /// What will keep clients from taking it, each with what to do; `now` is the time.
    #[must_use]
    pub fn doubts(&self, now: OffsetDateTime) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.hosts.is_empty() {
            let host = self.common_name().unwrap_or_else(|| Host::Name("registry.example.com".to_owned()));
            doubts.push(format!(
                "it has no host in a subjectAltName, so clients written in Go (docker, containerd, podman, buildah, \
                 skopeo, crane, oras, helm) refuse it; make one with: openssl req -newkey rsa:2048 -nodes \
                 -keyout server.key -x509 -days 3650 -out server.pem -subj \"/CN={host}\" \
                 -addext \"subjectAltName={}\"",
                host.as_openssl()
            ));
        }
        if now > self.not_after {
            doubts.push(format!("it expired on {}; replace it", self.not_after.date()));
        } else if now < self.not_before {
            doubts.push(format!(
                "it is not valid before {}; check the clock of this machine",
                written(self.not_before)
            ));
        }
        doubts
    }
}

/// A time as RFC 3339 writes it.
pub(super) fn written(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}

/// Whether `certificate` was signed with the key of `issuer`, and says that it was.
///
/// # Errors
/// [`NotACertificate`] if one of them is none.
pub(super) fn is_signed_by(certificate: &[u8], issuer: &[u8]) -> Result<bool, NotACertificate> {
    let (certificate, issuer) = (parse(certificate)?, parse(issuer)?);
    Ok(certificate.issuer() == issuer.subject()
        && certificate.verify_signature(Some(issuer.public_key())).is_ok())
}

/// The public key, as the certificate holds it (SubjectPublicKeyInfo).
pub(super) fn public_key(der: &[u8]) -> Result<Vec<u8>, NotACertificate> {
    Ok(parse(der)?.public_key().raw.to_vec())
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, NotACertificate> {
    X509Certificate::from_der(der)
        .map(|(_, certificate)| certificate)
        .map_err(|error| NotACertificate(error.to_string()))
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
