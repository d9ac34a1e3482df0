//! Webhooks: which events each receiver gets, and the queue of deliveries. Sending is a matter of HTTP.
//!
//! A change is turned into deliveries by a consumer of the outbox, in the transaction that advances its
//! cursor. A delivery stays pending until the receiver has answered, so each event arrives at least once.

use accounts::Pattern;
use oci::MediaType;
use store::metadata::{DeliveryCounts, DeliveryRecord, DeliveryState, NewDelivery, WEBHOOKS, WebhookRecord};

use crate::events::{Event, EventFilter, EventKind};
use crate::{Error, Registry};

/// The number of changes that one step reads.
const BATCH: usize = 512;

accounts::string_enum! {
    /// The format of deliveries.
    pub enum WebhookFormat: "format" {
        /// CloudEvents 1.0, structured: one JSON document.
        CloudEvents = "cloudevents",
        /// CloudEvents 1.0, binary: attributes in headers.
        CloudEventsBinary = "cloudevents-binary",
        /// The notification envelope of distribution.
        Distribution = "distribution",
    }
}

/// A receiver of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// The name of a webhook of the configuration, or the number of one of an owner.
    pub id: String,
    /// The URL of the receiver.
    pub url: String,
    /// The secrets that sign, the current one first. Without one, deliveries are not signed.
    pub secrets: Vec<String>,
    /// The events.
    pub events: EventFilter,
    /// The repositories; all if there are none.
    pub repositories: Vec<Pattern>,
    /// The media types or artifact types of pushed and pulled manifests; all if there are none.
    pub media_types: Vec<MediaType>,
    /// The format.
    pub format: WebhookFormat,
    /// The account that made it. `None` for a webhook of the configuration.
    pub account: Option<String>,
    /// Whether it is in the configuration.
    pub is_configured: bool,
}

impl Webhook {
    /// Whether the webhook gets an event.
    #[must_use]
    pub fn wants(&self, event: &Event) -> bool {
        let matches_repository = match &event.repository {
            Some(name) => {
                self.repositories.is_empty() || self.repositories.iter().any(|pattern| pattern.matches(name))
            }
            None => self.is_configured && self.repositories.is_empty(),
        };
        let is_wanted = |found: &str| self.media_types.iter().any(|wanted| wanted.as_str() == found);
        let matches_type = self.media_types.is_empty()
            || event.media_type().is_none_or(is_wanted)
            || event.artifact_type().is_some_and(is_wanted);
        let fits_format = self.format != WebhookFormat::Distribution || is_notification(event.kind);
        self.events.allows(event.kind) && matches_repository && matches_type && fits_format
    }
}

impl TryFrom<WebhookRecord> for Webhook {
    type Error = String;

    fn try_from(record: WebhookRecord) -> Result<Self, String> {
        Ok(Self {
            id: record.id.to_string(),
            url: record.url,
            secrets: std::iter::once(record.secret).chain(record.previous_secret).collect(),
            events: EventFilter::new(record.events)?,
            repositories: record.patterns,
            media_types: record
                .media_types
                .iter()
                .map(|text| text.parse())
                .collect::<Result<_, _>>()
                .map_err(|error: oci::media_type::MediaTypeError| error.to_string())?,
            format: record.format.parse().map_err(|error: accounts::UnknownWord| error.to_string())?,
            account: record.account,
            is_configured: false,
        })
    }
}

/// Whether distribution has a notification for a kind of event.
#[must_use]
pub const fn is_notification(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Push
            | EventKind::Pull
            | EventKind::TagDeleted
            | EventKind::ManifestDeleted
            | EventKind::RepositoryDeleted
            | EventKind::BlobPushed
            | EventKind::BlobDeleted
            | EventKind::Test
    )
}

impl Registry {
    /// Whether a webhook may still get an event. The rights of its account count when the event is enqueued,
    /// and again when it is sent.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn may_deliver(&self, webhook: &Webhook, event: &Event) -> Result<bool, Error> {
        match (&webhook.account, &event.repository) {
            (Some(account), Some(repository)) => self.accounts().may_watch(account, repository).await,
            _ => Ok(true),
        }
    }

    /// Returns the webhooks of owners.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn owned_webhooks(&self) -> Result<Vec<Webhook>, Error> {
        let records = self.metadata.webhooks().await?;
        Ok(records.into_iter().filter_map(|record| Webhook::try_from(record).ok()).collect())
    }

    /// Begins or ends to enqueue deliveries: without webhooks, changes need not be kept for them. Removes the
    /// deliveries of webhooks that are gone.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn prepare_deliveries(&self, webhooks: &[Webhook]) -> Result<(), Error> {
        if webhooks.is_empty() {
            self.metadata.changes().unregister(WEBHOOKS).await?;
        } else {
            self.metadata.changes().register(WEBHOOKS).await?;
        }
        for id in self.metadata.webhooks_with_deliveries().await? {
            if webhooks.iter().all(|webhook| webhook.id != id) {
                self.metadata.drop_deliveries(&id).await?;
            }
        }
        Ok(())
    }

    /// Keeps changes for deliveries from now on, also those before
    /// [`prepare_deliveries`](Self::prepare_deliveries).
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn keep_for_deliveries(&self) -> Result<(), Error> {
        self.metadata.changes().register(WEBHOOKS).await?;
        Ok(())
    }

    /// Enqueues the deliveries of the next changes. Returns whether there were changes. `is_current` says
    /// whether `webhooks` are still all; otherwise a new one could miss changes after its own.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn enqueue_deliveries(
        &self,
        webhooks: &[Webhook],
        is_current: impl Fn() -> bool,
    ) -> Result<bool, Error> {
        let Some(cursor) = self.metadata.changes().cursor(WEBHOOKS).await? else { return Ok(false) };
        let page = self.events(cursor, BATCH).await?;
        // The changes of this page came before this question.
        if page.cursor == cursor || !is_current() {
            return Ok(false);
        }
        let mut deliveries = Vec::new();
        for event in &page.events {
            for webhook in webhooks.iter().filter(|webhook| webhook.wants(event)) {
                if !self.may_deliver(webhook, event).await? {
                    continue;
                }
                let json = serde_json::to_string(event).map_err(|error| {
                    Error::Store(store::StoreError::Damaged(format!(
                        "an event cannot be serialised: {error}"
                    )))
                })?;
                deliveries.push(NewDelivery {
                    webhook: webhook.id.clone(),
                    repository: event.repository.clone(),
                    event: json,
                });
            }
        }
        self.metadata.enqueue_deliveries(deliveries, page.cursor).await?;
        Ok(true)
    }

    /// Returns the first pending deliveries of a webhook, without those of the repositories `except`.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn pending_deliveries(
        &self,
        webhook: &str,
        except: &[String],
        limit: usize,
    ) -> Result<Vec<DeliveryRecord>, Error> {
        Ok(self.metadata.pending_deliveries(webhook, except, limit).await?)
    }

    /// Records an attempt to deliver.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn record_attempt(
        &self,
        id: i64,
        state: DeliveryState,
        status: Option<u16>,
        answer: Option<String>,
    ) -> Result<(), Error> {
        let result = match state {
            DeliveryState::Delivered => "delivered",
            DeliveryState::Pending => "failed",
            DeliveryState::Parked => "parked",
        };
        self.inner.metrics.webhook_attempts.of(result).inc();
        Ok(self.metadata.record_attempt(id, state, status, answer).await?)
    }

    /// Returns deliveries of a webhook before `before`, the latest first.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn deliveries(
        &self,
        webhook: &str,
        state: Option<DeliveryState>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<DeliveryRecord>, Error> {
        Ok(self.metadata.deliveries(webhook, state, before, limit).await?)
    }

    /// The numbers of deliveries of a webhook.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn delivery_counts(&self, webhook: &str) -> Result<DeliveryCounts, Error> {
        Ok(self.metadata.delivery_counts(webhook).await?)
    }

    /// Makes deliveries pending again: one, or all that are parked. Returns their number.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn replay_deliveries(&self, webhook: &str, id: Option<i64>) -> Result<u64, Error> {
        Ok(self.metadata.replay_deliveries(webhook, id).await?)
    }

    /// Removes the oldest ended deliveries of a webhook.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn prune_deliveries(&self, webhook: &str) -> Result<(), Error> {
        Ok(self.metadata.prune_deliveries(webhook).await?)
    }

    /// The id of the database, which makes the ids of events unique among registries.
    #[must_use]
    pub fn id(&self) -> &str {
        self.metadata.id()
    }
}
