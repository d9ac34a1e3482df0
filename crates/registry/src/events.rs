//! Events: the changes of the outbox that webhooks and the event stream announce.
//!
//! Tasks that change no content, such as a run of the garbage collection, announce an event with
//! [`Registry::announce`]. Requests that must not wait for a write use [`Registry::note`].

use std::net::IpAddr;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use accounts::Actor;
use oci::{Digest, RepositoryName, Tag};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use store::metadata::{Change, ChangeKind, EVENTS, NewChange};
use tokio::sync::{mpsc, watch};

use crate::{Error, Registry};

/// The number of changes that are kept at most.
const MOST: i64 = 100_000;
/// The interval at which old changes are given up.
const EXPIRY_PERIOD: Duration = Duration::from_secs(60);
/// The capacity of the queue of noted events. Beyond it, events are dropped.
const QUEUE: usize = 1024;
/// The number of failed sign-ins in a second that are events.
const FAILURES: u32 = 10;

accounts::string_enum! {
    /// The kind of an event, as filters and messages spell it.
    pub enum EventKind: "kind of event" {
        /// A manifest was pushed.
        Push = "push",
        /// A tag was created, or moved to another manifest.
        TagMoved = "tag.moved",
        /// A tag was deleted.
        TagDeleted = "tag.deleted",
        /// A manifest was deleted.
        ManifestDeleted = "manifest.deleted",
        /// A deleted manifest was restored.
        ManifestRestored = "manifest.restored",
        /// A repository lost its last content.
        RepositoryDeleted = "repository.deleted",
        /// A blob was pushed.
        BlobPushed = "blob.pushed",
        /// A blob was removed from a repository.
        BlobDeleted = "blob.deleted",
        /// A manifest was pulled.
        Pull = "pull",
        /// A push brought a quota to 80 %.
        QuotaWarning = "quota.warning",
        /// A retention run ended.
        RetentionRun = "retention.run",
        /// A garbage collection ended.
        GcRun = "gc.run",
        /// Missing or damaged content was found.
        CheckFinding = "check.finding",
        /// An upstream became unreachable, or reachable again.
        UpstreamState = "upstream.state",
        /// Wrong credentials were sent.
        SignInFailed = "sign-in.failed",
        /// A test of a webhook.
        Test = "test",
    }
}

impl EventKind {
    /// The kind of a change. `None` for changes without an event.
    #[must_use]
    pub fn of(kind: ChangeKind) -> Option<Self> {
        Some(match kind {
            ChangeKind::ManifestPut => Self::Push,
            ChangeKind::TagMoved => Self::TagMoved,
            ChangeKind::TagDeleted => Self::TagDeleted,
            ChangeKind::ManifestDeleted => Self::ManifestDeleted,
            ChangeKind::ManifestRestored => Self::ManifestRestored,
            ChangeKind::RepositoryDeleted => Self::RepositoryDeleted,
            ChangeKind::BlobLinked => Self::BlobPushed,
            ChangeKind::BlobUnlinked => Self::BlobDeleted,
            ChangeKind::Pull => Self::Pull,
            ChangeKind::QuotaWarning => Self::QuotaWarning,
            ChangeKind::RetentionRun => Self::RetentionRun,
            ChangeKind::GcRun => Self::GcRun,
            ChangeKind::CheckFinding | ChangeKind::ContentDamaged => Self::CheckFinding,
            ChangeKind::UpstreamState => Self::UpstreamState,
            ChangeKind::SignInFailed => Self::SignInFailed,
            ChangeKind::ContentRepaired | ChangeKind::UploadExpired => return None,
        })
    }

    /// Whether a filter that names no events lets the kind through: all but the frequent ones.
    const fn is_usual(self) -> bool {
        !matches!(self, Self::Pull | Self::BlobPushed | Self::BlobDeleted)
    }
}

/// A filter of kinds of events: `push`, `tag.*`, `*`. Without a word it lets all but pulls and blobs through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter(Vec<String>);

impl EventFilter {
    /// Makes a filter of words.
    ///
    /// # Errors
    /// The first word that no event matches.
    pub fn new(words: Vec<String>) -> Result<Self, String> {
        match words.iter().find(|word| !EventKind::ALL.iter().any(|kind| is_match(word, *kind))) {
            Some(unknown) => Err(unknown.clone()),
            None => Ok(Self(words)),
        }
    }

    /// The words.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.0
    }

    /// Whether the filter lets a kind through.
    #[must_use]
    pub fn allows(&self, kind: EventKind) -> bool {
        match &self.0[..] {
            [] => kind.is_usual(),
            words => words.iter().any(|word| is_match(word, kind)),
        }
    }
}

fn is_match(word: &str, kind: EventKind) -> bool {
    match word.strip_suffix('*') {
        Some(prefix) => kind.as_str().starts_with(prefix),
        None => word == kind.as_str(),
    }
}

/// An event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The number of the change. Ascends, and is never reused.
    pub id: i64,
    /// The kind.
    pub kind: EventKind,
    /// The time in milliseconds since 1970.
    pub at: u64,
    /// The repository. `None` for events of the whole registry.
    pub repository: Option<RepositoryName>,
    /// The tag that was moved or deleted.
    pub tag: Option<Tag>,
    /// The manifest or blob.
    pub digest: Option<Digest>,
    /// The manifest of the tag before.
    pub previous: Option<Digest>,
    /// The account of the actor.
    pub account: Option<String>,
    /// The request of the actor.
    pub request_id: Option<String>,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// More: a JSON object.
    pub detail: Option<Json>,
}

impl Event {
    fn of(change: Change) -> Option<Self> {
        let kind = EventKind::of(change.kind)?;
        let at = change.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let detail = match change.kind {
            ChangeKind::ContentDamaged => Some(serde_json::json!({ "finding": "damaged" })),
            _ => change.detail,
        };
        Some(Self {
            id: change.id,
            kind,
            at: u64::try_from(at).unwrap_or(u64::MAX),
            repository: change.repository,
            tag: change.tag,
            digest: change.digest,
            previous: change.previous,
            account: change.account,
            request_id: change.request_id,
            address: change.address,
            detail,
        })
    }

    /// A test event, for a webhook.
    #[must_use]
    pub fn test(actor: Actor) -> Self {
        let at = UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
        Self {
            id: 0,
            kind: EventKind::Test,
            at: u64::try_from(at).unwrap_or(u64::MAX),
            repository: None,
            tag: None,
            digest: None,
            previous: None,
            account: actor.account,
            request_id: actor.request_id,
            address: actor.address,
            detail: None,
        }
    }

    /// The tags of a push.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        let tags = self.detail.as_ref().and_then(|detail| detail["tags"].as_array());
        tags.into_iter().flatten().filter_map(Json::as_str)
    }

    /// The media type of a pushed or pulled manifest.
    #[must_use]
    pub fn media_type(&self) -> Option<&str> {
        self.detail.as_ref()?["mediaType"].as_str()
    }

    /// The artifact type of a pushed manifest: its own, or that of its config.
    #[must_use]
    pub fn artifact_type(&self) -> Option<&str> {
        self.detail.as_ref()?["artifactType"].as_str()
    }

    /// The size of a pushed manifest or blob.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.detail.as_ref()?["size"].as_u64()
    }

    /// The time of the event.
    #[must_use]
    pub fn time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.at)
    }
}

/// Events in their order, and the cursor after them.
#[derive(Clone, Debug)]
pub struct EventPage {
    /// The events.
    pub events: Vec<Event>,
    /// The cursor for the next page. Changes without an event advance it too.
    pub cursor: i64,
}

/// The queue of noted events.
pub(crate) struct EventQueue {
    /// The number of pulls so far, for the sample.
    pulls: AtomicU64,
    /// The second of the last failed sign-ins, and their number in it.
    failures: std::sync::Mutex<(u64, u32)>,
    sender: mpsc::Sender<NewChange>,
    receiver: std::sync::Mutex<Option<mpsc::Receiver<NewChange>>>,
}

impl EventQueue {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        Self {
            pulls: AtomicU64::new(0),
            failures: std::sync::Mutex::default(),
            sender,
            receiver: std::sync::Mutex::new(Some(receiver)),
        }
    }

    pub(crate) fn take_receiver(&self) -> Option<mpsc::Receiver<NewChange>> {
        self.receiver.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }
}

impl Registry {
    /// Returns the first events after a cursor.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn events(&self, cursor: i64, limit: usize) -> Result<EventPage, Error> {
        let changes = self.metadata.changes().since(cursor, limit).await?;
        let last = changes.last().map_or(cursor, |change| change.id);
        Ok(EventPage { events: changes.into_iter().filter_map(Event::of).collect(), cursor: last })
    }

    /// The number of the newest change, which is updated after each commit.
    #[must_use]
    pub fn watch_events(&self) -> watch::Receiver<i64> {
        self.metadata.changes().watch()
    }

    /// The cursor before the oldest event that is kept.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn oldest_event(&self) -> Result<i64, Error> {
        let changes = self.metadata.changes();
        Ok(changes.cursor(EVENTS).await?.unwrap_or_else(|| changes.newest()))
    }

    /// Announces an event that no change of content causes, such as the end of a run. It is durable when this
    /// returns.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn announce(
        &self,
        kind: ChangeKind,
        repository: Option<&RepositoryName>,
        detail: Json,
    ) -> Result<(), Error> {
        let change = match repository {
            Some(repository) => NewChange::of(kind, repository),
            None => NewChange::new(kind),
        };
        Ok(self.metadata.changes().append(vec![change.detail(detail)]).await?)
    }

    /// Notes a frequent event without waiting. It is written shortly after, and dropped if too many wait.
    pub fn note(&self, change: NewChange) {
        if self.inner.event_queue.sender.try_send(change).is_err() {
            tracing::debug!("an event was dropped, because too many wait");
        }
    }

    /// Whether the next pull is an event: one of the number that the policy says.
    #[must_use]
    pub fn samples_pull(&self) -> bool {
        match self.inner.policy.load().pull_events {
            0 => false,
            every => self.inner.event_queue.pulls.fetch_add(1, Ordering::Relaxed).is_multiple_of(every),
        }
    }

    /// Notes wrong credentials. An attacker can cause any number, so only a few in a second are events.
    pub fn note_failed_sign_in(&self, actor: Actor, reason: Option<&str>) {
        let second = UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        let mut failures = self.inner.event_queue.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.0 != second {
            *failures = (second, 0);
        }
        failures.1 += 1;
        if failures.1 <= FAILURES {
            let detail = serde_json::json!({ "reason": reason });
            self.note(NewChange::new(ChangeKind::SignInFailed).detail(detail).by(actor));
        }
    }

    /// Writes noted events, in batches.
    pub(crate) async fn write_noted_events(&self, mut queue: mpsc::Receiver<NewChange>) {
        let mut batch = Vec::new();
        while queue.recv_many(&mut batch, QUEUE).await > 0 {
            let events = std::mem::take(&mut batch);
            if let Err(error) = self.metadata.changes().append(events).await {
                tracing::warn!(%error, "cannot write events of pulls and sign-ins; they are lost");
            }
        }
    }

    /// Keeps changes for the event stream, for the time of the policy.
    pub(crate) async fn expire_events(&self) {
        let mut policy = self.inner.policy_changed.subscribe();
        let changes = self.metadata.changes();
        let mut ticks = tokio::time::interval(EXPIRY_PERIOD);
        ticks.tick().await;
        loop {
            let retention = self.inner.policy.load().event_retention;
            if retention.is_zero() {
                if let Err(error) = changes.unregister(EVENTS).await {
                    tracing::warn!(%error, "cannot end the retention of events; the database keeps them");
                }
                // An error means that the registry is gone.
                _ = policy.changed().await;
                continue;
            }
            let expired = async {
                changes.register(EVENTS).await?;
                let before = SystemTime::now().checked_sub(retention).unwrap_or(UNIX_EPOCH);
                self.metadata.expire_changes(EVENTS, before, MOST).await
            };
            if let Err(error) = expired.await {
                tracing::warn!(%error, "cannot remove old events; trying again later");
            }
            tokio::select! {
                _ = ticks.tick() => {}
                _ = policy.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_matches_words_and_groups() {
        let filter = |words: &[&str]| EventFilter::new(words.iter().map(|word| (*word).to_owned()).collect());
        assert!(filter(&["tag.*"]).unwrap().allows(EventKind::TagDeleted));
        assert!(!filter(&["tag.*"]).unwrap().allows(EventKind::Push));
        assert!(filter(&["*"]).unwrap().allows(EventKind::Pull));
        let usual = filter(&[]).unwrap();
        assert!(usual.allows(EventKind::Push) && !usual.allows(EventKind::Pull));
        assert_eq!(filter(&["push", "pushed"]).unwrap_err(), "pushed");
    }
}
