//! The audit log: who did what, from where, and how it ended.
//!
//! Entries go through a queue of bounded length to a task that writes all that wait in one
//! transaction. A change is answered only after its entry is kept; others are kept within moments,
//! and when the registry is closed. What the store cannot take is told to the operator's log, so
//! that it is not lost either. Repeated refusals share a row, see [`super::repeats`].

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use store::Metadata;
use store::metadata::{AuditAmendment, AuditEntry};
use tokio::sync::{mpsc, oneshot};

use super::login_throttle::Network;
use super::repeats::{Noted, Repeats, rounded};
use super::{Accounts, AuditVerdict, Identity};

/// Entries that may wait. Who has one more waits until there is room.
const WAITING: usize = 4096;
/// Entries that one transaction keeps.
const BATCH: usize = 512;

/// The name of the operator in the log. It can be no account's.
pub(super) const OPERATOR: &str = "(operator)";

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
    /// A row that is kept already, to be changed.
    Amendment(AuditAmendment),
    /// To be answered when everything before it is kept.
    Mark(oneshot::Sender<()>),
    /// As `Mark`; and nothing is to come after it.
    End(oneshot::Sender<()>),
}

/// The way to the log.
pub(super) struct Audit {
    queue: mpsc::Sender<Item>,
    sink: Option<AuditSink>,
    repeats: Mutex<Repeats>,
}

impl Audit {
    pub(super) fn start(metadata: Metadata, sink: Option<AuditSink>) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING);
        tokio::spawn(write(metadata, waiting));
        Self { queue, sink, repeats: Mutex::default() }
    }

    /// What is to be done about an event. The sink sees what the log gets.
    fn note(&self, event: AuditEvent) -> Noted {
        let network = event.address.map(Network::from);
        let noted = self.repeats().note(event.into_entry(), network, Instant::now());
        if let Some(sink) = &self.sink {
            noted.amendment.iter().for_each(|amendment| sink(&amendment.entry));
            noted.entry.iter().for_each(|entry| sink(entry));
        }
        noted
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

    /// Adds the numbers of repeats to rows whose time is over.
    pub(super) async fn end_repeats(&self) {
        let ended = self.repeats().ended(Instant::now());
        self.amend(ended).await;
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
        let ended = self.repeats().all();
        self.amend(ended).await;
        self.mark(Item::End).await;
    }
}

async fn write(metadata: Metadata, mut waiting: mpsc::Receiver<Item>) {
    let mut items = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut items, BATCH).await > 0 {
        let mut entries = Vec::with_capacity(items.len());
        let mut amendments = Vec::new();
        let mut marks = Vec::new();
        for item in items.drain(..) {
            match item {
                Item::Entry(entry) => entries.push(entry),
                Item::Amendment(amendment) => amendments.push(amendment),
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
        // After the rows that they change.
        if !amendments.is_empty()
            && let Err(error) = metadata.amend_audit(amendments.clone()).await
        {
            tracing::error!(%error, "rows of the audit log cannot be completed; they follow");
            amendments.iter().for_each(|amendment| lost(&amendment.entry));
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
        let Noted { amendment, entry } = audit.note(event);
        if let Some(amendment) = amendment {
            audit.put(Item::Amendment(amendment)).await;
        }
        if let Some(entry) = entry {
            audit.put(Item::Entry(entry)).await;
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
