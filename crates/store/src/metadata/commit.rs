//! Commits: the effects of a transaction, and the listeners that hear of them before its operations are
//! answered. The version check tells them of the commits of other servers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{PoisonError, RwLock};

use tokio::sync::watch;

use super::{Change, Metadata};

/// The effects of a transaction.
#[derive(Debug, Default)]
pub struct Commit {
    /// The changes in the outbox, in their order.
    pub changes: Vec<Change>,
    /// Whether content was added to the blob journal.
    pub has_journaled: bool,
    /// Whether anything may have changed. `changes` is empty then.
    pub is_unknown: bool,
    /// Whether another server has changed accounts, memberships, tokens, grants or signing keys.
    pub are_accounts_changed: bool,
    /// Whether another server has changed webhooks.
    pub are_webhooks_changed: bool,
}

type Listener = Box<dyn Fn(&Commit) + Send + Sync>;

pub(super) struct Listeners {
    all: RwLock<Vec<Listener>>,
    newest: watch::Sender<i64>,
}

impl Listeners {
    /// `newest` is the number of the newest change.
    pub(super) fn new(newest: i64) -> Self {
        Self { all: RwLock::default(), newest: watch::Sender::new(newest) }
    }

    pub(super) fn watch(&self) -> watch::Receiver<i64> {
        self.newest.subscribe()
    }

    /// Calls the listeners, on the writer thread or that of the version check.
    pub(super) fn notify(&self, commit: &Commit) {
        let Commit { changes, has_journaled, is_unknown, are_accounts_changed, are_webhooks_changed } =
            commit;
        if changes.is_empty()
            && !(*has_journaled || *is_unknown || *are_accounts_changed || *are_webhooks_changed)
        {
            return;
        }
        for listener in &*self.all.read().unwrap_or_else(PoisonError::into_inner) {
            // The writer thread must survive a listener.
            if catch_unwind(AssertUnwindSafe(|| listener(commit))).is_err() {
                tracing::error!("a listener of the metadata panicked");
            }
        }
        match commit.changes.last() {
            // The writer and the version check may tell of two commits in either order.
            Some(last) => self.newest.send_modify(|newest| *newest = last.id.max(*newest)),
            // There may be unannounced changes.
            None if commit.is_unknown => self.newest.send_modify(|_| {}),
            None => {}
        }
    }
}

impl Metadata {
    /// Calls `listener` after each commit that changed content, before the operations are answered. It runs
    /// on the writer thread, so it must not block.
    pub fn on_commit(&self, listener: impl Fn(&Commit) + Send + Sync + 'static) {
        let mut all = self.inner.listeners.all.write().unwrap_or_else(PoisonError::into_inner);
        all.push(Box::new(listener));
    }
}
