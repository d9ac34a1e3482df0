//! Pull counts: counted in memory and written to the metadata in batches, so that no pull waits for a write.
//! A crash loses the pulls since the last flush, at most those of [`FLUSH_PERIOD`].

mod counters;

use std::time::Duration;

use store::metadata::PullCount;

pub(crate) use counters::{PullCounter, Pulled, Pulls, Unwritten};

use crate::{Error, Registry};

/// The period of the flush.
const FLUSH_PERIOD: Duration = Duration::from_secs(60);
/// The maximum number of counts in one transaction, so that pushes do not wait for long.
const BATCH: usize = 500;

impl Registry {
    /// Writes all counted pulls to the metadata. Keeps the pulls that cannot be written.
    pub(crate) async fn flush_pulls(&self) -> Result<(), Error> {
        let counts: Vec<PullCount> = self
            .inner
            .pulls
            .take()
            .into_iter()
            .map(|(Pulled { repository, tag, digest }, unwritten)| PullCount {
                repository,
                tag,
                digest,
                pulls: unwritten.pulls,
                pulled_at: unwritten.pulled_at(),
            })
            .collect();
        let mut unwritten = counts.chunks(BATCH);
        while let Some(batch) = unwritten.next() {
            if let Err(error) = self.metadata.add_pulls(batch.to_vec()).await {
                self.inner.pulls.put_back(batch);
                unwritten.for_each(|batch| self.inner.pulls.put_back(batch));
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Flushes once a period, and early if very many different images are pulled.
    pub(crate) async fn flush_pulls_in_background(&self) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(FLUSH_PERIOD) => {}
                () = self.inner.pulls.full.notified() => {}
            }
            if let Err(error) = self.flush_pulls().await {
                tracing::warn!(%error, "cannot write the pull counts; the next flush tries again");
            }
        }
    }
}
