//! The audit log: who did what, from where, and how it ended.
//!
//! Entries go through a queue of bounded length to a task that writes all that wait in one
//! transaction. A change is answered only after its entry is kept; others are kept within moments,
//! and when the registry is closed. What the store cannot take is told to the operator's log, so
//! that it is not lost either.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use store::Metadata;
use store::metadata::AuditEntry;
use tokio::sync::{mpsc, oneshot};

use super::{Accounts, AuditVerdict, Identity};

/// Entries that may wait. Who has one more waits until there is room.
const WAITING: usize = 4096;
/// Entries that one transaction keeps.
const BATCH: usize = 512;

/// Sees every entry as it is made.
pub type AuditSink = Arc<dyn Fn(&AuditEntry) + Send + Sync>;

/// Something that the audit log is told of. The log adds when.
#[derive(Clone, Debug)]
pub struct AuditEvent {
    /// Who, see [`AuditEvent::account_of`]; or the name under which somebody tried to sign in.
    pub account: Option<String>,
    /// From where; not known for commands of the operator.
    pub address: Option<IpAddr>,
    /// What: `manifest.push`, `user.add` …
    pub action: &'static str,
    /// With what: a repository, perhaps with a tag or digest, or an account.
    pub object: Option<String>,
    /// How it ended.
    pub verdict: AuditVerdict,
    /// With which HTTP status.
    pub status: Option<u16>,
    /// By which request.
    pub request_id: Option<String>,
    /// What else there is to say. Never a secret.
    pub detail: Option<String>,
}

impl AuditEvent {
    /// By which name the log knows somebody. That of the operator can be no account's.
    #[must_use]
    pub fn account_of(identity: &Identity) -> Option<String> {
        match identity {
            Identity::Operator => Some("(operator)".to_owned()),
            Identity::Anonymous => None,
            Identity::Account(account) => Some(account.name.to_string()),
        }
    }

    fn into_entry(self) -> AuditEntry {
        AuditEntry {
            at: SystemTime::now(),
            account: self.account,
            address: self.address.map(|address| address.to_canonical().to_string()),
            action: self.action.to_owned(),
            object: self.object,
            verdict: self.verdict,
            status: self.status,
            request_id: self.request_id,
            detail: self.detail,
        }
    }
}

/// What goes through the queue.
enum Item {
    /// To be kept.
    Entry(AuditEntry),
    /// To be answered when everything before it is kept.
    Mark(oneshot::Sender<()>),
    /// As `Mark`; and nothing is to come after it.
    End(oneshot::Sender<()>),
}

/// The way to the log.
pub(super) struct Audit {
    queue: mpsc::Sender<Item>,
    sink: Option<AuditSink>,
}

impl Audit {
    pub(super) fn start(metadata: Metadata, sink: Option<AuditSink>) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING);
        tokio::spawn(write(metadata, waiting));
        Self { queue, sink }
    }

    fn entry(&self, event: AuditEvent) -> AuditEntry {
        let entry = event.into_entry();
        if let Some(sink) = &self.sink {
            sink(&entry);
        }
        entry
    }

    async fn put(&self, item: Item) {
        if let Err(mpsc::error::SendError(Item::Entry(entry))) = self.queue.send(item).await {
            lost(&entry);
        }
    }

    /// Waits until everything that was put so far is kept.
    async fn mark(&self, item: impl FnOnce(oneshot::Sender<()>) -> Item) {
        let (done, kept) = oneshot::channel();
        self.put(item(done)).await;
        // The task is gone only after it has dealt with everything.
        _ = kept.await;
    }

    pub(super) async fn close(&self) {
        self.mark(Item::End).await;
    }
}

async fn write(metadata: Metadata, mut waiting: mpsc::Receiver<Item>) {
    let mut items = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut items, BATCH).await > 0 {
        let mut entries = Vec::with_capacity(items.len());
        let mut marks = Vec::new();
        for item in items.drain(..) {
            match item {
                Item::Entry(entry) => entries.push(entry),
                Item::Mark(mark) => marks.push(mark),
                Item::End(mark) => {
                    // What is in the queue is still received; nothing new gets in.
                    waiting.close();
                    marks.push(mark);
                }
            }
        }
        if !entries.is_empty()
            && let Err(error) = metadata.append_audit(entries.clone()).await
        {
            tracing::error!(%error, "the audit log cannot be written; what it misses follows");
            entries.iter().for_each(lost);
        }
        for mark in marks {
            // Whoever waited may have given up.
            _ = mark.send(());
        }
    }
}

/// Tells the operator's log what the audit log misses.
fn lost(entry: &AuditEntry) {
    tracing::error!(?entry, "not in the audit log");
}

impl Accounts {
    /// Tells the audit log of something. Waits only where thousands of entries wait already.
    pub async fn record(&self, event: AuditEvent) {
        let audit = &self.inner.audit;
        audit.put(Item::Entry(audit.entry(event))).await;
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// The event, if it would have to wait: then [`Accounts::record`] does.
    pub fn try_record(&self, event: AuditEvent) -> Result<(), AuditEvent> {
        let audit = &self.inner.audit;
        match audit.queue.try_reserve() {
            Ok(room) => {
                room.send(Item::Entry(audit.entry(event)));
                Ok(())
            }
            Err(mpsc::error::TrySendError::Full(())) => Err(event),
            Err(mpsc::error::TrySendError::Closed(())) => {
                lost(&audit.entry(event));
                Ok(())
            }
        }
    }

    /// Tells the audit log of a change, and waits until it is kept durably.
    pub async fn record_durably(&self, event: AuditEvent) {
        self.record(event).await;
        self.flush_audit().await;
    }

    /// Waits until everything is kept that was recorded so far.
    pub async fn flush_audit(&self) {
        self.inner.audit.mark(Item::Mark).await;
    }
}
