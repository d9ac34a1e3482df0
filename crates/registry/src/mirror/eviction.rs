//! Eviction: keeps the cached content of an upstream within its limit.
//!
//! Whole manifests go, those first that were pushed and pulled longest ago. Their layers follow, unless another manifest
//! needs them. An evicted image is fetched again when it is pulled; readers of an evicted layer read on.

use std::sync::Arc;
use std::time::Duration;

use oci::RepositoryName;

use super::{Mirror, Upstream};
use crate::Error;

/// The period of the comparison with the limit.
const PERIOD: Duration = Duration::from_secs(10);
/// The share of the limit to which an eviction goes, in percent.
const LOW_MARK: u64 = 90;
/// The manifests of one step.
const STEP: usize = 64;

impl Mirror {
    /// Starts to compare the cached content with the limits.
    pub(super) fn start_eviction(&self) {
        for upstream in self.upstreams.all.iter().filter(|upstream| upstream.settings.max_bytes.is_some()) {
            let (mirror, upstream) = (self.clone(), upstream.clone());
            self.spawn(async move { mirror.evict_periodically(&upstream).await });
        }
    }

    async fn evict_periodically(&self, upstream: &Arc<Upstream>) {
        let job = self.inner.registry.job_metrics("upstream-eviction");
        loop {
            tokio::time::sleep(PERIOD).await;
            job.started();
            let evicted = self.evict(upstream).await;
            job.ended(&evicted);
            if let Err(error) = evicted {
                tracing::warn!(upstream = upstream.name(), %error, "cannot evict cached images");
            }
        }
    }

    /// Evicts manifests if the limit is exceeded, down to the low mark.
    async fn evict(&self, upstream: &Upstream) -> Result<(), Error> {
        let Some(limit) = upstream.settings.max_bytes else { return Ok(()) };
        let registry = &self.inner.registry;
        let metadata = &registry.metadata;
        if metadata.usage_below(upstream.name()).await?.bytes <= limit {
            return Ok(());
        }
        registry.flush_pulls().await?;
        let low = limit / 100 * LOW_MARK;
        let mut after = None;
        loop {
            let oldest = metadata.least_used_below(upstream.name(), after, STEP).await?;
            let Some(last) = oldest.last() else { return Ok(()) };
            after = Some(last.position);
            for used in oldest {
                if upstream.is_kept(&used.repository) {
                    continue;
                }
                if metadata.usage_below(upstream.name()).await?.bytes <= low {
                    return Ok(());
                }
                match registry.erase_content(&used.repository, &used.digest, false).await {
                    Ok(_) => {
                        tracing::debug!(repository = %used.repository, digest = %used.digest, "evicted a cached image");
                    }
                    // It was deleted meanwhile, or went with an index.
                    Err(Error::ContentUnknown { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

impl Upstream {
    /// Whether the operator pinned a repository.
    fn is_kept(&self, repository: &RepositoryName) -> bool {
        let path = self.path(repository).and_then(|path| path.parse::<RepositoryName>().ok());
        path.is_some_and(|path| self.settings.keep.iter().any(|pattern| pattern.matches(&path)))
    }
}
