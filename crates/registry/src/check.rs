//! The check of a whole registry: does it have what the metadata promises?

use std::collections::HashSet;

use futures_util::StreamExt;
use oci::{Digest, Digester, RepositoryName};
use store::StoreError;
use store::accounts::Visible;
use store::adopt::Report;
use store::metadata::ViewProblem;
use store::view::RepairReport;

use crate::{Error, Registry};

/// Rows asked of the metadata at a time.
const PAGE: usize = 1000;

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Repositories looked at.
    pub repositories: u64,
    /// Distinct manifests looked at.
    pub manifests: u64,
    /// Distinct configs and layers looked at.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Content that is not as it should be.
    pub faults: Vec<Fault>,
    /// What another program had changed below `repositories/`, and is adopted now.
    pub adopted: Report,
    /// What of `repositories/` could not be adopted. It was left as it is.
    pub problems: Vec<ViewProblem>,
    /// Which links below `repositories/` were missing, and are written now.
    pub view: RepairReport,
}

/// Content that is not as it should be, and the first repository that was found to need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The repository.
    pub repository: RepositoryName,
    /// The content.
    pub digest: Digest,
    /// What is wrong with it.
    pub what: FaultKind,
}

/// What can be wrong with content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The file is not there.
    Missing,
    /// The file has another size, in bytes, than it should.
    Size {
        /// What it should have.
        expected: u64,
        /// What it has.
        actual: u64,
    },
    /// The file's bytes have another digest.
    Digest {
        /// The digest that they have.
        actual: Digest,
    },
}

impl Registry {
    /// Looks whether every manifest, and everything that a manifest needs, is there with its size;
    /// with `read`, whether its bytes have its digest. Before that, adopts what another program has
    /// changed below `repositories/`, and writes the links that are missing there. Requests are
    /// served meanwhile. `progress` hears how many repositories and bytes are done, also within a
    /// large blob, and ends the check where it returns `false`.
    ///
    /// # Errors
    /// Those of the store; what is wrong with content is in the result.
    pub async fn check(
        &self,
        read: bool,
        progress: impl Fn(u64, u64) -> bool + Send + Sync,
    ) -> Result<Checked, Error> {
        let adopted = self.adopt().await?;
        let view = self.inner.tasks.view().repair(|_| ()).await?;
        let problems = self.inner.metadata.view_problems().await?;
        let mut checked = Checked { adopted, problems, view, ..Checked::default() };
        let mut seen = HashSet::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.catalog(&Visible::Everything, after.as_deref(), PAGE).await?;
            after = page.items.last().map(ToString::to_string);
            for repository in &page.items {
                self.check_repository(repository, read, &mut checked, &mut seen, &progress).await?;
                checked.repositories += 1;
                if !progress(checked.repositories, checked.bytes) {
                    return Ok(checked);
                }
            }
            if !page.more {
                break;
            }
        }
        Ok(checked)
    }

    async fn check_repository(
        &self,
        repository: &RepositoryName,
        read: bool,
        checked: &mut Checked,
        seen: &mut HashSet<Digest>,
        progress: &(impl Fn(u64, u64) -> bool + Send + Sync),
    ) -> Result<(), Error> {
        let metadata = &self.inner.metadata;
        let mut after: Option<Digest> = None;
        loop {
            let manifests = metadata.manifests(repository, after.as_ref(), PAGE).await?;
            let Some(last) = manifests.last() else { return Ok(()) };
            after = Some(last.digest);
            for manifest in &manifests {
                let parts = metadata.manifest_parts(repository, &manifest.digest).await?;
                // What a sparse index or a layer kept elsewhere lacks is not promised, and manifests
                // of an index are looked at by themselves.
                let needed = parts.iter().filter(|part| part.required && !part.is_manifest);
                let needed = needed.map(|part| (part.digest, part.size));
                for (digest, size) in needed.chain([(manifest.digest, manifest.size)]) {
                    if !seen.insert(digest) {
                        continue;
                    }
                    let within = |done| progress(checked.repositories, checked.bytes + done);
                    let Some(found) = self.check_content(&digest, size, read, within).await? else {
                        return Ok(());
                    };
                    match manifest.digest == digest {
                        true => checked.manifests += 1,
                        false => checked.blobs += 1,
                    }
                    checked.bytes += size;
                    if let Some(what) = found {
                        checked.faults.push(Fault { repository: repository.clone(), digest, what });
                    }
                }
            }
        }
    }

    /// What is wrong with some content, if anything is; `None` if `progress` ended the check.
    async fn check_content(
        &self,
        digest: &Digest,
        size: u64,
        read: bool,
        progress: impl Fn(u64) -> bool,
    ) -> Result<Option<Option<FaultKind>>, StoreError> {
        let blobs = &self.inner.blobs;
        let actual = match blobs.stat(digest).await? {
            None => return Ok(Some(Some(FaultKind::Missing))),
            Some(actual) => actual,
        };
        if actual != size {
            return Ok(Some(Some(FaultKind::Size { expected: size, actual })));
        }
        if !read {
            return Ok(Some(None));
        }
        let Some(blob) = blobs.open(digest).await? else { return Ok(Some(Some(FaultKind::Missing))) };
        let mut digester = Digester::new(digest.algorithm());
        let mut pieces = blob.read(0..size);
        let mut done = 0;
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            done += piece.len() as u64;
            // Hashing a piece takes about a millisecond, after which requests get their turn.
            digester.update(&piece);
            if !progress(done) {
                return Ok(None);
            }
            tokio::task::yield_now().await;
        }
        let actual = digester.finish();
        Ok(Some((actual != *digest).then_some(FaultKind::Digest { actual })))
    }
}
