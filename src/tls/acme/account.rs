//! The account with a certificate authority (RFC 8555 section 7.3): created once and stored.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};
use serde::{Deserialize, Serialize};
use upstream::error_chain;

use super::failure::Failure;
use super::http_client::AuthorityClient;
use super::state_dir::StateDir;
use crate::config;
use crate::operator_file;

/// The `mailto:` URLs that the authority may write to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Contact(Vec<String>);

impl Contact {
    fn urls(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }
}

/// An account at the authority to which the new ACME account is bound (RFC 8555 section 7.3.4).
pub(super) struct ExternalAccount {
    id: String,
    key: Vec<u8>,
}

/// Why the file of `tls.acme.external_account` is unusable.
#[derive(Debug, thiserror::Error)]
pub enum ExternalAccountError {
    #[error("cannot read {}, which tls.acme.external_account names: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{}, which tls.acme.external_account names, must contain one line, id:key, with the key in base64url",
        .0.display()
    )]
    Format(PathBuf),
}

impl ExternalAccount {
    /// Reads `id:key` from a file.
    pub(super) fn read(path: &Path) -> Result<Self, ExternalAccountError> {
        // Authorities write keys without padding; some tools add it.
        const BASE64URL: GeneralPurpose = GeneralPurpose::new(
            &base64::alphabet::URL_SAFE,
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
        );
        let text = operator_file::read_to_string(path)
            .map_err(|source| ExternalAccountError::Read { path: path.to_owned(), source })?;
        let parts = text.trim().rsplit_once(':').filter(|(id, key)| !id.is_empty() && !key.is_empty());
        let account =
            parts.and_then(|(id, key)| Some(Self { id: id.to_owned(), key: BASE64URL.decode(key).ok()? }));
        account.ok_or_else(|| ExternalAccountError::Format(path.to_owned()))
    }
}

/// The content of the account file.
#[derive(Serialize, Deserialize)]
struct StoredAccount {
    /// The contact that the authority has, to notice a change of the setting.
    contact: Contact,
    credentials: AccountCredentials,
}

/// Loads, creates and stores the account.
pub(super) struct AccountStore {
    directory_url: String,
    contact: Contact,
    external: Option<ExternalAccount>,
    state_dir: StateDir,
    client: AuthorityClient,
}

impl AccountStore {
    pub(super) fn new(
        settings: &config::Acme,
        directory_url: &config::DirectoryUrl,
        state_dir: StateDir,
        client: AuthorityClient,
    ) -> Result<Self, ExternalAccountError> {
        Ok(Self {
            directory_url: directory_url.as_str().to_owned(),
            contact: Contact(settings.contact.clone()),
            external: settings.external_account.as_deref().map(ExternalAccount::read).transpose()?,
            state_dir,
            client,
        })
    }

    /// Loads the stored account, or creates one. Reports a changed contact to the authority.
    pub(super) async fn load_or_create(&self) -> Result<Account, Failure> {
        match self.load().await? {
            Some(account) => Ok(account),
            None => self.create().await,
        }
    }

    /// Loads the stored account; `None` if there is none, or it is unusable, which is logged.
    pub(super) async fn load(&self) -> Result<Option<Account>, Failure> {
        let json = self
            .state_dir
            .account()
            .map_err(|error| Failure::Local(format!("cannot read the stored account: {error}")))?;
        let Some(json) = json else { return Ok(None) };
        let stored: StoredAccount = match serde_json::from_str(&json) {
            Ok(stored) => stored,
            Err(error) => {
                tracing::warn!(%error, "the stored account is invalid; a new one is created");
                return Ok(None);
            }
        };
        let (contact, credentials) = (stored.contact, serde_json::to_value(&stored.credentials));
        let builder = Account::builder_with_http(Box::new(self.client.clone()));
        let account = builder.from_credentials(stored.credentials).await?;
        if contact != self.contact {
            account.update_contacts(&self.contact.urls()).await?;
            let credentials = credentials.and_then(serde_json::from_value).map_err(|error| local(&error))?;
            self.store(credentials).await?;
        }
        Ok(Some(account))
    }

    /// Creates an account and stores it before its first use.
    pub(super) async fn create(&self) -> Result<Account, Failure> {
        let new = NewAccount {
            contact: &self.contact.urls(),
            // The description of tls.acme.directory says that naming an authority accepts its terms.
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let external = self.external.as_ref();
        let external = external.map(|account| ExternalAccountKey::new(account.id.clone(), &account.key));
        let builder = Account::builder_with_http(Box::new(self.client.clone()));
        let (account, credentials) =
            builder.create(&new, self.directory_url.clone(), external.as_ref()).await?;
        self.store(credentials).await?;
        tracing::info!(
            directory = self.directory_url,
            account = account.id(),
            "created an account with the authority"
        );
        Ok(account)
    }

    async fn store(&self, credentials: AccountCredentials) -> Result<(), Failure> {
        let stored = StoredAccount { contact: self.contact.clone(), credentials };
        let json = serde_json::to_string(&stored).map_err(|error| local(&error))?;
        self.state_dir.store_account(json).await.map_err(|error| local(&error))
    }
}

fn local(error: &(impl std::error::Error + 'static)) -> Failure {
    Failure::Local(error_chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn external_account_is_an_id_and_a_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("account");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            ExternalAccount::read(&path)
        };
        for text in ["kid-1:-_8", "kid-1:-_8\n", "kid-1:-_8="] {
            let account = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((account.id.as_str(), account.key.as_slice()), ("kid-1", &[0xfb, 0xff][..]));
        }
        for text in ["", "kid-1", "kid-1:", ":-_8", "kid-1:a b", "kid-1:+/8"] {
            assert!(matches!(read(text), Err(ExternalAccountError::Format(_))), "{text}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(ExternalAccount::read(&path), Err(ExternalAccountError::Read { .. })));
    }
}
