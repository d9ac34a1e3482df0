//! Repair of faults. It deletes nothing: damaged bytes are moved aside, and missing content stays listed.

use oci::Digest;

use super::{Fault, FaultKind, Repair};
use crate::integrity::Verified;
use crate::{Error, Registry};

impl Registry {
    /// Repairs the faults if possible, and records the repair in each fault.
    pub(super) async fn repair(&self, faults: &mut [Fault]) -> Result<(), Error> {
        for fault in &mut *faults {
            fault.repair = match fault.what {
                FaultKind::Size { .. } | FaultKind::Digest { .. } => self.mend_damaged(&fault.digest).await?,
                FaultKind::NotLinked => self.link_again(fault).await?,
                FaultKind::Missing
                | FaultKind::Unreadable
                | FaultKind::Erased
                | FaultKind::PartSize { .. } => None,
            };
        }
        // The bytes of missing content may have been moved aside from under another digest.
        for fault in &mut *faults {
            let is_missing = matches!(fault.what, FaultKind::Missing | FaultKind::NotLinked)
                || matches!(fault.repair, Some(Repair::MovedAside(_)));
            if is_missing
                && fault.repair != Some(Repair::Linked)
                && let Some(size) = self.inner.blobs.recover(&fault.digest).await?
            {
                self.restored(&fault.digest, size).await?;
                fault.repair = match fault.what {
                    FaultKind::NotLinked => self.link_again(fault).await?,
                    _ => Some(Repair::Found),
                };
            }
        }
        for Fault { repository, digest, repair, .. } in &*faults {
            match repair {
                Some(Repair::MovedAside(place)) => tracing::warn!(
                    %repository, %digest, place,
                    "moved damaged content aside; push an image that has it again, or restore it from a backup"
                ),
                Some(repair) => tracing::info!(%repository, %digest, ?repair, "repaired content"),
                None => {}
            }
        }
        Ok(())
    }

    /// Corrects a wrong record of intact content, or moves damaged bytes aside.
    async fn mend_damaged(&self, digest: &Digest) -> Result<Option<Repair>, Error> {
        match self.verify(digest, self.read_limit(), |_| true).await? {
            Verified::Stored(actual) if actual == *digest => {
                let Some(size) = self.inner.blobs.stat(digest).await? else { return Ok(None) };
                self.restored(digest, size).await?;
                return Ok(Some(Repair::SizeCorrected));
            }
            Verified::Stored(_) => {}
            Verified::Missing | Verified::Stopped => return Ok(None),
        }
        let place = self.inner.blobs.quarantine(digest).await?;
        self.inner.cache.content_changed(digest);
        if place.is_none() {
            // A push has replaced the bytes meanwhile.
            self.verify(digest, self.read_limit(), |_| true).await?;
        }
        Ok(place.map(Repair::MovedAside))
    }

    /// Links a blob again that an image of the repository needs, if its bytes are intact.
    async fn link_again(&self, fault: &Fault) -> Result<Option<Repair>, Error> {
        let digest = &fault.digest;
        match self.verify(digest, self.read_limit(), |_| true).await? {
            Verified::Stored(actual) if actual == *digest => {}
            _ => return Ok(None),
        }
        let Some(size) = self.inner.blobs.stat(digest).await? else { return Ok(None) };
        self.metadata.link_blob(&fault.repository, digest, size).await?;
        self.inner.cache.content_changed(digest);
        Ok(Some(Repair::Linked))
    }

    /// Records content whose file is intact.
    async fn restored(&self, digest: &Digest, size: u64) -> Result<(), Error> {
        self.metadata.correct_size(digest, size).await?;
        self.inner.cache.content_changed(digest);
        Ok(())
    }
}
