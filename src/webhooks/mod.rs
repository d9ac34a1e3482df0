//! Webhooks: sends events to their receivers, with retries and exponential backoff.
//!
//! - `deliver`: the task that enqueues and sends.
//! - `message`: the formats. `signature`: Standard Webhooks.
//! - `addresses`: the rules against SSRF.

pub(crate) mod addresses;
mod deliver;
pub(crate) mod message;
pub(crate) mod signature;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use arc_swap::ArcSwap;
use hyper::header::HeaderMap;
use registry::Registry;
use registry::events::{Event, EventFilter};
use registry::webhooks::Webhook;
use reqwest::{Client, Url, redirect};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::sync::Notify;
use tracing::Instrument as _;
use upstream::error_chain;

use crate::config::{Config, WebhookTable, shown_url};
use crate::tls;
use crate::tls::client::System;
use crate::traces;
use message::{Message, Origin};

pub(crate) use deliver::{prepare, run};

/// The time limit of a request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The number of bytes of an answer that are kept.
const ANSWER: usize = 1024;
/// The number of attempts for webhooks of owners.
const ATTEMPTS: u32 = 30;

/// The webhooks of the configuration, and the senders of all.
pub(crate) struct Webhooks {
    configured: ArcSwap<Configured>,
    /// The client for webhooks of owners, which reaches public addresses only.
    public: Client,
    /// The number of changes of webhooks, and of replays.
    version: AtomicU64,
    /// Wakes the task after such a change.
    wake: Notify,
    /// Wakes the senders, by the id of their webhook.
    senders: Mutex<HashMap<String, Arc<Waker>>>,
}

/// Wakes a sender.
#[derive(Default)]
struct Waker {
    /// There may be new deliveries. They wait for the end of a backoff.
    enqueued: Notify,
    /// Ends a backoff.
    retry: Notify,
}

/// The part of the configuration, which a reload replaces.
pub(crate) struct Configured {
    receivers: Vec<Arc<Receiver>>,
    origin: Origin,
}

impl Configured {
    /// Makes the clients of the webhooks.
    pub(crate) fn new(registry: &Registry, config: &Config) -> Result<Self, WebhookError> {
        let base = config.external_url.as_ref().map(|url| url.as_str().to_owned());
        let source = base.clone().unwrap_or_else(|| format!("urn:wharfinger:{}", registry.id()));
        Ok(Self {
            receivers: config.webhook.iter().map(receiver).collect::<Result<_, _>>()?,
            origin: Origin { source, base, instance: registry.id().to_owned() },
        })
    }
}

/// A webhook, and how to reach it.
pub(crate) struct Receiver {
    pub(crate) webhook: Webhook,
    client: Client,
    headers: HeaderMap,
    allow_private: bool,
    attempts: u32,
}

impl Receiver {
    /// Whether the other receiver can continue the deliveries. Webhooks of owners differ only in the compared
    /// fields.
    fn is_same(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        self.webhook == other.webhook && (!self.webhook.is_configured || Arc::ptr_eq(self, other))
    }
}

/// The result of a request.
pub(crate) struct Attempt {
    /// The status, if there was an answer.
    pub(crate) status: Option<u16>,
    /// The beginning of the answer, or the error.
    pub(crate) answer: String,
}

impl Attempt {
    pub(crate) fn is_delivered(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }

    /// Whether the receiver as a whole is unwell, rather than this event refused.
    fn is_unwell(&self) -> bool {
        self.status.is_none_or(|status| status >= 500 || matches!(status, 408 | 429))
    }
}

/// A webhook that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    #[error("cannot read the certificates of the webhook {url} in {path}: {source}")]
    Certificates { url: String, path: String, source: std::io::Error },
    #[error("cannot make an HTTP client for {receiver}")]
    Client { receiver: String, source: Box<dyn std::error::Error + Send + Sync> },
}

impl Webhooks {
    pub(crate) fn new(registry: &Registry, config: &Config) -> Result<Self, WebhookError> {
        let failed = |source| WebhookError::Client { receiver: "webhooks of owners".to_owned(), source };
        let public = client(false, None).map_err(failed)?;
        Ok(Self {
            configured: ArcSwap::from_pointee(Configured::new(registry, config)?),
            public,
            version: AtomicU64::new(0),
            wake: Notify::new(),
            senders: Mutex::default(),
        })
    }

    /// Returns all webhooks: those of the configuration, then those of owners.
    pub(crate) async fn receivers(&self, registry: &Registry) -> Result<Vec<Arc<Receiver>>, registry::Error> {
        let mut all = self.configured.load().receivers.clone();
        let owned = |webhook| {
            let headers = HeaderMap::new();
            let client = self.public.clone();
            Arc::new(Receiver { webhook, client, headers, allow_private: false, attempts: ATTEMPTS })
        };
        all.extend(registry.owned_webhooks().await?.into_iter().map(owned));
        Ok(all)
    }

    /// Replaces the webhooks of the configuration.
    pub(crate) fn configure(&self, configured: Configured) {
        self.configured.store(Arc::new(configured));
        self.changed();
    }

    /// Makes the task read the webhooks and the pending deliveries again.
    pub(crate) fn changed(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
        self.wake.notify_one();
        let senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        senders.values().for_each(|sender| sender.enqueued.notify_one());
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Makes the sender of a webhook try again now, because someone asked for it.
    pub(crate) fn retry(&self, webhook: &str) {
        let senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = senders.get(webhook) {
            sender.retry.notify_one();
        }
    }

    /// Sends an event to a receiver, once.
    pub(crate) async fn send(&self, receiver: &Receiver, event: &Event) -> Attempt {
        self.post(receiver, event).instrument(traces::webhook_span(&receiver.webhook.id)).await
    }

    async fn post(&self, receiver: &Receiver, event: &Event) -> Attempt {
        let failed = |answer: String| Attempt { status: None, answer };
        let url: Url = match receiver.webhook.url.parse() {
            Ok(url) => url,
            Err(error) => return failed(format!("the URL is not valid: {error}")),
        };
        if !receiver.allow_private
            && let Some(reason) = addresses::refused_host(&url)
        {
            return failed(format!("refused: {reason}"));
        }
        let mut event = event.clone();
        if !receiver.webhook.is_configured {
            // The client's address is for administrators.
            event.address = None;
        }
        let message = Message::of(&event, receiver.webhook.format, &self.configured.load().origin);
        let timestamp = UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        let mut headers = receiver.headers.clone();
        traces::inject(&mut headers);
        let mut request = receiver
            .client
            .post(url)
            .headers(headers)
            .header("content-type", message.content_type)
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", timestamp);
        for (name, value) in message.headers {
            request = request.header(name, value);
        }
        let signed = signature::sign(&receiver.webhook.secrets, &message.id, timestamp, &message.body);
        if let Some(signature) = signed {
            request = request.header("webhook-signature", signature);
        }
        match request.body(message.body).send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                Attempt { status: Some(status), answer: beginning(response).await }
            }
            // The URL may hold a token.
            Err(error) => failed(error_chain(&error.without_url())),
        }
    }
}

fn receiver(table: &WebhookTable) -> Result<Arc<Receiver>, WebhookError> {
    let certificates = match &table.ca {
        Some(path) => Some(std::fs::read(path).map_err(|source| WebhookError::Certificates {
            url: shown_url(&table.url),
            path: path.display().to_string(),
            source,
        })?),
        None => None,
    };
    let client = client(table.allow_private, certificates.as_deref()).map_err(|source| {
        WebhookError::Client { receiver: format!("the webhook {}", shown_url(&table.url)), source }
    })?;
    let secrets = [&table.secret, &table.previous_secret].into_iter().filter(|secret| !secret.is_empty());
    let webhook = Webhook {
        id: table.id(),
        url: table.url.clone(),
        secrets: secrets.cloned().collect(),
        events: EventFilter::new(table.events.clone()).unwrap_or_default(),
        repositories: table.repositories.clone(),
        media_types: table.media_types.clone(),
        format: table.format,
        account: None,
        is_configured: true,
    };
    Ok(Arc::new(Receiver {
        webhook,
        client,
        headers: table.header_pairs().into_iter().collect(),
        allow_private: table.allow_private,
        attempts: u32::try_from(table.attempts).unwrap_or(u32::MAX),
    }))
}

/// Makes a client that follows no redirects and uses no proxy, which would connect in its place. A machine
/// without certificates of its own gets one too, and only HTTPS fails there.
fn client(
    allow_private: bool,
    certificates: Option<&[u8]>,
) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
    let named = CertificateDer::pem_slice_iter(certificates.unwrap_or_default());
    let tls = tls::client::config(named.collect::<Result<_, _>>()?, System::Trusted)?;
    let mut builder = Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .timeout(TIMEOUT)
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("wharfinger/", env!("CARGO_PKG_VERSION")));
    if !allow_private {
        builder = builder.dns_resolver(Arc::new(addresses::PublicResolver));
    }
    Ok(builder.build()?)
}

/// Reads the beginning of an answer.
async fn beginning(mut response: reqwest::Response) -> String {
    let mut read = Vec::new();
    while read.len() < ANSWER
        && let Ok(Some(piece)) = response.chunk().await
    {
        read.extend_from_slice(&piece);
    }
    read.truncate(ANSWER);
    String::from_utf8_lossy(&read).into_owned()
}
