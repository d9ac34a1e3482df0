//! The state of upstreams for the operator, tests of them, and purges of their cached content.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use accounts::Pattern;
use oci::{Digest, RepositoryName};
use store::metadata::UpstreamUsage;
use upstream::{Condition, Health, error_chain};

use super::{Mirror, PushPolicy, Upstream};
use crate::{Error, Registry};

/// The repositories of one step of a purge.
const STEP: usize = 256;

/// The state of an upstream.
#[derive(Clone, Debug)]
pub struct UpstreamStatus {
    /// Its name.
    pub name: RepositoryName,
    /// Its URLs in order.
    pub urls: Vec<UrlStatus>,
    /// The best condition of its URLs.
    pub condition: Condition,
    /// Whether names without an upstream mean it.
    pub is_default: bool,
    /// How long a tag is served without asking.
    pub fresh: Duration,
    /// The limit of the cached bytes.
    pub max_bytes: Option<u64>,
    /// The cached content.
    pub usage: UpstreamUsage,
    /// Answers from the cache.
    pub hits: u64,
    /// Answers from the upstream.
    pub misses: u64,
    /// Answers from the cache that could not be confirmed.
    pub stale: u64,
    /// Requests for the digest of a tag.
    pub revalidations: u64,
    /// Requests for content.
    pub fetches: u64,
    /// Bytes received.
    pub bytes: u64,
    /// Blobs that are being fetched.
    pub fills: u64,
}

/// The state of one URL.
#[derive(Clone, Debug)]
pub struct UrlStatus {
    /// The URL.
    pub url: String,
    /// Its health and rate limit.
    pub health: Health,
}

/// The result of a test of one URL.
#[derive(Clone, Debug)]
pub struct ProbeResult {
    /// The URL.
    pub url: String,
    /// The time until the answer.
    pub elapsed: Duration,
    /// The failure.
    pub error: Option<String>,
}

impl Mirror {
    /// Returns the state of every upstream.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn status(&self) -> Result<Vec<UpstreamStatus>, Error> {
        let mut all = Vec::new();
        for upstream in &self.upstreams.all {
            let usage = self.inner.registry.metadata.usage_below(&[upstream.name()]).await?;
            all.push(upstream.status(usage, self.fills_of(upstream)));
        }
        Ok(all)
    }

    /// The number of blobs that are being fetched from an upstream.
    pub(super) fn fills_of(&self, upstream: &Upstream) -> u64 {
        let fills = self.inner.fills.lock().unwrap_or_else(PoisonError::into_inner);
        fills.keys().filter(|(repository, _)| upstream.path(repository).is_some()).count() as u64
    }

    /// Calls every URL of an upstream. `None` if there is no such upstream.
    pub async fn test(&self, name: &str) -> Option<Vec<ProbeResult>> {
        let upstream = self.upstreams.all.iter().find(|upstream| upstream.name() == name)?;
        let client = &upstream.settings.client;
        let mut results = Vec::new();
        for url in client.upstreams() {
            let begun = Instant::now();
            let error = client.probe_access(url).await.err().map(|error| error_chain(&error));
            results.push(ProbeResult { url: url.to_string(), elapsed: begun.elapsed(), error });
        }
        Some(results)
    }

    /// Removes the cached repositories of an upstream whose names on the upstream match the pattern, or all.
    /// Returns their names, or `None` if there is no such upstream.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn purge(
        &self,
        name: &str,
        pattern: Option<&Pattern>,
    ) -> Result<Option<Vec<RepositoryName>>, Error> {
        let Some(upstream) = self.upstreams.all.iter().find(|upstream| upstream.name() == name) else {
            return Ok(None);
        };
        let registry = &self.inner.registry;
        let (mut purged, mut last) = (Vec::new(), None);
        loop {
            let page = registry.metadata.repositories_below(name, last.as_ref(), STEP).await?;
            let Some(end) = page.last().cloned() else { break };
            for repository in page {
                let path = upstream.path(&repository).and_then(|path| path.parse::<RepositoryName>().ok());
                let matches = pattern.is_none_or(|pattern| path.is_some_and(|path| pattern.matches(&path)));
                if matches {
                    // Pushed content goes to the trash, as by a deletion. Fetched content can be fetched
                    // again.
                    if upstream.settings.push == PushPolicy::Refuse {
                        registry.evict_repository(&repository).await?;
                    }
                    registry.purge_cached(&repository).await?;
                    self.inner.tags.retain(|(cached, _), _| *cached != repository);
                    self.inner.tag_lists.remove(&repository);
                    self.inner.referrers.retain(|(cached, _), _| *cached != repository);
                    purged.push(repository);
                }
            }
            last = Some(end);
        }
        self.inner.absent.retain(|(repository, _), _| upstream.path(repository).is_none());
        Ok(Some(purged))
    }
}

impl Upstream {
    fn status(&self, usage: UpstreamUsage, fills: u64) -> UpstreamStatus {
        let Self { settings, counters, .. } = self;
        let urls = settings.client.upstreams().iter();
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        UpstreamStatus {
            name: settings.name.clone(),
            urls: urls.map(|url| UrlStatus { url: url.to_string(), health: url.health() }).collect(),
            condition: self.condition(),
            is_default: settings.is_default,
            fresh: settings.fresh,
            max_bytes: settings.max_bytes,
            usage,
            hits: value(&counters.hits),
            misses: value(&counters.misses),
            stale: value(&counters.stale),
            revalidations: value(&counters.revalidations),
            fetches: value(&counters.fetches),
            bytes: value(&counters.bytes),
            fills,
        }
    }
}

impl Registry {
    /// Removes all content of a cached repository, and frees its space at once.
    async fn evict_repository(&self, repository: &RepositoryName) -> Result<(), Error> {
        let mut after: Option<Digest> = None;
        loop {
            let page = self.metadata.manifests(repository, after.as_ref(), STEP).await?;
            let Some(last) = page.last().map(|record| record.digest) else { break };
            after = Some(last);
            self.evict_content(page.into_iter().map(|record| (repository.clone(), record.digest)).collect())
                .await?;
        }
        let mut after: Option<Digest> = None;
        loop {
            let page = self.metadata.repository_blobs(repository, after.as_ref(), STEP).await?;
            let Some(last) = page.last().copied() else { return Ok(()) };
            after = Some(last);
            self.evict_content(page.into_iter().map(|digest| (repository.clone(), digest)).collect()).await?;
        }
    }

    /// Removes a cached repository, also where clients may not delete.
    async fn purge_cached(&self, repository: &RepositoryName) -> Result<(), Error> {
        self.metadata.forget_upstream_tags(repository).await?;
        match self.metadata.begin_deletion(repository).await? {
            Some(job) => self.run_deletion(&job).await,
            None => Ok(()),
        }
    }
}
