//! Metrics of the registry: cache hits, background jobs, and gauges of what is stored.
//!
//! Counting what is stored reads the whole database. So a scrape sees numbers that are up to a minute old, or older if
//! counting takes long.

use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Jobs, Labelled, Metrics, StripedCounter};
use store::metadata::{StoredCounts, WaitingCounts};
use tokio::sync::Mutex;

use crate::Registry;

/// The time for which counted numbers are good.
const COUNT_INTERVAL: Duration = Duration::from_secs(60);
/// Counting takes at most this share of the time, as a divisor.
const COUNT_SHARE: u32 = 50;

/// The results of a sign-in.
const SIGN_INS: &[&str] = &["accepted", "wrong", "expired", "limited", "failed"];

/// What the registry measures. Handles are changed where the work is done.
#[derive(Debug, Default)]
pub(crate) struct RegistryMetrics {
    /// Manifests that were answered from memory.
    pub(crate) cache_hits: StripedCounter,
    /// Manifests that were read from the store.
    pub(crate) cache_misses: Counter,
    /// Background jobs, by their kind.
    pub(crate) jobs: Jobs,
    stored: Stored,
    /// The time until which the counted numbers are good.
    counted: Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Stored {
    repositories: Gauge,
    manifests: Gauge,
    tags: Gauge,
    blobs: Gauge,
    blob_bytes: Gauge,
    journaled: Gauge,
    journaled_bytes: Gauge,
    view_changes: Gauge,
    uploads: Gauge,
    disk_size: Gauge,
    disk_available: Gauge,
}

/// What the accounts measure.
#[derive(Debug)]
pub(crate) struct SignInMetrics {
    /// Sign-ins that verified credentials, by result.
    pub(crate) sign_ins: Labelled<Counter>,
    /// Sign-ins that the credential cache answered.
    pub(crate) cached: Counter,
}

impl Default for SignInMetrics {
    fn default() -> Self {
        Self { sign_ins: Labelled::new("result", SIGN_INS), cached: Counter::default() }
    }
}

impl Registry {
    /// Adds the metrics of the registry, its accounts and its store.
    pub fn register_metrics(&self, metrics: &mut Metrics) {
        let RegistryMetrics { cache_hits, cache_misses, jobs, stored, .. } = &self.inner.metrics;
        self.metadata.register_metrics(metrics);
        metrics.add("manifest_cache_hits", "Manifests that were answered from memory", cache_hits.clone());
        metrics.add("manifest_cache_misses", "Manifests that were read from the store", cache_misses.clone());
        metrics.add_collector(jobs.clone());
        for (name, help, gauge) in [
            ("repositories", "Repositories with content", &stored.repositories),
            ("manifests", "Manifests, counted in each repository", &stored.manifests),
            ("tags", "Tags", &stored.tags),
            ("blobs", "Blobs, manifests included, each counted once", &stored.blobs),
            ("blob_bytes", "Size of all blobs", &stored.blob_bytes),
            (
                "journal_entries",
                "Small blobs that are in the journal and not yet in a file",
                &stored.journaled,
            ),
            ("journal_bytes", "Size of the blobs in the journal", &stored.journaled_bytes),
            ("view_changes", "Changes that the repositories/ directory lacks", &stored.view_changes),
            ("uploads_open", "Unfinished uploads that can be resumed", &stored.uploads),
            ("disk_size_bytes", "Size of the file system that holds the blobs", &stored.disk_size),
            (
                "disk_free_bytes",
                "Free space of that file system, as far as the server may use it",
                &stored.disk_available,
            ),
        ] {
            metrics.add(name, help, gauge.clone());
        }
        let sign_ins = self.accounts().metrics();
        metrics.add("sign_ins", "Verified credentials by result", sign_ins.sign_ins.clone());
        metrics.add(
            "sign_ins_cached",
            "Credentials that were verified shortly before",
            sign_ins.cached.clone(),
        );
    }

    /// Returns the metrics of a kind of background job, such as `garbage-collection`.
    #[must_use]
    pub fn job_metrics(&self, kind: &'static str) -> metrics::Job {
        self.inner.metrics.jobs.job(kind)
    }

    /// Returns the state of each kind of background job that has run since the start.
    #[must_use]
    pub fn jobs(&self) -> Vec<metrics::JobStatus> {
        self.inner.metrics.jobs.status()
    }

    /// Reads the gauges that nothing keeps up to date, before a scrape.
    pub async fn refresh_metrics(&self) {
        let RegistryMetrics { stored, counted, .. } = &self.inner.metrics;
        match self.inner.directory.space() {
            Ok(space) => {
                set(&stored.disk_size, space.total);
                set(&stored.disk_available, space.free);
            }
            Err(error) => tracing::debug!(%error, "cannot measure the free space"),
        }
        match self.metadata.count_waiting().await {
            Ok(counts) => stored.set_waiting(&counts),
            Err(error) => tracing::debug!(%error, "cannot count the work that waits"),
        }
        // Concurrent scrapes wait for one count.
        let mut counted = counted.lock().await;
        let begun = Instant::now();
        if counted.is_some_and(|until| until > begun) {
            return;
        }
        match self.metadata.count_stored().await {
            Ok(counts) => stored.set(&counts),
            Err(error) => tracing::debug!(%error, "cannot count what is stored"),
        }
        *counted = Some(begun + COUNT_INTERVAL.max(begun.elapsed() * COUNT_SHARE));
    }
}

impl Stored {
    fn set(&self, counts: &StoredCounts) {
        set(&self.repositories, counts.repositories);
        set(&self.manifests, counts.manifests);
        set(&self.tags, counts.tags);
        set(&self.blobs, counts.blobs);
        set(&self.blob_bytes, counts.blob_bytes);
    }

    fn set_waiting(&self, counts: &WaitingCounts) {
        set(&self.journaled, counts.journaled);
        set(&self.journaled_bytes, counts.journaled_bytes);
        set(&self.view_changes, counts.view_changes);
        set(&self.uploads, counts.uploads);
    }
}

fn set(gauge: &Gauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}
