//! Who asks: an account with the authority (RFC 8555 section 7.3), made once and kept.

use instant_acme::{Account, AccountCredentials, NewAccount};
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
        let kept = self.folder.account().map_err(|error| {
            Failure::Here(format!(
                "the account that is kept cannot be read: {error}; look at {:?}",
                self.folder
            ))
        })?;
        let kept: Kept = match kept.map(|json| serde_json::from_str(&json)) {
            Some(Ok(kept)) => kept,
            Some(Err(error)) => {
                tracing::warn!(%error, "the account that was kept cannot be used, and a new one is made");
                return self.new_account().await;
            }
            None => return self.new_account().await,
        };
        let (told, key) = (kept.contact, serde_json::to_value(&kept.credentials));
        let builder = Account::builder_with_http(Box::new(self.directory.clone()));
        let account = builder.from_credentials(kept.credentials).await?;
        if told != self.contact {
            account.update_contacts(&self.contact.urls()).await?;
            let credentials = key.and_then(serde_json::from_value).map_err(|error| here(&error))?;
            self.keep(credentials).await?;
        }
        Ok(account)
    }

    /// A new account, which is kept before it is used.
    pub(super) async fn new_account(&self) -> Result<Account, Failure> {
        let new = NewAccount {
            contact: &self.contact.urls(),
            // Whoever names an authority in the settings accepts its terms; they say so.
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let builder = Account::builder_with_http(Box::new(self.directory.clone()));
        let (account, credentials) = builder.create(&new, self.url.clone(), None).await?;
        self.keep(credentials).await?;
        tracing::info!(directory = self.url, account = account.id(), "made an account with the authority");
        Ok(account)
    }

    async fn keep(&self, credentials: AccountCredentials) -> Result<(), Failure> {
        let kept = Kept { contact: self.contact.clone(), credentials };
        let json = serde_json::to_string(&kept).map_err(|error| here(&error))?;
        self.folder.keep_account(json).await.map_err(|error| here(&error))
    }
}

fn here(error: &(impl std::error::Error + 'static)) -> Failure {
    Failure::Here(super::directory::with_causes(error))
}
