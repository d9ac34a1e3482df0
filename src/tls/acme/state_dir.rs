//! The files that survive a restart: the account, and the certificate with its key. Each authority has a
//! directory, so that a trial with one does not replace the files of another.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::DirectoryUrl;
use crate::tls::pair::{Pair, PairError};
use crate::tls::self_signed::{self, CreateError};

/// The directory with the files of one authority.
#[derive(Clone, Debug)]
pub(super) struct StateDir(PathBuf);

impl StateDir {
    /// The directory for the authority at `url`, below `directory`.
    pub(super) fn new(url: &DirectoryUrl, directory: &Path) -> Self {
        let url = url.as_str();
        let name = url.strip_prefix("https://").unwrap_or(url);
        let name: String = name
            .chars()
            .map(|char| if char.is_ascii_alphanumeric() || char == '.' { char } else { '-' })
            .collect();
        Self(directory.join("acme").join(name))
    }

    /// The file with the certificate chain and the key. It is one file, so that both are replaced atomically.
    pub(super) fn certificate_file(&self) -> PathBuf {
        self.0.join("certificate.pem")
    }

    fn account_file(&self) -> PathBuf {
        self.0.join("account.json")
    }

    /// Loads the stored certificate; `None` if there is none, or it is invalid, which is logged.
    ///
    /// # Errors
    /// [`PairError::Read`] for a file that cannot be read, because it may be valid.
    pub(super) fn certificate(&self) -> Result<Option<Pair>, PairError> {
        let file = self.certificate_file();
        match Pair::read(&file, &file) {
            Ok(pair) => Ok(Some(pair)),
            Err(PairError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error @ PairError::Read { .. }) => Err(error),
            Err(error) => {
                tracing::warn!(%error, "the stored certificate is invalid; a new one is requested");
                Ok(None)
            }
        }
    }

    /// Parses the content of the certificate file.
    pub(super) fn parse(&self, pem: &str) -> Result<Pair, PairError> {
        let file = self.certificate_file();
        Pair::parse((&file, pem.as_bytes()), (&file, pem.as_bytes()))
    }

    pub(super) async fn store_certificate(&self, pem: String) -> Result<(), CreateError> {
        self.store(self.certificate_file(), pem).await
    }

    /// Loads the stored account, as JSON.
    pub(super) fn account(&self) -> io::Result<Option<String>> {
        match std::fs::read_to_string(self.account_file()) {
            Ok(json) => Ok(Some(json)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn store_account(&self, json: String) -> Result<(), CreateError> {
        self.store(self.account_file(), json).await
    }

    /// Writes a file on a blocking thread, because it syncs.
    async fn store(&self, file: PathBuf, text: String) -> Result<(), CreateError> {
        let state_dir = self.0.clone();
        let written = tokio::task::spawn_blocking(move || {
            self_signed::create_private(&state_dir)?;
            self_signed::write(&file, &text, 0o600)
        });
        written.await.unwrap_or_else(|error| {
            Err(CreateError::Write { path: self.0.clone(), source: io::Error::other(error) })
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
    async fn stored_files_are_private_to_the_owner() {
        let directory = tempfile::tempdir().unwrap();
        let state_dir = state_dir(directory.path());
        assert!(state_dir.certificate().unwrap().is_none());
        let made = self_signed::create(&["a.example".parse().unwrap()], 1).unwrap();
        let pem = format!("{}{}", made.certificate, made.key);
        state_dir.store_certificate(pem.clone()).await.unwrap();
        let stored = state_dir.certificate().unwrap().unwrap();
        assert_eq!(stored.certificate(), state_dir.parse(&pem).unwrap().certificate());
        state_dir.store_account("{}".to_owned()).await.unwrap();
        assert_eq!(state_dir.account().unwrap().as_deref(), Some("{}"));
        for name in ["", "certificate.pem", "account.json"] {
            let mode = std::fs::metadata(state_dir.0.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{name}");
        }
    }

    #[test]
    fn invalid_certificate_counts_as_none() {
        let directory = tempfile::tempdir().unwrap();
        let state_dir = state_dir(directory.path());
        std::fs::create_dir_all(&state_dir.0).unwrap();
        std::fs::write(state_dir.certificate_file(), "-----BEGIN").unwrap();
        assert!(state_dir.certificate().unwrap().is_none());
        std::fs::remove_file(state_dir.certificate_file()).unwrap();
        std::fs::create_dir(state_dir.certificate_file()).unwrap();
        state_dir.certificate().unwrap_err();
    }
}
