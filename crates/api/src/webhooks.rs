//! Webhooks and their deliveries.

use accounts::Pattern;
use oci::MediaType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Secret;
use crate::page::page;

page! {
    /// All webhooks that the caller may see: `GET /api/v1/webhooks`.
    Webhooks {
        /// The webhooks of the configuration, then those of owners.
        webhooks: Webhook
    } by |entry| entry.id.clone()
}

/// A receiver of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Webhook {
    /// The name of a webhook of the configuration, or the number of one of an owner.
    pub id: String,
    /// The URL of the receiver.
    pub url: String,
    /// The events; empty: all but pulls and blobs.
    pub events: Vec<String>,
    /// The repositories; empty: all.
    #[schemars(with = "Vec<String>")]
    pub repositories: Vec<Pattern>,
    /// The media types or artifact types of pushed and pulled manifests; empty: all.
    #[schemars(with = "Vec<String>")]
    pub media_types: Vec<MediaType>,
    /// The format: `cloudevents`, `cloudevents-binary` or `distribution`.
    pub format: String,
    /// Whether it is in the configuration file.
    pub configured: bool,
    /// The account that made it.
    pub account: Option<String>,
    /// The number of deliveries that wait.
    pub pending: u64,
    /// The number of deliveries that succeeded and are still kept.
    pub delivered: u64,
    /// The number of deliveries that failed for good.
    pub parked: u64,
}

/// Adds a webhook for repositories that the caller may administer: `POST /api/v1/webhooks`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// The URL of the receiver, at a public address.
    pub url: String,
    /// The secret of the signatures; by default a new one.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// The events; empty: all but pulls and blobs.
    #[serde(default)]
    pub events: Vec<String>,
    /// The repositories: names or patterns.
    #[schemars(with = "Vec<String>")]
    pub repositories: Vec<Pattern>,
    /// The media types or artifact types of pushed and pulled manifests; empty: all. Other events have none,
    /// and are sent.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub media_types: Vec<MediaType>,
    /// The format; by default `cloudevents`.
    #[serde(default)]
    pub format: Option<String>,
}

/// A new webhook, or one with a new secret.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MadeWebhook {
    pub webhook: Webhook,
    /// Shown only in this response.
    pub secret: Secret,
}

/// Replaces the secret of a webhook: `PATCH /api/v1/webhooks/<id>`. The old one also signs until the next
/// change.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookChange {
    /// The secret; by default a new one.
    #[serde(default)]
    pub secret: Option<Secret>,
}

/// The result of a test: `POST /api/v1/webhooks/<id>/test`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookTest {
    /// Whether the receiver answered with success.
    pub delivered: bool,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The beginning of the answer, or the error.
    pub answer: String,
}

page! {
    /// A page of deliveries, the latest first: `GET /api/v1/webhooks/<id>/deliveries?state=&n=&last=`.
    Deliveries {
        /// The latest first.
        deliveries: Delivery
    } by |entry| entry.id.to_string()
}

/// A delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    /// Larger than those of all earlier deliveries.
    pub id: i64,
    /// The number of the event.
    pub event_id: i64,
    /// The kind of the event.
    pub event: String,
    /// The repository of the event.
    pub repository: Option<String>,
    /// `pending`, `delivered` or `parked`.
    pub state: String,
    /// The number of attempts.
    pub attempts: u32,
    /// The time at which it was enqueued.
    pub created_at: u64,
    /// The time of the last attempt.
    pub attempted_at: Option<u64>,
    /// The HTTP status of the last attempt, if there was an answer.
    pub status: Option<u16>,
    /// The beginning of the last answer, or the error.
    pub answer: Option<String>,
}

/// Sends deliveries again: `POST /api/v1/webhooks/<id>/replay`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// The delivery; by default all that are parked.
    #[serde(default)]
    pub delivery: Option<i64>,
}

/// The result of a replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Replayed {
    /// The number of deliveries that are sent again.
    pub replayed: u64,
}
