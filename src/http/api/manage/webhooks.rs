//! Webhooks: listed, tested and replayed; those of owners are also added and removed.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use accounts::AccountName;
use api::{
    Deliveries, Delivery, MadeWebhook, NewWebhook, Replay, Replayed, Secret, WebhookChange, WebhookTest,
    Webhooks,
};
use registry::access::manage::WebhookRequest;
use registry::events::{Event, EventFilter};
use registry::records::{DeliveryRecord, DeliveryState};
use registry::webhooks::{Webhook, WebhookFormat};
use reqwest::Url;

use super::{body, change, created, manage, map_error, no_content, ok, take_page};
use crate::config::shown_url;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::extract::path_part::WebhookId;
use crate::http::response::Response;
use crate::webhooks::{Receiver, addresses, signature};

pub(crate) async fn list(call: Call<'_>) -> Result<Response, Error> {
    Ok(ok(&Webhooks { webhooks: all(&call).await?, more: false }))
}

/// Returns the webhooks that the caller may see.
pub(crate) async fn all(call: &Call<'_>) -> Result<Vec<api::Webhook>, Error> {
    // Callers without an account are refused even if there is no webhook.
    let mut webhooks = Vec::new();
    let manage = manage(call);
    map_error(call, manage.must_be_known())?;
    for receiver in call.app.webhooks.receivers(&call.app.registry).await? {
        if manage.must_see_webhook(&receiver.webhook).await.is_ok() {
            webhooks.push(convert(call, &receiver.webhook, Shown::InList).await?);
        }
    }
    Ok(webhooks)
}

pub(crate) async fn get(call: Call<'_>, id: &WebhookId) -> Result<Response, Error> {
    Ok(ok(&one(&call, id).await?))
}

/// Returns a webhook that the caller may see.
pub(crate) async fn one(call: &Call<'_>, id: &WebhookId) -> Result<api::Webhook, Error> {
    let receiver = find(call, id).await?;
    convert(call, &receiver.webhook, Shown::Alone).await
}

pub(crate) async fn add(mut call: Call<'_>) -> Result<Response, Error> {
    let new = body(&mut call).await?;
    Ok(created(&make(&call, new).await?))
}

/// Adds a webhook.
pub(crate) async fn make(call: &Call<'_>, new: NewWebhook) -> Result<MadeWebhook, Error> {
    let NewWebhook { url, secret, events, repositories, media_types, format } = new;
    let url = receiver_url(&url)?;
    let events =
        EventFilter::new(events).map_err(|_| bad("events", "kinds of events, such as push or tag.*"))?;
    let format = match format {
        Some(format) => format.parse().map_err(|_| bad("format", FORMATS))?,
        None => WebhookFormat::CloudEvents,
    };
    let secret = new_secret(secret)?;
    let shown_url = shown_url(&url);
    let secret_text = secret.reveal().to_owned();
    let request =
        WebhookRequest { url, shown_url, secret: secret_text, events, repositories, media_types, format };
    let webhook = change(call, |manage| async move { manage.add_webhook(request).await }).await?;
    call.app.webhooks.changed();
    Ok(MadeWebhook { webhook: convert(call, &webhook, Shown::Alone).await?, secret })
}

pub(crate) async fn rotate(mut call: Call<'_>, id: &WebhookId) -> Result<Response, Error> {
    let WebhookChange { secret } = body(&mut call).await?;
    Ok(ok(&replace_secret(&call, id, secret).await?))
}

/// Replaces the secret of a webhook.
pub(crate) async fn replace_secret(
    call: &Call<'_>,
    id: &WebhookId,
    secret: Option<Secret>,
) -> Result<MadeWebhook, Error> {
    let id = owned(call, id).await?;
    let secret = new_secret(secret)?;
    let revealed = secret.reveal().to_owned();
    let changed = change(call, |manage| async move { manage.rotate_webhook_secret(id, revealed).await });
    let webhook = changed.await?;
    call.app.webhooks.changed();
    Ok(MadeWebhook { webhook: convert(call, &webhook, Shown::Alone).await?, secret })
}

pub(crate) async fn remove(call: Call<'_>, id: &WebhookId) -> Result<Response, Error> {
    delete(&call, id).await?;
    Ok(no_content())
}

/// Removes a webhook with its deliveries.
pub(crate) async fn delete(call: &Call<'_>, id: &WebhookId) -> Result<(), Error> {
    let id = owned(call, id).await?;
    change(call, |manage| async move { manage.remove_webhook(id).await }).await?;
    call.app.webhooks.changed();
    Ok(())
}

pub(crate) async fn test(call: Call<'_>, id: &WebhookId) -> Result<Response, Error> {
    Ok(ok(&send_test(&call, id).await?))
}

/// Sends a test event at once, and returns the receiver's answer.
pub(crate) async fn send_test(call: &Call<'_>, id: &WebhookId) -> Result<WebhookTest, Error> {
    let receiver = find(call, id).await?;
    let event = Event::test(call.caller.actor(&call.request.id));
    let attempt = call.app.webhooks.send(&receiver, &event).await;
    let delivered = attempt.is_delivered();
    Ok(WebhookTest { delivered, status: attempt.status, answer: attempt.answer })
}

pub(crate) async fn deliveries(call: Call<'_>, id: &WebhookId) -> Result<Response, Error> {
    let page = call.page()?;
    let state = call.query().parsed::<DeliveryState>("state", "pending, delivered or parked")?;
    let before = page.last_as("last")?;
    let found = read_deliveries(&call, id, state, before, page.limit + 1).await?;
    let (deliveries, more) = take_page(found, &page);
    let last = deliveries.last().filter(|_| more).map(|last| last.id.to_string());
    let mut response = ok(&Deliveries { deliveries, more });
    let path = format!("/api/v1/webhooks/{}/deliveries", id.as_str());
    let filters = state.map(|state| ("state", state.as_str()));
    page.link_next(&mut response, &call.caller.links(), &path, filters.as_slice(), last.as_deref());
    Ok(response)
}

/// Returns deliveries of a webhook before `before`, the latest first.
pub(crate) async fn read_deliveries(
    call: &Call<'_>,
    id: &WebhookId,
    state: Option<DeliveryState>,
    before: Option<i64>,
    limit: usize,
) -> Result<Vec<Delivery>, Error> {
    let receiver = find(call, id).await?;
    let found = call.app.registry.deliveries(&receiver.webhook.id, state, before, limit).await?;
    Ok(found.into_iter().map(delivery).collect())
}

pub(crate) async fn replay(mut call: Call<'_>, id: &WebhookId) -> Result<Response, Error> {
    let Replay { delivery } = body(&mut call).await?;
    Ok(ok(&Replayed { replayed: send_again(&call, id, delivery).await? }))
}

/// Makes one delivery pending again, or all that are parked, and ends the backoff. Returns their number.
pub(crate) async fn send_again(call: &Call<'_>, id: &WebhookId, delivery: Option<i64>) -> Result<u64, Error> {
    let receiver = find(call, id).await?;
    let replayed = call.app.registry.replay_deliveries(&receiver.webhook.id, delivery).await?;
    call.app.webhooks.changed();
    call.app.webhooks.retry(&receiver.webhook.id);
    Ok(replayed)
}

/// The maximum length of a receiver's URL.
const MAX_URL: usize = 2048;
const FORMATS: &str = "cloudevents, cloudevents-binary or distribution";

fn bad(parameter: &'static str, expected: &'static str) -> Error {
    Error::BadParameter { parameter, expected }
}

/// Refuses URLs that a webhook of an owner must not have. Returns the URL as it was understood, so that a
/// list shows the host that gets the requests.
fn receiver_url(url: &str) -> Result<String, Error> {
    let expected =
        "an http:// or https:// URL of a host in the public internet, with at most 2,048 characters";
    match url.parse::<Url>() {
        Ok(url)
            if matches!(url.scheme(), "http" | "https")
                && url.as_str().len() <= MAX_URL
                && addresses::refused_host(&url).is_none() =>
        {
            Ok(url.into())
        }
        _ => Err(bad("url", expected)),
    }
}

fn new_secret(secret: Option<Secret>) -> Result<Secret, Error> {
    match secret {
        Some(secret) if secret.reveal().is_empty() => Err(bad("secret", "a text, or nothing for a new one")),
        Some(secret) => Ok(secret),
        None => {
            let generated = signature::generate();
            generated.map(|secret| Secret::new(&secret)).ok_or_else(|| bad("secret", "a text"))
        }
    }
}

/// The webhook, if the caller may see it.
async fn find(call: &Call<'_>, id: &WebhookId) -> Result<Arc<Receiver>, Error> {
    let manage = manage(call);
    map_error(call, manage.must_be_known())?;
    let all = call.app.webhooks.receivers(&call.app.registry).await?;
    let found = all.into_iter().find(|receiver| receiver.webhook.id == id.as_str());
    let Some(receiver) = found else { return Err(Error::Manage(manage.webhook_not_found(id.as_str()))) };
    map_error(call, manage.must_see_webhook(&receiver.webhook).await)?;
    Ok(receiver)
}

/// The number of a webhook that an owner made. One of the configuration is changed there.
async fn owned(call: &Call<'_>, id: &WebhookId) -> Result<i64, Error> {
    let receiver = find(call, id).await?;
    match receiver.webhook.id.parse() {
        Ok(number) if !receiver.webhook.is_configured => Ok(number),
        _ => {
            Err(bad("webhook", "one that was made by this API; change the others in the configuration file"))
        }
    }
}

/// The place where a webhook is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    InList,
    Alone,
}

async fn convert(call: &Call<'_>, webhook: &Webhook, shown: Shown) -> Result<api::Webhook, Error> {
    let counts = call.app.registry.delivery_counts(&webhook.id).await?;
    // The URL may hold a password or a token, which is for the account that named it, and for no list.
    let caller = call.caller.identity().name().map(AccountName::as_str);
    let is_own = caller.is_some() && caller == webhook.account.as_deref();
    Ok(api::Webhook {
        id: webhook.id.clone(),
        url: if is_own && shown == Shown::Alone { webhook.url.clone() } else { shown_url(&webhook.url) },
        events: webhook.events.words().to_vec(),
        repositories: webhook.repositories.clone(),
        media_types: webhook.media_types.clone(),
        format: webhook.format.to_string(),
        configured: webhook.is_configured,
        account: webhook.account.clone(),
        pending: counts.pending,
        delivered: counts.delivered,
        parked: counts.parked,
    })
}

fn delivery(record: DeliveryRecord) -> Delivery {
    let event = serde_json::from_str::<Event>(&record.event).ok();
    let seconds = |time: std::time::SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Delivery {
        id: record.id,
        event_id: event.as_ref().map_or(0, |event| event.id),
        event: event.map(|event| event.kind.to_string()).unwrap_or_default(),
        repository: Some(record.repository).filter(|name| !name.is_empty()),
        state: record.state.to_string(),
        attempts: record.attempts,
        created_at: seconds(record.created_at),
        attempted_at: record.attempted_at.map(seconds),
        status: record.status,
        answer: record.answer,
    }
}
