//! Sizes of repositories for the list by size, counted in the background after pushes and deletions.

use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::Registry;

/// The interval of the counts. An idle registry reads one empty index each time.
const PERIOD: Duration = Duration::from_secs(10);
/// The repositories of one transaction.
const BATCH: usize = 128;

impl Registry {
    /// Counts changed sizes until the registry is closed.
    pub(crate) async fn size_repositories_in_background(&self) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            loop {
                match self.metadata.size_repositories(BATCH).await {
                    Ok(BATCH) => tokio::task::yield_now().await,
                    Ok(_) => break,
                    Err(error) => {
                        tracing::warn!(%error, "cannot count the sizes of repositories; trying again");
                        break;
                    }
                }
            }
        }
    }
}
