//! Requests for a reload, from the API to the task that handles signals.

use tokio::sync::{mpsc, oneshot};

/// Asks the task that handles signals for a reload.
#[derive(Clone, Debug)]
pub(crate) struct ReloadRequests(mpsc::Sender<oneshot::Sender<api::Reloaded>>);

pub(crate) type ReloadQueue = mpsc::Receiver<oneshot::Sender<api::Reloaded>>;

impl ReloadRequests {
    pub(crate) fn new() -> (Self, ReloadQueue) {
        let (sender, queue) = mpsc::channel(1);
        (Self(sender), queue)
    }

    /// Reloads, and returns the result; `None` if the server is stopping.
    pub(crate) async fn reload(&self) -> Option<api::Reloaded> {
        let (answer, answered) = oneshot::channel();
        self.0.send(answer).await.ok()?;
        answered.await.ok()
    }
}
