//! Who asks: an account with the authority (RFC 8555 section 7.3), made once and kept.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};
use serde::{Deserialize, Serialize};

use super::Acme;
use super::failure::Failure;

/// The addresses that an authority can write to, as URLs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Contact(pub(super) Vec<String>);

impl Contact {
    fn urls(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }
}

/// An account that the operator has with the authority already, of which a new one is told to be (RFC 8555 section
/// 7.3.4).
pub(super) struct ExternalAccount {
    id: String,
    key: Vec<u8>,
}

/// A file names no account with an authority. The text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum NoExternalAccount {
    /// It cannot be read.
    #[error("cannot read {}, which tls.acme.external_account names: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It says something else.
    #[error(
        "{}, which tls.acme.external_account names, should hold one line, id:key, the key as the authority writes it \
         (base64url)", .0.display()
    )]
    Other(PathBuf),
}

impl ExternalAccount {
    /// Reads `id:key` from a file.
    ///
    /// # Errors
    /// [`NoExternalAccount`].
    pub(super) fn read(path: &Path) -> Result<Self, NoExternalAccount> {
        // Authorities write keys without padding, and some who pass them on add it.
        const BASE64URL: GeneralPurpose = GeneralPurpose::new(
            &base64::alphabet::URL_SAFE,
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
        );
        let text = std::fs::read_to_string(path)
            .map_err(|source| NoExternalAccount::Read { path: path.to_owned(), source })?;
        let parts = text.trim().rsplit_once(':').filter(|(id, key)| !id.is_empty() && !key.is_empty());
        let read =
            parts.and_then(|(id, key)| Some(Self { id: id.to_owned(), key: BASE64URL.decode(key).ok()? }));
        read.ok_or_else(|| NoExternalAccount::Other(path.to_owned()))
    }
}

/// What is kept of an account.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// What the authority was told.
    contact: Contact,
    /// Its address and its key.
    credentials: AccountCredentials,
}

impl Acme {
    /// The account that is kept, or a new one. The authority is told when the contact has changed.
    pub(super) async fn account(&self) -> Result<Account, Failure> {
        match self.known_account().await? {
            Some(account) => Ok(account),
            None => self.new_account().await,
        }
    }

    /// The account that is kept. One that cannot be used counts as none, which is logged.
    pub(super) async fn known_account(&self) -> Result<Option<Account>, Failure> {
        let kept = self
            .state_dir
            .account()
            .map_err(|error| Failure::Here(format!("the account that is kept cannot be read: {error}")))?;
        let Some(kept) = kept else { return Ok(None) };
        let kept: Kept = match serde_json::from_str(&kept) {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!(%error, "the account that was kept cannot be used");
                return Ok(None);
            }
        };
        let (told, credentials) = (kept.contact, serde_json::to_value(&kept.credentials));
        let builder = Account::builder_with_http(Box::new(self.directory.clone()));
        let account = builder.from_credentials(kept.credentials).await?;
        if told != self.contact {
            account.update_contacts(&self.contact.urls()).await?;
            let credentials = credentials.and_then(serde_json::from_value).map_err(|error| here(&error))?;
            self.keep(credentials).await?;
        }
        Ok(Some(account))
    }

    /// A new account, which is kept before it is used.
    pub(super) async fn new_account(&self) -> Result<Account, Failure> {
        let new = NewAccount {
            contact: &self.contact.urls(),
            // Whoever names an authority in the settings accepts its terms; they say so.
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let external = self.external.as_ref();
        let external = external.map(|account| ExternalAccountKey::new(account.id.clone(), &account.key));
        let builder = Account::builder_with_http(Box::new(self.directory.clone()));
        let (account, credentials) = builder.create(&new, self.url.clone(), external.as_ref()).await?;
        self.keep(credentials).await?;
        tracing::info!(directory = self.url, account = account.id(), "made an account with the authority");
        Ok(account)
    }

    async fn keep(&self, credentials: AccountCredentials) -> Result<(), Failure> {
        let kept = Kept { contact: self.contact.clone(), credentials };
        let json = serde_json::to_string(&kept).map_err(|error| here(&error))?;
        self.state_dir.keep_account(json).await.map_err(|error| here(&error))
    }
}

fn here(error: &(impl std::error::Error + 'static)) -> Failure {
    Failure::Here(super::directory::with_causes(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_external_account_is_an_id_and_a_key() {
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
            assert!(matches!(read(text), Err(NoExternalAccount::Other(_))), "{text}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(ExternalAccount::read(&path), Err(NoExternalAccount::Read { .. })));
    }
}
