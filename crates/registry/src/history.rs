//! The history of tags, and undo.

use std::time::SystemTime;

use oci::{Digest, RepositoryName, Tag, TagOrDigest};
use store::metadata::{HistoryEntry, UndoOutcome, UndoTarget};

use crate::listing::Page;
use crate::{Error, Registry};

/// The time for which the history is kept.
const KEPT: std::time::Duration = std::time::Duration::from_secs(365 * 24 * 60 * 60);
const BATCH: usize = 1_000;

impl Registry {
    /// Returns the changes of a tag, or of all tags of a repository, the latest first. The repository need
    /// not exist any more.
    ///
    /// # Errors
    /// [`Error::NameUnknown`] if the repository neither exists nor has a history.
    pub async fn tag_history(
        &self,
        repository: &RepositoryName,
        tag: Option<&Tag>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<HistoryEntry>, Error> {
        let entries = self.metadata.tag_history(repository, tag, before, limit + 1).await?;
        if entries.is_empty() && before.is_none() && !self.metadata.repository_exists(repository).await? {
            return Err(Error::NameUnknown(repository.clone()));
        }
        Ok(Page::cut(entries, limit))
    }

    /// Points a tag to an earlier manifest, which may be in the trash.
    ///
    /// # Errors
    /// [`Error::NoHistory`], [`Error::NothingToUndo`], [`Error::ManifestGone`], [`Error::NotInHistory`],
    /// [`Error::TagRefused`].
    pub async fn undo_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        target: UndoTarget,
    ) -> Result<UndoOutcome, Error> {
        let outcome = self.metadata.undo(repository, tag, target).await?;
        let (repository, tag) = (repository.clone(), tag.clone());
        match outcome {
            UndoOutcome::NoHistory => Err(Error::NoHistory { repository, tag }),
            UndoOutcome::WasCreated => Err(Error::NothingToUndo {
                repository,
                tag,
                reason: "it did not exist before its last change; delete it to undo that",
            }),
            UndoOutcome::DidNotExist => {
                Err(Error::NothingToUndo { repository, tag, reason: "it did not exist at that time" })
            }
            UndoOutcome::Gone(digest) => {
                let erasure = self.metadata.erasure(&repository, &digest).await?.map(Box::new);
                Err(Error::ManifestGone { repository, target: TagOrDigest::Digest(digest), erasure })
            }
            UndoOutcome::Unknown(digest) => Err(Error::NotInHistory { repository, digest }),
            done => Ok(done),
        }
    }

    /// Whether content of a manifest that came back is missing or damaged, so that a pull of it fails. Its
    /// files may have been removed by hand. Returns false if the store cannot tell: the change is done all
    /// the same.
    pub async fn lacks_content(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        let verified = self.verify_manifest(repository, &TagOrDigest::Digest(*digest)).await;
        matches!(verified, Err(Error::ManifestDamaged { .. } | Error::ManifestUnknown { .. }))
    }

    /// Removes old entries.
    pub(crate) async fn expire_history(&self) -> Result<(), Error> {
        let Some(before) = SystemTime::now().checked_sub(KEPT) else { return Ok(()) };
        while self.metadata.expire_history(before, BATCH).await? == BATCH {}
        Ok(())
    }
}
