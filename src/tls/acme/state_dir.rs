//! What must outlast a restart: the account, and the certificate with its key. One folder for each directory, so that
//! trying things with one authority takes nothing from another.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::DirectoryUrl;
use crate::tls::pair::{Pair, PairError};
use crate::tls::self_signed::{self, MakeError};

/// Where the account and the certificate of one directory are kept.
#[derive(Clone, Debug)]
pub(super) struct StateDir(PathBuf);

impl StateDir {
    /// That of a directory, below `acme` in where certificates are kept.
    pub(super) fn of(url: &DirectoryUrl, directory: &Path) -> Self {
        let url = url.as_str();
        let name = url.strip_prefix("https://").unwrap_or(url);
        let name: String = name
            .chars()
            .map(|char| if char.is_ascii_alphanumeric() || char == '.' { char } else { '-' })
            .collect();
        Self(directory.join("acme").join(name))
    }

    /// The file of the certificate, those who vouch for it, and its key: one file, so that they are replaced at once.
    pub(super) fn certificate_file(&self) -> PathBuf {
        self.0.join("certificate.pem")
    }

    fn account_file(&self) -> PathBuf {
        self.0.join("account.json")
    }

    /// The certificate that is kept. One that is no certificate with its key counts as none, which is logged.
    ///
    /// # Errors
    /// [`PairError::Read`] if it is there and cannot be read: whoever put it there wants to know.
    pub(super) fn certificate(&self) -> Result<Option<Pair>, PairError> {
        let file = self.certificate_file();
        match Pair::read(&file, &file) {
            Ok(pair) => Ok(Some(pair)),
            Err(PairError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error @ PairError::Read { .. }) => Err(error),
            Err(error) => {
                tracing::warn!(%error, "the certificate that was kept cannot be used, and is asked for anew");
                Ok(None)
            }
        }
    }

    /// What would be kept, as a certificate with its key.
    pub(super) fn read(&self, pem: &str) -> Result<Pair, PairError> {
        let file = self.certificate_file();
        Pair::parse((&file, pem.as_bytes()), (&file, pem.as_bytes()))
    }

    /// Keeps a certificate with its key in the place of the last one.
    pub(super) async fn keep_certificate(&self, pem: String) -> Result<(), MakeError> {
        self.keep(self.certificate_file(), pem).await
    }

    /// The account that is kept, as JSON.
    pub(super) fn account(&self) -> io::Result<Option<String>> {
        match std::fs::read_to_string(self.account_file()) {
            Ok(json) => Ok(Some(json)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps an account.
    pub(super) async fn keep_account(&self, json: String) -> Result<(), MakeError> {
        self.keep(self.account_file(), json).await
    }

    /// Syncing waits for a disk, which connections need not.
    async fn keep(&self, file: PathBuf, text: String) -> Result<(), MakeError> {
        let state_dir = self.0.clone();
        let written = tokio::task::spawn_blocking(move || {
            self_signed::create_private(&state_dir)?;
            self_signed::write(&file, &text, 0o600)
        });
        written.await.unwrap_or_else(|error| {
            Err(MakeError::Write { path: self.0.clone(), source: io::Error::other(error) })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn state_dir(directory: &Path) -> StateDir {
        StateDir(directory.join("tls/acme/a.example-dir"))
    }

    #[tokio::test]
    async fn a_certificate_with_its_key_is_kept_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let state_dir = state_dir(directory.path());
        assert!(state_dir.certificate().unwrap().is_none());
        let made = self_signed::make(&["a.example".parse().unwrap()], 1).unwrap();
        let pem = format!("{}{}", made.certificate, made.key);
        state_dir.keep_certificate(pem.clone()).await.unwrap();
        let kept = state_dir.certificate().unwrap().unwrap();
        assert_eq!(kept.certificate(), state_dir.read(&pem).unwrap().certificate());
        state_dir.keep_account("{}".to_owned()).await.unwrap();
        assert_eq!(state_dir.account().unwrap().as_deref(), Some("{}"));
        for name in ["", "certificate.pem", "account.json"] {
            let mode = std::fs::metadata(state_dir.0.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{name}");
        }
    }

    #[test]
    fn what_is_no_certificate_counts_as_none() {
        let directory = tempfile::tempdir().unwrap();
        let state_dir = state_dir(directory.path());
        std::fs::create_dir_all(&state_dir.0).unwrap();
        std::fs::write(state_dir.certificate_file(), "-----BEGIN").unwrap();
        assert!(state_dir.certificate().unwrap().is_none());
        std::fs::remove_file(state_dir.certificate_file()).unwrap();
        std::fs::create_dir(state_dir.certificate_file()).unwrap();
        assert!(state_dir.certificate().is_err());
    }
}
