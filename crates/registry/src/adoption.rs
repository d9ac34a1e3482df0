//! Adoption of changes that other programs make below `repositories/`, such as `registry:2` or a restored
//! backup.

use std::time::Duration;

use futures_util::FutureExt as _;
use oci::RepositoryName;
use store::adopt::{Report, Scope};
use store::blobs::Unwritten;
use store::metadata::ViewProblem;
use store::view::View;
use store::{BlobStore, Directory, StoreError};

use crate::{Error, Inner, Registry, description};

/// The delay of the full comparison after a start. Short commands have ended by then.
const FULL_SCAN_DELAY: Duration = Duration::from_secs(2);

impl Registry {
    /// Reads all links below `repositories/` again, and adopts outside changes.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn adopt(&self) -> Result<Report, Error> {
        self.adopt_scope(Scope::All).await
    }

    /// The entries of `repositories/` that cannot be adopted. They stay on disk unchanged.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn adoption_problems(&self) -> Result<Vec<ViewProblem>, Error> {
        Ok(self.metadata.view_problems().await?)
    }

    /// The repositories whose links below `repositories/` cannot be written, each with the reason.
    #[must_use]
    pub fn blocked_repositories(&self) -> Vec<(RepositoryName, String)> {
        self.inner.background.view().blocked()
    }

    /// The content whose file below `blobs/` cannot be written, each with the reason. It is served from the
    /// database.
    #[must_use]
    pub fn unwritten_content(&self) -> Vec<Unwritten> {
        self.inner.background.view().unwritten()
    }

    async fn adopt_scope(&self, scope: Scope) -> Result<Report, Error> {
        let Inner { background, directory, blobs, .. } = &*self.inner;
        Ok(adopt(background.view(), directory, &**blobs, scope).await?)
    }

    /// Finds links that were overwritten in place. Directory stamps do not show those.
    pub(crate) async fn adopt_in_background(&self) {
        tokio::time::sleep(FULL_SCAN_DELAY).await;
        match self.adopt_scope(Scope::Background).await {
            Ok(report) => report.log_changes(),
            Err(Error::Store(StoreError::Closed)) => {}
            Err(error) => tracing::warn!(%error, "cannot compare repositories/ with the metadata"),
        }
    }
}

/// Adopts outside changes before the registry serves requests. Costs a few stats for each repository. After a
/// first change all links are read, because others may have been overwritten in place.
pub(crate) async fn adopt_at_start(
    view: &View,
    directory: &Directory,
    blobs: &dyn BlobStore,
) -> Result<Report, Error> {
    let report = adopt(view, directory, blobs, Scope::Changed).await?;
    if report.changes.is_empty() {
        return Ok(report);
    }
    let mut all = adopt(view, directory, blobs, Scope::All).await?;
    // The second scan counts the new problems of the first one as known.
    all.known_problems = all.known_problems.saturating_sub(report.problems.len() as u64);
    all.changes.splice(0..0, report.changes);
    all.incomplete.splice(0..0, report.incomplete);
    all.problems.splice(0..0, report.problems);
    all.without_links.splice(0..0, report.without_links);
    Ok(all)
}

async fn adopt(
    view: &View,
    directory: &Directory,
    blobs: &dyn BlobStore,
    scope: Scope,
) -> Result<Report, StoreError> {
    let describe = |manifest: oci::Manifest| async move { description::of(&manifest, blobs).await }.boxed();
    view.adopt(directory, blobs, scope, &describe, |_| ()).await
}
