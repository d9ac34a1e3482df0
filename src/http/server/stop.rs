//! The stop of a server in stages, which its connections watch.

use tokio::sync::watch;

use crate::http::server::connection::CutOff;

/// A handle that stops a server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<Stage>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Running,
    /// Requests in progress may end; no new ones are accepted.
    Ending,
    /// Connections are closed.
    Over(CutOff),
}

impl Stop {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(Stage::Running))
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Stage> {
        self.0.subscribe()
    }

    /// The number of connections that are left.
    pub(super) fn connections(&self) -> usize {
        self.0.receiver_count()
    }

    /// Waits until the server is told to stop.
    pub(crate) async fn begun(&self) {
        // The sender is in this handle.
        let _ = self.subscribe().wait_for(|stage| *stage > Stage::Running).await;
    }

    /// Waits until every connection has ended.
    pub(super) async fn all_ended(&self) {
        self.0.closed().await;
    }

    /// Stops gracefully: requests in progress may end.
    pub fn gracefully(&self) {
        self.advance(Stage::Ending);
    }

    /// Closes all connections.
    pub fn at_once(&self) {
        self.advance(Stage::Over(CutOff::Now));
    }

    pub(super) fn advance(&self, stage: Stage) {
        self.0.send_if_modified(|current| {
            let forward = stage > *current;
            *current = stage.max(*current);
            forward
        });
    }
}
