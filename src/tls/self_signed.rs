//! The self-signed certificate: created once, stored in the data directory, and copied to the clients' trust
//! stores.
//!
//! It is not a CA certificate (no `CA:TRUE`), because clients would trust all certificates signed with its
//! key. Go, OpenSSL and rustls still accept it as its own issuer.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

use super::pair::{Pair, PairError};
use crate::host::Host;

/// The default lifetime in days: ten years.
pub const DAYS: u32 = 3650;
/// The longest common name (RFC 5280 appendix A.1, ub-common-name).
const COMMON_NAME_MAX: usize = 64;

/// A new certificate with its key (PKCS#8), as PEM.
#[derive(Debug)]
pub struct Created {
    pub certificate: String,
    pub key: String,
}

/// Why no certificate was created or stored.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    #[error("cannot create a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    /// The stored files are unusable.
    #[error(transparent)]
    Pair(#[from] PairError),
}

/// Creates an ECDSA P-256 key and a certificate for `hosts` that expires in `days` days.
///
/// # Errors
/// [`CreateError::Certificate`].
pub fn create(hosts: &[Host], days: u32) -> Result<Created, CreateError> {
    create_until(hosts, OffsetDateTime::now_utc() + Duration::days(days.into()))
}

fn create_until(hosts: &[Host], not_after: OffsetDateTime) -> Result<Created, CreateError> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.subject_alt_names = subject_alternative_names(hosts)?;
    params.distinguished_name = DistinguishedName::new();
    let name = hosts.iter().map(ToString::to_string).find(|name| name.len() <= COMMON_NAME_MAX);
    params.distinguished_name.push(DnType::CommonName, name.unwrap_or_else(|| "wharfinger".to_owned()));
    // Accepts clients whose clock is slow.
    params.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
    params.not_after = not_after;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(Created { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() })
}

/// Converts hosts for a certificate or a certificate request.
pub(super) fn subject_alternative_names(hosts: &[Host]) -> Result<Vec<SanType>, rcgen::Error> {
    hosts
        .iter()
        .map(|host| match host {
            Host::Name(name) => name.as_str().try_into().map(SanType::DnsName),
            Host::Address(address) => Ok(SanType::IpAddress(*address)),
        })
        .collect()
}

#[derive(Debug)]
pub struct Stored {
    pub pair: Pair,
    /// The file that clients need.
    pub certificate: PathBuf,
    pub outcome: Outcome,
}

/// The result of [`load_or_create`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Loaded,
    Created,
    /// The stored one was replaced, for this reason.
    Replaced(String),
}

/// The files of the certificate and of the key in a directory.
#[must_use]
pub fn files(directory: &Path) -> (PathBuf, PathBuf) {
    (directory.join("self-signed.pem"), directory.join("self-signed.key"))
}

/// Loads the certificate for `hosts` from `directory`. Creates a missing one, and replaces a certificate for
/// other hosts, or an expired or invalid one.
///
/// # Errors
/// [`CreateError`].
pub fn load_or_create(directory: &Path, hosts: &[Host]) -> Result<Stored, CreateError> {
    let (certificate, key) = files(directory);
    let outcome = match Pair::read(&certificate, &key) {
        Ok(pair) => match replace_reason(&pair, hosts) {
            None => return Ok(Stored { pair, certificate, outcome: Outcome::Loaded }),
            Some(reason) => Outcome::Replaced(reason),
        },
        Err(PairError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            if certificate.exists() {
                Outcome::Replaced("its key was missing".to_owned())
            } else {
                Outcome::Created
            }
        }
        // A file that cannot be read may be valid, so that it is not replaced.
        Err(error @ PairError::Read { .. }) => return Err(error.into()),
        Err(error) => Outcome::Replaced(error.to_string()),
    };
    let created = create(hosts, DAYS)?;
    create_private(directory)?;
    // The key first: a crash in between leaves a pair that does not match, which the next start replaces.
    write(&key, &created.key, 0o600)?;
    write(&certificate, &created.certificate, 0o644)?;
    Ok(Stored { pair: Pair::read(&certificate, &key)?, certificate, outcome })
}

fn replace_reason(pair: &Pair, hosts: &[Host]) -> Option<String> {
    let sorted = |hosts: &[Host]| {
        let mut hosts = hosts.to_vec();
        hosts.sort();
        hosts.dedup();
        hosts
    };
    let certificate = pair.certificate();
    if sorted(&certificate.hosts) != sorted(hosts) {
        return Some(format!("it was for {}", join_hosts(&certificate.hosts)));
    }
    (OffsetDateTime::now_utc() > certificate.not_after)
        .then(|| format!("it expired on {}", certificate.not_after.date()))
}

/// Formats hosts for a message.
pub(super) fn join_hosts(hosts: &[Host]) -> String {
    hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Creates a directory with mode 0700 unless it exists.
pub(super) fn create_private(directory: &Path) -> Result<(), CreateError> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|source| CreateError::Write { path: directory.to_owned(), source })
}

/// Writes a file atomically and synced. It has its mode before its content.
///
/// # Errors
/// [`CreateError::Write`].
pub fn write(path: &Path, text: &str, mode: u32) -> Result<(), CreateError> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let written = || -> io::Result<()> {
        // A file left by a crash may have another mode.
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => std::fs::File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    };
    written().map_err(|source| CreateError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn hosts(texts: &[&str]) -> Vec<Host> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn certificate_is_created_once_for_the_same_hosts() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("tls");
        let names = hosts(&["registry.example.com", "192.0.2.7", "::1"]);
        let first = load_or_create(&directory, &names).unwrap();
        assert_eq!(first.outcome, Outcome::Created);
        let fields = first.pair.certificate();
        assert_eq!(fields.hosts, names);
        assert!(fields.self_signed && !fields.authority);
        assert_eq!(
            (fields.subject.as_str(), fields.key.as_str()),
            ("CN=registry.example.com", "ECDSA P-256")
        );
        let years = (fields.not_after - OffsetDateTime::now_utc()).whole_days();
        assert!((3648..=3650).contains(&years), "{years}");
        assert!(first.pair.warnings(OffsetDateTime::now_utc()).is_empty());
        let key = std::fs::metadata(directory.join("self-signed.key")).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
        let again =
            load_or_create(&directory, &hosts(&["::1", "REGISTRY.example.com", "192.0.2.7"])).unwrap();
        assert_eq!(again.outcome, Outcome::Loaded);
        assert_eq!(again.pair.certificate(), fields);
    }

    #[test]
    fn certificate_is_replaced_for_other_hosts() {
        let directory = tempfile::tempdir().unwrap();
        let first = load_or_create(directory.path(), &hosts(&["a.example"])).unwrap();
        let second = load_or_create(directory.path(), &hosts(&["a.example", "b.example"])).unwrap();
        assert_eq!(second.outcome, Outcome::Replaced("it was for a.example".to_owned()));
        assert_ne!(first.pair.certificate().fingerprint, second.pair.certificate().fingerprint);
    }

    #[test]
    fn mismatched_files_of_a_crash_are_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let names = hosts(&["a.example"]);
        load_or_create(directory.path(), &names).unwrap();
        let other = create(&names, 1).unwrap();
        std::fs::write(directory.path().join("self-signed.key"), other.key).unwrap();
        assert!(matches!(load_or_create(directory.path(), &names).unwrap().outcome, Outcome::Replaced(_)));
        assert_eq!(load_or_create(directory.path(), &names).unwrap().outcome, Outcome::Loaded);
    }

    #[test]
    fn expired_certificate_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let names = hosts(&["a.example"]);
        let created = create_until(&names, OffsetDateTime::now_utc() - Duration::minutes(1)).unwrap();
        write(&directory.path().join("self-signed.pem"), &created.certificate, 0o644).unwrap();
        write(&directory.path().join("self-signed.key"), &created.key, 0o600).unwrap();
        assert!(matches!(load_or_create(directory.path(), &names).unwrap().outcome, Outcome::Replaced(_)));
    }
}
