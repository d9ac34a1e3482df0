//! The view in the bucket of the blobs (`blobs.view`), on which distribution can be started.
//!
//! Each round writes its items there as well. Links from before the setting are compared with the metadata
//! once, beside the rounds: missing ones are written, and those of deleted content are removed. Former
//! targets of a tag stay in its index, as in the directory, and so do uploads of distribution.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use futures_util::{StreamExt as _, TryStreamExt as _};
use oci::{Digest, RepositoryName};

use super::links::{LAYERS, Links, MANIFESTS, Step};
use super::{RETRY, View};
use crate::StoreError;
use crate::blobs::BucketLinks;
use crate::metadata::{RepositoryLinks, ViewItem};

/// Concurrent requests.
const CONCURRENCY: usize = 16;
/// Repositories of the metadata at a time. Few in tests, so that they need several pages.
const PAGE: usize = if cfg!(test) { 2 } else { 1000 };

/// Applies steps whose paths are below `root` to the links of the bucket. They concern different items, so
/// their order does not matter.
pub(super) async fn apply(
    bucket: &BucketLinks,
    root: &Path,
    steps: &[(RepositoryName, Vec<Step>)],
) -> Result<(), StoreError> {
    let path = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
    futures_util::stream::iter(steps.iter().flat_map(|(_, steps)| steps))
        .map(Ok)
        .try_for_each_concurrent(CONCURRENCY, |step| async move {
            match step {
                Step::Write(link, target) => bucket.put(&path(link), target).await,
                Step::Remove(directory) => bucket.remove_below(&path(directory)).await,
                // A bucket has no directories. The items of a removed repository have steps of their own.
                Step::Make(_) | Step::RemoveRepository(_) => Ok(()),
            }
        })
        .await
}

impl View {
    /// Compares the links of the bucket with the metadata, unless that was done before. Without the setting,
    /// records that they get old. Never returns.
    pub(super) async fn complete_bucket(&self) {
        while let Some(bucket) = &self.inner.bucket {
            match self.try_complete_bucket(bucket).await {
                Ok(()) | Err(StoreError::Closed) => break,
                Err(error) => {
                    tracing::warn!(%error, "cannot compare the links in the bucket; trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
        std::future::pending().await
    }

    async fn try_complete_bucket(&self, bucket: &BucketLinks) -> Result<(), StoreError> {
        let state = self.inner.metadata.restored_state().await?;
        let complete = bucket.complete_for().await?;
        if !self.inner.writes_bucket {
            return match complete {
                Some(_) => bucket.set_incomplete().await,
                None => Ok(()),
            };
        }
        if complete.as_deref() == Some(&*state) {
            return Ok(());
        }
        let mut compared = HashSet::new();
        let mut changed = 0;
        // Those of deleted repositories, too.
        let mut listed = bucket.list("");
        while let Some(path) = listed.try_next().await? {
            let Some(repository) = repository_of(&path) else { continue };
            if !compared.contains(&repository) {
                changed += self.compare_repository(bucket, &repository).await?;
                compared.insert(repository);
            }
        }
        let mut after: Option<String> = None;
        loop {
            let page = self.inner.metadata.all_repositories(after.as_deref(), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.to_string());
            for repository in page.iter().filter(|repository| !compared.contains(*repository)) {
                changed += self.compare_repository(bucket, repository).await?;
            }
        }
        bucket.set_complete(&state).await?;
        tracing::info!(changed, links = bucket.place(), "the links in the bucket are complete");
        Ok(())
    }

    /// Brings the links of a repository to the state of the metadata. Returns the number of written and
    /// removed ones.
    async fn compare_repository(
        &self,
        bucket: &BucketLinks,
        repository: &RepositoryName,
    ) -> Result<usize, StoreError> {
        let _turn = self.inner.turn.lock().await;
        self.inner.blob_journal.flush().await?;
        let wanted = wanted(repository, &self.inner.metadata.repository_links(repository).await?);
        let mut present = HashSet::new();
        let mut stale = Vec::new();
        for part in [LAYERS, MANIFESTS] {
            let mut listed = bucket.list(&format!("{repository}/{part}"));
            while let Some(path) = listed.try_next().await? {
                let is_kept = wanted.contains_key(&path) || is_former_target(&path, &wanted);
                if is_kept { _ = present.insert(path) } else { stale.push(path) }
            }
        }
        let stale_count = stale.len();
        let links: Vec<_> =
            wanted.into_iter().map(|(path, to)| (present.contains(&path), path, to)).collect();
        let written = futures_util::stream::iter(links)
            .map(|(is_present, path, target)| async move {
                // The name of another link is its content.
                let is_right = is_present
                    && (!path.ends_with("/current/link") || bucket.get(&path).await? == Some(target));
                if is_right {
                    return Ok::<_, StoreError>(0);
                }
                bucket.put(&path, &target).await.map(|()| 1)
            })
            .buffer_unordered(CONCURRENCY)
            .try_fold(0, |sum, written| std::future::ready(Ok(sum + written)))
            .await?;
        futures_util::stream::iter(stale)
            .map(Ok)
            .try_for_each_concurrent(CONCURRENCY, |path| async move { bucket.remove(&path).await })
            .await?;
        Ok(written + stale_count)
    }
}

/// Returns the links that a repository should have.
fn wanted(repository: &RepositoryName, state: &RepositoryLinks) -> BTreeMap<String, Digest> {
    let links = Links::new(PathBuf::new());
    let layers = state.layers.iter().map(|digest| (ViewItem::Layer(*digest), *digest));
    let manifests = state.manifests.iter().map(|digest| (ViewItem::Revision(*digest), *digest));
    let tags = state.tags.iter().map(|(tag, digest)| (ViewItem::Tag(tag.clone()), *digest));
    let steps = layers
        .chain(manifests)
        .chain(tags)
        .flat_map(|(item, target)| links.steps(repository, &item, Some(target)));
    let link = |step| match step {
        Step::Write(path, target) => Some((path.to_string_lossy().into_owned(), target)),
        _ => None,
    };
    steps.filter_map(link).collect()
}

/// Whether a path is in the index of a tag that exists.
fn is_former_target(path: &str, wanted: &BTreeMap<String, Digest>) -> bool {
    path.split_once("/index/").is_some_and(|(tag, _)| wanted.contains_key(&format!("{tag}/current/link")))
}

/// The repository of a link. A component that begins with `_` ends its name.
fn repository_of(path: &str) -> Option<RepositoryName> {
    let (name, rest) = path.split_once("/_")?;
    let is_link = rest.starts_with(&LAYERS[1..]) || rest.starts_with(&MANIFESTS[1..]);
    is_link.then(|| name.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use oci::Algorithm;

    use super::*;

    #[test]
    fn links_of_tags_that_exist_are_kept() {
        let repository: RepositoryName = "team/app".parse().unwrap();
        let digest = Algorithm::Sha256.digest(b"1");
        let hex = digest.hex();
        let state = RepositoryLinks {
            manifests: [digest].into(),
            tags: [("v1".parse().unwrap(), digest)].into(),
            ..RepositoryLinks::default()
        };
        let wanted = wanted(&repository, &state);
        let paths: Vec<&str> = wanted.keys().map(String::as_str).collect();
        let manifests = "team/app/_manifests";
        assert_eq!(
            paths,
            [
                format!("{manifests}/revisions/sha256/{hex}/link"),
                format!("{manifests}/tags/v1/current/link"),
                format!("{manifests}/tags/v1/index/sha256/{hex}/link"),
            ]
        );
        let former =
            |tag: &str| is_former_target(&format!("{manifests}/tags/{tag}/index/sha256/0/link"), &wanted);
        assert!(former("v1") && !former("v2"));
        assert_eq!(repository_of(paths[0]), Some(repository));
        for strange in
            ["_layers/sha256/0/link", "team/app/_uploads/1/data", "Team/_layers/sha256/0/link", "readme"]
        {
            assert_eq!(repository_of(strange), None, "{strange}");
        }
    }
}
