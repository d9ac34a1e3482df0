//! The background task of garbage collection: at an interval, and when the grace period of a deletion ends.

use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::{COUNTED, Collected, Pace};
use crate::Registry;

/// The first collection after a start: commands on a stopped registry should not wait for it.
const FIRST: Duration = Duration::from_secs(60);
/// The delay before an interrupted collection resumes.
const RESUME: Duration = Duration::from_secs(2);
/// The delay after the end of a grace period, so that one collection serves several deletions.
const SETTLE: Duration = Duration::from_secs(1);

/// The interval at which changes are read, and their least age. Most pushes have ended by then, so that their
/// blobs never become candidates.
const NOTES: Duration = Duration::from_secs(60);

/// The least time between two lines about untagged images, unless a collection has removed something.
const KEPT_LOGGED: Duration = Duration::from_secs(24 * 60 * 60);

/// Wakes the background task.
#[derive(Default)]
pub(crate) struct Schedule {
    deleted: Notify,
}

impl Schedule {
    /// Plans a collection for the end of the grace period.
    pub(crate) fn deleted(&self) {
        self.deleted.notify_one();
    }
}

impl Registry {
    /// Collects garbage until the registry is closed.
    pub(crate) async fn collect_in_background(&self) {
        let mut changed = self.inner.policy_changed.subscribe();
        let mut policy = self.inner.policy.load().garbage;
        let mut is_resuming = false;
        let mut kept_logged = None;
        let mut next = Instant::now() + FIRST.min(policy.interval);
        if let Ok(Some(_)) = self.metadata.collection_job().await {
            // Also if collections run by command only.
            is_resuming = true;
            next = Instant::now() + RESUME;
        }
        let mut notes = tokio::time::interval(NOTES);
        loop {
            tokio::select! {
                _ = notes.tick() => {
                    if let Err(error) = self.metadata.note_changes(NOTES).await {
                        tracing::warn!(%error, "cannot look for garbage in the latest changes; trying again");
                    }
                }
                () = tokio::time::sleep_until(next), if is_resuming || !policy.interval.is_zero() => {
                    self.collect_and_log(&mut kept_logged).await;
                    // A collection keeps items that pushes from before the restart may need.
                    let rest = self.inner.guards.lost_leases().map(|rest| rest + SETTLE);
                    is_resuming &= rest.is_some();
                    let wait = match rest {
                        Some(rest) if policy.interval.is_zero() => rest,
                        Some(rest) => rest.min(policy.interval),
                        None => policy.interval,
                    };
                    next = Instant::now() + wait;
                }
                () = self.inner.schedule.deleted.notified() => {
                    next = next.min(Instant::now() + policy.grace + SETTLE);
                }
                _ = changed.changed() => {
                    let garbage = self.inner.policy.load().garbage;
                    if garbage != policy {
                        policy = garbage;
                        next = Instant::now() + FIRST.min(policy.interval);
                    }
                }
            }
        }
    }

    async fn collect_and_log(&self, kept_logged: &mut Option<Instant>) {
        let is_due = kept_logged.is_none_or(|at| at.elapsed() >= KEPT_LOGGED);
        match self.collect(Pace::Background, |_| true).await {
            Ok(collected) if collected == Collected::default() && !is_due => {}
            Ok(collected) => {
                if collected != Collected::default() {
                    let Collected { manifests, links, files, bytes, uploads, .. } = collected;
                    tracing::info!(manifests, links, files, bytes, uploads, "collected garbage");
                }
                *kept_logged = Some(Instant::now());
                self.log_kept().await;
            }
            Err(error) => {
                tracing::warn!(%error, "the garbage collection was not finished; the next one continues");
            }
        }
    }

    /// Logs the space that untagged images hold, and the setting that reclaims it.
    async fn log_kept(&self) {
        if let Ok(status) = self.garbage_status(COUNTED).await
            && status.kept.untagged.manifests > 0
            && status.policy.untagged.is_none()
        {
            let untagged = status.kept.untagged;
            tracing::info!(
                manifests = untagged.manifests,
                bytes = untagged.bytes,
                "untagged images are kept; the setting gc.untagged removes them some time after their last use"
            );
        }
    }
}
