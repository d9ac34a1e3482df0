//! Completes images in the background: the wanted platforms of an index, and images that are fetched on a
//! schedule.

use std::sync::Arc;

use oci::{Digest, Manifest, MediaType, RepositoryName, TagOrDigest};
use serde::Deserialize;

use super::{BlobSource, Mirror, MirrorError, Platform, Upstream};
use crate::JobKind;
use crate::manifests::StoredManifest;

/// An index below an index is completed to this depth.
const DEPTH: usize = 3;

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Child>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Child {
    media_type: MediaType,
    digest: Digest,
    platform: Option<ChildPlatform>,
}

#[derive(Deserialize)]
struct ChildPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
}

impl Platform {
    fn is(&self, child: &ChildPlatform) -> bool {
        self.os == child.os
            && self.architecture == child.architecture
            && (self.variant.is_empty() || self.variant == child.variant)
    }
}

impl Mirror {
    /// Fetches the wanted platforms of an index in the background.
    pub(super) fn complete_in_background(
        &self,
        upstream: Arc<Upstream>,
        repository: RepositoryName,
        index: Arc<StoredManifest>,
    ) {
        let mirror = self.clone();
        tokio::spawn(async move {
            let background = &mirror.inner.registry.inner.background;
            let work = async {
                let Ok(_permit) = mirror.inner.background.acquire().await else { return };
                let platforms = &upstream.settings.complete;
                if let Err(error) = mirror.complete(&repository, &index, platforms, DEPTH).await {
                    let digest = index.record.digest;
                    tracing::warn!(%repository, %digest, %error, "cannot fetch all of an image in the background; a pull fetches the rest");
                }
            };
            background.until_stop(work).await;
        });
    }

    /// Fetches all that an image needs. Of an index, only the wanted platforms; all if none is named.
    async fn complete(
        &self,
        repository: &RepositoryName,
        manifest: &StoredManifest,
        platforms: &[Platform],
        depth: usize,
    ) -> Result<(), MirrorError> {
        let Ok(parsed) = Manifest::parse(&manifest.content, None) else { return Ok(()) };
        for blob in parsed.config.iter().chain(parsed.layers.iter().filter(|layer| !layer.may_be_elsewhere()))
        {
            self.fetch_blob(repository, &blob.digest).await?;
        }
        if depth == 0 {
            return Ok(());
        }
        let index: Index =
            serde_json::from_slice(&manifest.content).unwrap_or(Index { manifests: Vec::new() });
        for child in index.manifests.into_iter().filter(|child| child.media_type.is_manifest()) {
            let is_wanted = platforms.is_empty()
                || child.platform.is_none_or(|own| platforms.iter().any(|wanted| wanted.is(&own)));
            if is_wanted {
                let target = TagOrDigest::Digest(child.digest);
                let served = self.manifest(repository, &target, true).await?;
                Box::pin(self.complete(repository, &served.manifest, platforms, depth - 1)).await?;
            }
        }
        Ok(())
    }

    /// Fetches a blob and waits for its end.
    async fn fetch_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<(), MirrorError> {
        match self.blob(repository, digest, true).await? {
            BlobSource::Stored(..) => Ok(()),
            BlobSource::Filling(reader) => reader.until_stored().await,
        }
    }

    /// Starts to fetch the images of all schedules.
    pub(super) fn start_prefetch(&self) {
        for upstream in self.upstreams.all.iter().filter(|upstream| !upstream.settings.prefetch.is_empty()) {
            let (mirror, upstream) = (self.clone(), upstream.clone());
            self.spawn(async move { mirror.prefetch(&upstream).await });
        }
    }

    async fn prefetch(&self, upstream: &Arc<Upstream>) {
        let job = self.inner.registry.job_metrics(JobKind::Prefetch);
        let mut ticks = tokio::time::interval(upstream.settings.prefetch_interval);
        loop {
            ticks.tick().await;
            job.started();
            let mut failed = 0;
            for (done, (repository, target)) in (1..).zip(&upstream.settings.prefetch) {
                let Ok(_permit) = self.inner.background.acquire().await else { return };
                let fetch = async {
                    let served = self.manifest(repository, target, true).await?;
                    self.complete(repository, &served.manifest, &upstream.settings.complete, DEPTH).await
                };
                if let Err(error) = fetch.await {
                    failed += 1;
                    tracing::warn!(%repository, %target, %error, "cannot prefetch an image; the next run tries again");
                }
                job.progress(done);
            }
            if failed == 0 { job.succeeded() } else { job.failed() }
        }
    }
}
