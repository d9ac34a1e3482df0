//! Webhooks of owners for their repositories.

use accounts::Pattern;
use oci::MediaType;
use store::metadata::{Limit, WebhookRecord};

use super::{Manage, ManageError, not_found};
use crate::events::EventFilter;
use crate::webhooks::{Webhook, WebhookFormat};

/// The maximum number of webhooks of an account. Each event is stored once for each webhook that gets it.
const MAX_WEBHOOKS: usize = 50;

/// A webhook to add.
#[derive(Clone, Debug)]
pub struct WebhookRequest {
    /// The URL of the receiver. The caller has checked its syntax and its address.
    pub url: String,
    /// The URL without its secrets, for the audit log.
    pub shown_url: String,
    /// The secret of the signatures.
    pub secret: String,
    /// The events.
    pub events: EventFilter,
    /// The repositories, at least one.
    pub repositories: Vec<Pattern>,
    /// The media types of manifests. Empty: all.
    pub media_types: Vec<MediaType>,
    /// The format.
    pub format: WebhookFormat,
}

impl Manage {
    /// Adds a webhook for repositories that the requester may administer.
    ///
    /// # Errors
    /// [`ManageError::Denied`], [`ManageError::SignIn`].
    pub async fn add_webhook(&self, request: WebhookRequest) -> Result<Webhook, ManageError> {
        let object = request.shown_url.clone();
        let added = async {
            self.may_give_access()?;
            self.must_own_patterns(&request.repositories).await?;
            let account = self.requester.identity.account().map(|account| account.name.to_string());
            let mut record = WebhookRecord {
                id: 0,
                url: request.url,
                secret: request.secret,
                previous_secret: None,
                events: request.events.words().to_vec(),
                patterns: request.repositories,
                media_types: request.media_types.iter().map(ToString::to_string).collect(),
                format: request.format.as_str().to_owned(),
                account,
                created_at: std::time::SystemTime::now(),
            };
            let limit = Limit { what: "webhooks", most: MAX_WEBHOOKS };
            record.id = self.metadata().add_webhook(record.clone(), limit).await?;
            read(record)
        };
        let added = added.await;
        self.end("webhook.add", &object, None, added).await
    }

    /// Replaces the secret of a webhook. The old one signs as well until the next change.
    ///
    /// # Errors
    /// [`ManageError::NotFound`], also for a webhook that the requester may not manage.
    pub async fn rotate_webhook_secret(&self, id: i64, secret: String) -> Result<Webhook, ManageError> {
        let changed = async {
            self.may_give_access()?;
            let record = self.find_webhook(id).await?;
            let previous_secret = Some(record.secret.clone());
            let record = WebhookRecord { secret, previous_secret, ..record };
            self.metadata().change_webhook(record.clone()).await?;
            read(record)
        };
        let changed = changed.await;
        self.end("webhook.change", &id.to_string(), Some("secret".to_owned()), changed).await
    }

    /// Removes a webhook with its deliveries.
    ///
    /// # Errors
    /// As [`rotate_webhook_secret`](Self::rotate_webhook_secret).
    pub async fn remove_webhook(&self, id: i64) -> Result<(), ManageError> {
        let removed = async {
            self.find_webhook(id).await?;
            self.metadata().remove_webhook(id).await?;
            Ok(())
        };
        let removed = removed.await;
        self.end("webhook.remove", &id.to_string(), None, removed).await
    }

    /// Checks that the requester may see a webhook: one of the configuration as an administrator, another one
    /// by the right to administer all its repositories.
    ///
    /// # Errors
    /// [`ManageError::NotFound`], [`ManageError::SignIn`].
    pub async fn must_see_webhook(&self, webhook: &Webhook) -> Result<(), ManageError> {
        if self.is_administrator() {
            return Ok(());
        }
        self.own_account()?;
        if webhook.is_configured || self.must_own_patterns(&webhook.repositories).await.is_err() {
            return Err(not_found("webhook", &webhook.id));
        }
        Ok(())
    }

    /// The error for a webhook that does not exist.
    #[must_use]
    pub fn webhook_not_found(&self, id: &str) -> ManageError {
        not_found("webhook", id)
    }

    async fn find_webhook(&self, id: i64) -> Result<WebhookRecord, ManageError> {
        let record = self.metadata().webhooks().await?.into_iter().find(|record| record.id == id);
        let record = record.ok_or_else(|| not_found("webhook", id))?;
        self.must_see_webhook(&read(record.clone())?).await?;
        Ok(record)
    }

    async fn must_own_patterns(&self, patterns: &[Pattern]) -> Result<(), ManageError> {
        if patterns.is_empty() {
            self.must_be_administrator()?;
        }
        for pattern in patterns {
            self.must_own_pattern(pattern).await?;
        }
        Ok(())
    }
}

fn read(record: WebhookRecord) -> Result<Webhook, ManageError> {
    let id = record.id;
    Webhook::try_from(record).map_err(|_| not_found("webhook", id))
}
