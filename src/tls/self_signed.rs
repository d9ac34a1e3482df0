//! A certificate of one's own: made once, kept in the data directory, and trusted by being copied to the clients.
//!
//! It is no authority's certificate (no `CA:TRUE`), for what then could be signed with its key would be trusted by
//! every client as well. Clients take it as its own issuer all the same: Go, OpenSSL and rustls do.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

use super::pair::{Pair, PairError};
use crate::host::Host;

/// How long one holds, unless it is told otherwise: ten years.
pub const DAYS: u32 = 3650;
/// The longest common name there may be (RFC 5280 appendix A.1, ub-common-name).
const COMMON_NAME_MAX: usize = 64;

/// A certificate with its key, as PEM.
#[derive(Debug)]
pub struct Made {
    /// The certificate.
    pub certificate: String,
    /// Its key, as PKCS#8.
    pub key: String,
}

/// Why none could be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The hosts cannot be written into a certificate.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What was written cannot be read.
    #[error(transparent)]
    Pair(#[from] PairError),
}

/// Makes a key (ECDSA P-256) and a certificate for these hosts that holds for so many days from now.
///
/// # Errors
/// [`MakeError::Certificate`] if a host cannot be written into one.
pub fn make(hosts: &[Host], days: u32) -> Result<Made, MakeError> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.subject_alt_names = alternatives(hosts)?;
    params.distinguished_name = DistinguishedName::new();
    let name = hosts.iter().map(ToString::to_string).find(|name| name.len() <= COMMON_NAME_MAX);
    params.distinguished_name.push(DnType::CommonName, name.unwrap_or_else(|| "wharfinger".to_owned()));
    // A client whose clock is a little behind takes it as well.
    params.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(days.into());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(Made { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() })
}

/// Hosts as a certificate names them.
pub(super) fn alternatives(hosts: &[Host]) -> Result<Vec<SanType>, rcgen::Error> {
    hosts
        .iter()
        .map(|host| match host {
            Host::Name(name) => name.as_str().try_into().map(SanType::DnsName),
            Host::Address(address) => Ok(SanType::IpAddress(*address)),
        })
        .collect()
}

/// Where a pair is kept, and whether it is new.
#[derive(Debug)]
pub struct Kept {
    /// The pair.
    pub pair: Pair,
    /// The file of the certificate, which clients need.
    pub certificate: PathBuf,
    /// What happened to it.
    pub fate: Outcome,
}

/// What happened to a certificate that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was there.
    Kept,
    /// There was none.
    Made,
    /// The one that was there was replaced, because of this.
    Replaced(String),
}

/// Where the certificate and the key are kept that are made in a directory.
#[must_use]
pub fn files(directory: &Path) -> (PathBuf, PathBuf) {
    (directory.join("self-signed.pem"), directory.join("self-signed.key"))
}

/// The certificate for these hosts that is kept in `directory`; made if there is none, and made anew if the one that
/// is there is for other hosts, or no longer holds.
///
/// # Errors
/// [`MakeError`].
pub fn keep(directory: &Path, hosts: &[Host]) -> Result<Kept, MakeError> {
    let (certificate, key) = files(directory);
    let fate = match Pair::read(&certificate, &key) {
        Ok(pair) => match outdated(&pair, hosts) {
            None => return Ok(Kept { pair, certificate, fate: Outcome::Kept }),
            Some(reason) => Outcome::Replaced(reason),
        },
        Err(PairError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            if certificate.exists() {
                Outcome::Replaced("its key was not there".to_owned())
            } else {
                Outcome::Made
            }
        }
        // A file that cannot be read is not replaced: whoever put it there wants to know.
        Err(error @ PairError::Read { .. }) => return Err(error.into()),
        Err(error) => Outcome::Replaced(error.to_string()),
    };
    let made = make(hosts, DAYS)?;
    create_private(directory)?;
    // The key first: a certificate whose key is not there yet would be replaced at the next start.
    write(&key, &made.key, 0o600)?;
    write(&certificate, &made.certificate, 0o644)?;
    Ok(Kept { pair: Pair::read(&certificate, &key)?, certificate, fate })
}

fn outdated(pair: &Pair, hosts: &[Host]) -> Option<String> {
    let sorted = |hosts: &[Host]| {
        let mut hosts = hosts.to_vec();
        hosts.sort();
        hosts.dedup();
        hosts
    };
    let certificate = pair.certificate();
    if sorted(&certificate.hosts) != sorted(hosts) {
        return Some(format!("it was for {}", listed(&certificate.hosts)));
    }
    (OffsetDateTime::now_utc() > certificate.not_after)
        .then(|| format!("it expired on {}", certificate.not_after.date()))
}

/// Hosts in a sentence.
pub(super) fn listed(hosts: &[Host]) -> String {
    hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Makes a directory that only its owner can look into, if it is not there.
pub(super) fn create_private(directory: &Path) -> Result<(), MakeError> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|source| MakeError::Write { path: directory.to_owned(), source })
}

/// Writes a file whole or not at all, synced, with these permissions from its first moment.
///
/// # Errors
/// [`MakeError::Write`].
pub fn write(path: &Path, text: &str, mode: u32) -> Result<(), MakeError> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let written = || -> io::Result<()> {
        // Whatever a crash left there may have other permissions.
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
    written().map_err(|source| MakeError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn hosts(texts: &[&str]) -> Vec<Host> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn it_is_made_once_for_the_same_hosts() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("tls");
        let names = hosts(&["registry.example.com", "192.0.2.7", "::1"]);
        let first = keep(&directory, &names).unwrap();
        assert_eq!(first.fate, Outcome::Made);
        let says = first.pair.certificate();
        assert_eq!(says.hosts, names);
        assert!(says.self_signed && !says.authority);
        assert_eq!((says.subject.as_str(), says.key.as_str()), ("CN=registry.example.com", "ECDSA P-256"));
        let years = (says.not_after - OffsetDateTime::now_utc()).whole_days();
        assert!((3648..=3650).contains(&years), "{years}");
        assert!(first.pair.doubts(OffsetDateTime::now_utc()).is_empty());
        let key = std::fs::metadata(directory.join("self-signed.key")).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
        let again = keep(&directory, &hosts(&["::1", "REGISTRY.example.com", "192.0.2.7"])).unwrap();
        assert_eq!(again.fate, Outcome::Kept);
        assert_eq!(again.pair.certificate(), says);
    }

    #[test]
    fn it_is_made_anew_for_other_hosts() {
        let directory = tempfile::tempdir().unwrap();
        let first = keep(directory.path(), &hosts(&["a.example"])).unwrap();
        let second = keep(directory.path(), &hosts(&["a.example", "b.example"])).unwrap();
        assert_eq!(second.fate, Outcome::Replaced("it was for a.example".to_owned()));
        assert_ne!(first.pair.certificate().fingerprint, second.pair.certificate().fingerprint);
    }

    #[test]
    fn what_a_crash_left_between_the_two_files_is_made_good() {
        let directory = tempfile::tempdir().unwrap();
        let names = hosts(&["a.example"]);
        keep(directory.path(), &names).unwrap();
        let other = make(&names, 1).unwrap();
        std::fs::write(directory.path().join("self-signed.key"), other.key).unwrap();
        assert!(matches!(keep(directory.path(), &names).unwrap().fate, Outcome::Replaced(_)));
        assert_eq!(keep(directory.path(), &names).unwrap().fate, Outcome::Kept);
    }

    #[test]
    fn a_certificate_that_has_ended_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let names = hosts(&["a.example"]);
        let made = make(&names, 0).unwrap();
        write(&directory.path().join("self-signed.pem"), &made.certificate, 0o644).unwrap();
        write(&directory.path().join("self-signed.key"), &made.key, 0o600).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1100));
        assert!(matches!(keep(directory.path(), &names).unwrap().fate, Outcome::Replaced(_)));
    }
}
