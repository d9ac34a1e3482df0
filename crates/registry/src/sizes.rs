//! Sizes of repositories, owners and the whole registry, for lists and pages: counted in the background after
//! changes.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use crate::{DiskState, Error, Registry};

/// The interval of the counts. An idle registry reads two empty indexes each time.
const PERIOD: Duration = Duration::from_secs(10);
/// The repositories of one transaction, and the owners of one read.
const BATCH: usize = 128;
/// The pause between two counts of an owner, in durations of the last count. A registry with many blobs thus
/// counts for a hundredth of the time at most.
const PAUSE_FACTOR: u32 = 100;

/// The owners whose count has to wait, with the end of the wait.
type Pauses = HashMap<String, Instant>;

impl Registry {
    /// Counts changed sizes until the registry is closed.
    pub(crate) async fn size_repositories_in_background(&self) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut pauses, mut newest) = (Pauses::new(), self.metadata.changes().newest());
        loop {
            ticks.tick().await;
            // The space that is left is for deletions.
            if matches!(self.disk_state(), DiskState::Full | DiskState::ReadOnly) {
                continue;
            }
            if let Err(error) = self.count_sizes(&mut pauses, &mut newest).await {
                tracing::warn!(%error, "cannot count the sizes of repositories; trying again");
            }
        }
    }

    async fn count_sizes(&self, pauses: &mut Pauses, newest: &mut i64) -> Result<(), Error> {
        while self.metadata.size_repositories(BATCH).await? == BATCH {
            tokio::task::yield_now().await;
        }
        let now = Instant::now();
        pauses.retain(|_, until| *until > now);
        // Content without an image changes without a repository.
        let changes = self.metadata.changes().newest();
        if std::mem::replace(newest, changes) != changes {
            self.metadata.note_space_change().await?;
        }
        let mut after: Option<String> = None;
        loop {
            let owners = self.metadata.changed_space(after.as_deref(), BATCH).await?;
            for owner in &owners {
                if pauses.contains_key(owner) {
                    continue;
                }
                let begun = Instant::now();
                let counted = self.metadata.count_space(owner).await;
                pauses.insert(owner.clone(), Instant::now() + begun.elapsed() * PAUSE_FACTOR);
                if let Err(error) = counted {
                    tracing::warn!(%error, owner, "cannot count the space of an owner; the others are counted");
                }
                tokio::task::yield_now().await;
            }
            after = match owners.last() {
                Some(last) if owners.len() == BATCH => Some(last.clone()),
                _ => return Ok(()),
            };
        }
    }
}
