//! The check on a schedule: reads all content once in an interval, and logs the result.

use std::time::{Duration, SystemTime};

use super::{Checked, Options};
use crate::{Error, Registry};

/// The delay after a start, so that a start is not slowed down.
const START_DELAY: Duration = Duration::from_secs(5 * 60);
/// The delay after a check that could not be finished.
const RETRY: Duration = Duration::from_secs(60 * 60);
/// The number of faults that are logged one by one.
const LOGGED: usize = 100;

impl Registry {
    /// Runs the check whenever it is due. Never returns.
    pub(crate) async fn check_on_schedule(&self) {
        let mut changed = self.inner.policy_changed.subscribe();
        tokio::time::sleep(START_DELAY).await;
        loop {
            let interval = self.inner.policy.load().check_interval;
            let wait = match interval {
                None => None,
                Some(interval) => match self.check_if_due(interval).await {
                    Ok(wait) => Some(wait),
                    Err(error) => {
                        tracing::warn!(%error, "the scheduled check could not be finished; it goes on later");
                        Some(RETRY)
                    }
                },
            };
            let due = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                _ = changed.changed() => {}
            }
        }
    }

    /// Runs the check if it is due. Returns the time until the next one.
    pub(super) async fn check_if_due(&self, interval: Duration) -> Result<Duration, Error> {
        let wait = self.due_in(interval).await?;
        if !wait.is_zero() {
            return Ok(wait);
        }
        self.check_with(Options { read: true, repair: false }, |_, _| true).await?.log();
        Ok(interval)
    }

    /// Returns the time until the next check. The first start of a registry begins an interval.
    async fn due_in(&self, interval: Duration) -> Result<Duration, Error> {
        let Some(ended_at) = self.metadata.content_check().await?.ended_at else {
            self.metadata.end_content_check().await?;
            return Ok(interval);
        };
        // A clock that was set back does not delay it for ever.
        let since = SystemTime::now().duration_since(ended_at).unwrap_or_default();
        Ok(interval.saturating_sub(since))
    }
}

impl Checked {
    /// Logs the result: a line in all, and one for each fault.
    fn log(&self) {
        for fault in self.faults.iter().take(LOGGED) {
            let affected = fault.affected.iter().map(|(repository, tag)| match tag {
                Some(tag) => format!("{repository}:{tag}"),
                None => repository.to_string(),
            });
            tracing::error!(
                digest = %fault.digest,
                fault = fault.what.name(),
                affected = affected.collect::<Vec<_>>().join(" "),
                advice = fault.advice(),
                "the check found missing or damaged content"
            );
        }
        tracing::info!(
            repositories = self.repositories,
            bytes = self.bytes,
            faults = self.faults.len(),
            orphans = self.orphans.files,
            "the scheduled check has read all content"
        );
    }
}
