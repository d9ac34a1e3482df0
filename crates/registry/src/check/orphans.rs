//! Orphans and counters: files that the metadata does not know, damaged content that no manifest requires,
//! and numbers that were counted wrongly.

use std::collections::HashSet;

use futures_util::StreamExt as _;
use oci::Digest;
use store::StoreError;
use store::metadata::CounterDrift;

use super::{Fault, Orphans, PAGE};
use crate::{Error, Registry};

impl Registry {
    /// Finds stored content without a record. A repair records it as unreferenced, so that it can be
    /// reclaimed.
    pub(super) async fn check_orphans(&self, repair: bool) -> Result<Orphans, Error> {
        let mut orphans = Orphans::default();
        let mut files = self.inner.blobs.list().chunks(PAGE);
        while let Some(page) = files.next().await {
            let page = page.into_iter().filter_map(|file| match file {
                Ok(file) => Some(Ok(file)),
                // The rest of the listing is missing.
                Err(error @ StoreError::ObjectStore { .. }) => Some(Err(error)),
                Err(error) => {
                    tracing::error!(%error, "a file of the blob directory cannot be looked at");
                    None
                }
            });
            let page: Vec<(Digest, u64)> = page.collect::<Result<_, StoreError>>()?;
            let unrecorded =
                self.metadata.unrecorded(page.iter().map(|(digest, _)| *digest).collect()).await?;
            if unrecorded.is_empty() {
                continue;
            }
            let found: Vec<_> = page.into_iter().filter(|(digest, _)| unrecorded.contains(digest)).collect();
            orphans.files += found.len() as u64;
            orphans.bytes += found.iter().map(|(_, size)| size).sum::<u64>();
            if repair {
                self.metadata.record_found(found.clone()).await?;
                // Garbage collection deletes it after the grace period.
                self.metadata.record_orphans(found).await?;
            }
        }
        Ok(orphans)
    }

    /// Counts damaged content that is in none of the faults, because no manifest requires it.
    pub(super) async fn check_replaceable(&self, faults: &[Fault]) -> Result<Orphans, Error> {
        let faulty: HashSet<Digest> = faults.iter().map(|fault| fault.digest).collect();
        let (mut replaceable, mut after) = (Orphans::default(), 0);
        loop {
            let page = self.metadata.damaged_contents(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(replaceable) };
            after = last.id;
            for content in page.iter().filter(|content| !faulty.contains(&content.digest)) {
                replaceable.files += 1;
                replaceable.bytes += content.size;
            }
        }
    }

    /// Finds repositories whose number of manifests was counted wrongly. A repair counts them again.
    pub(super) async fn check_counters(&self, repair: bool) -> Result<Vec<CounterDrift>, Error> {
        let drifts = self.metadata.counter_drifts().await?;
        if repair {
            for CounterDrift { repository, recorded, actual } in &drifts {
                self.metadata.recount(repository).await?;
                tracing::warn!(%repository, recorded, actual, "the number of manifests was wrong; counted them again");
            }
        }
        Ok(drifts)
    }

    /// Finds quotas whose use was counted wrongly. A repair counts all of them again.
    pub(super) async fn check_quotas(&self, repair: bool) -> Result<Vec<String>, Error> {
        let drifted = self.metadata.drifted_quotas().await?;
        if repair && !drifted.is_empty() {
            self.metadata.recount_quotas().await?;
            tracing::warn!(quotas = drifted.join(", "), "the use of quotas was wrong; counted it again");
        }
        Ok(drifted)
    }
}
