//! Audit log: who did what, from where, and with which outcome.
//!
//! Events pass a bounded queue to one task that writes them in batches, one transaction each. A change is
//! answered after its entry is durable; other entries follow shortly, at the latest on close. Entries that
//! the store refuses go to the operator's log. Repeated refusals share a row, see [`super::repeats`].

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use accounts::AccountName;
use store::Metadata;
use store::metadata::{AuditAmendment, AuditEntry};
use tokio::sync::{mpsc, oneshot};

use super::login_throttle::Network;
use super::repeats::{Aggregated, Repeats, rounded};
use super::{Accounts, AuditOutcome, Identity};

/// The capacity of the queue. Beyond it, senders wait (backpressure).
const QUEUE: usize = 4096;
/// The maximum number of entries in one transaction.
const BATCH: usize = 512;

/// The maximum number of bytes of an object or a detail. A client chooses parts of them.
const TEXT: usize = 1024;

/// The operator in the log. No account can have this name.
pub(super) const OPERATOR: &str = "(operator)";

/// Receives every entry at once.
pub type AuditSink = Arc<dyn Fn(&AuditEntry) + Send + Sync>;

/// An event to record. The log adds the time.
#[derive(Clone, Debug)]
pub struct AuditEvent {
    /// The actor, see [`AuditEvent::account_of`], or the claimed name of a failed sign-in.
    pub account: Option<String>,
    /// The client's address; `None` for commands of the operator.
    pub address: Option<IpAddr>,
    /// `manifest.push`, `user.add` …
    pub action: &'static str,
    /// A repository, with a tag or digest if there is one, or an account.
    pub object: Option<String>,
    /// Allowed, denied or failed.
    pub verdict: AuditOutcome,
    /// The HTTP status.
    pub status: Option<u16>,
    /// The id of the request.
    pub request_id: Option<String>,
    /// Further information. Never a secret.
    pub detail: Option<String>,
}

impl AuditEvent {
    /// The actor name of an identity; `None` if it is anonymous.
    #[must_use]
    pub fn account_of(identity: &Identity) -> Option<String> {
        match identity {
            Identity::Operator => Some(OPERATOR.to_owned()),
            Identity::Anonymous => None,
            Identity::Account(account) => Some(account.name.to_string()),
        }
    }

    fn into_entry(self) -> AuditEntry {
        AuditEntry {
            at: rounded(SystemTime::now()),
            account: self.account,
            address: self.address.map(|address| address.to_canonical().to_string()),
            action: self.action.to_owned(),
            object: self.object.map(shortened),
            verdict: self.verdict,
            status: self.status,
            request_id: self.request_id,
            detail: self.detail.map(shortened),
        }
    }
}

/// Cuts a long text, and says so at its end.
fn shortened(mut text: String) -> String {
    let size = text.len();
    if size > TEXT {
        text.truncate(text.floor_char_boundary(TEXT));
        text.push_str(&format!("… ({size} bytes)"));
    }
    text
}

/// An item of the queue.
enum Item {
    Entry(AuditEntry),
    /// Changes a row that is written already.
    Amendment(AuditAmendment),
    /// Is answered when all earlier items are durable.
    Flush(oneshot::Sender<()>),
    /// Like `Flush`, and closes the queue.
    Close(oneshot::Sender<()>),
}

/// The sending side of the queue.
pub(super) struct Audit {
    queue: mpsc::Sender<Item>,
    sink: Option<AuditSink>,
    repeats: Mutex<Repeats>,
}

impl Audit {
    pub(super) fn start(metadata: Metadata, sink: Option<AuditSink>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(write(metadata, waiting));
        Self { queue, sink, repeats: Mutex::default() }
    }

    /// Aggregates an event with earlier ones, and shows the result to the sink.
    fn aggregate(&self, event: AuditEvent) -> Aggregated {
        let network = event.address.map(Network::from);
        let aggregated = self.repeats().add(event.into_entry(), network, Instant::now());
        if let Some(sink) = &self.sink {
            aggregated.amendment.iter().for_each(|amendment| sink(&amendment.entry));
            aggregated.entry.iter().for_each(|entry| sink(entry));
        }
        aggregated
    }

    fn repeats(&self) -> MutexGuard<'_, Repeats> {
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn amend(&self, amendments: Vec<AuditAmendment>) {
        for amendment in amendments {
            if let Some(sink) = &self.sink {
                sink(&amendment.entry);
            }
            self.put(Item::Amendment(amendment)).await;
        }
    }

    /// Writes the counts of aggregated rows whose period is over.
    pub(super) async fn end_repeats(&self) {
        let ended = self.repeats().ended(Instant::now());
        self.amend(ended).await;
    }

    async fn put(&self, item: Item) {
        if let Err(mpsc::error::SendError(Item::Entry(entry))) = self.queue.send(item).await {
            lost(&entry);
        }
    }

    /// Waits until all earlier items are durable.
    async fn flush(&self, item: impl FnOnce(oneshot::Sender<()>) -> Item) {
        let (done, flushed) = oneshot::channel();
        self.put(item(done)).await;
        // An error means that the task has ended, after it wrote everything.
        _ = flushed.await;
    }

    pub(super) async fn close(&self) {
        let ended = self.repeats().all();
        self.amend(ended).await;
        self.flush(Item::Close).await;
    }
}

async fn write(metadata: Metadata, mut waiting: mpsc::Receiver<Item>) {
    let mut items = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut items, BATCH).await > 0 {
        let mut entries = Vec::with_capacity(items.len());
        let mut amendments = Vec::new();
        let mut flushes = Vec::new();
        for item in items.drain(..) {
            match item {
                Item::Entry(entry) => entries.push(entry),
                Item::Amendment(amendment) => amendments.push(amendment),
                Item::Flush(done) => flushes.push(done),
                Item::Close(done) => {
                    // Queued items are still received; new ones are refused.
                    waiting.close();
                    flushes.push(done);
                }
            }
        }
        // The primary gets every request that a replica does not answer, and records it.
        if metadata.is_replica() {
            entries.clear();
            amendments.clear();
        }
        if !entries.is_empty()
            && let Err(error) = metadata.append_audit(entries.clone()).await
        {
            tracing::error!(%error, "cannot write to the audit log; the lost entries follow");
            entries.iter().for_each(lost);
        }
        // Amendments change rows that were inserted above.
        if !amendments.is_empty()
            && let Err(error) = metadata.amend_audit(amendments.clone()).await
        {
            tracing::error!(%error, "cannot amend rows of the audit log; they follow");
            amendments.iter().for_each(|amendment| lost(&amendment.entry));
        }
        for done in flushes {
            // An error means that the waiting request was cancelled.
            _ = done.send(());
        }
    }
}

/// Writes a lost entry to the operator's log.
fn lost(entry: &AuditEntry) {
    tracing::error!(?entry, "not in the audit log");
}

impl Accounts {
    /// Records an event. Waits only while the queue is full.
    pub async fn record(&self, event: AuditEvent) {
        let audit = &self.inner.audit;
        let Aggregated { amendment, entry } = audit.aggregate(event);
        if let Some(amendment) = amendment {
            audit.put(Item::Amendment(amendment)).await;
        }
        if let Some(entry) = entry {
            audit.put(Item::Entry(entry)).await;
        }
    }

    /// Shows entries to the sink that the transaction of their change has stored.
    pub(crate) fn show_audited(&self, entries: &[AuditEntry]) {
        if let Some(sink) = &self.inner.audit.sink {
            entries.iter().for_each(|entry| sink(entry));
        }
    }

    /// Records an event and waits until it is durable.
    pub async fn record_durably(&self, event: AuditEvent) {
        self.record(event).await;
        self.flush_audit().await;
    }

    /// Waits until all earlier events are durable.
    pub async fn flush_audit(&self) {
        self.inner.audit.flush(Item::Flush).await;
    }
}

/// The event for an account that was created without a request of its own.
pub(super) fn account_created(
    actor: &str,
    name: &AccountName,
    address: Option<IpAddr>,
    detail: impl Into<String>,
) -> AuditEvent {
    AuditEvent {
        account: Some(actor.to_owned()),
        address,
        action: "user.add",
        object: Some(name.to_string()),
        verdict: AuditOutcome::Allowed,
        status: None,
        request_id: None,
        detail: Some(detail.into()),
    }
}
