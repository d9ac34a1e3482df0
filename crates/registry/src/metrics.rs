//! Metrics of the registry: cache hits, background jobs, and gauges of the stored content.
//!
//! Counting the content reads the whole database. So a scrape sees numbers that are up to a minute old, or
//! older if counting takes long.

use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Jobs, Labelled, Metrics, StripedCounter};
use store::StoreError;
use store::metadata::{ChangeRules as _, QuotaUsage, StoredCounts, WaitingCounts};
use tokio::sync::Mutex;

use crate::rules::REPOSITORY_SCOPE;
use crate::{JobKind, Registry};

/// The time for which counted numbers are good.
const COUNT_INTERVAL: Duration = Duration::from_secs(60);
/// Counting takes at most this share of the time, as a divisor.
const COUNT_SHARE: u32 = 50;

/// The results of a sign-in.
const SIGN_INS: &[&str] = &["accepted", "wrong", "expired", "limited", "failed"];

/// The results of an attempt to deliver an event. A failed one is tried again, and a parked one is not.
const ATTEMPTS: &[&str] = &["delivered", "failed", "parked"];
/// A quota counts as nearly reached from this share of its limit, in percent, at which the log warns.
const NEARLY: u64 = 80;
/// The number of quotas that are read at once.
const SCOPES: usize = 1_000;

/// The metrics of the registry. Handles are changed where the work is done.
#[derive(Debug)]
pub(crate) struct RegistryMetrics {
    /// Manifests that were answered from memory.
    pub(crate) cache_hits: StripedCounter,
    /// Manifests that were read from the store.
    pub(crate) cache_misses: Counter,
    /// Requests that met missing or damaged content.
    pub(crate) damaged_answers: Counter,
    /// Background jobs, by their kind.
    pub(crate) jobs: Jobs,
    /// Attempts to deliver events to webhooks.
    pub(crate) webhook_attempts: Labelled<Counter>,
    stored: Stored,
    counted: Mutex<Counted>,
}

/// Numbers that are counted seldom.
#[derive(Debug, Default)]
struct Counted {
    /// The time until which they are good.
    until: Option<Instant>,
    /// The quotas of single repositories that are nearly reached.
    nearly_reached: u64,
}

impl Default for RegistryMetrics {
    fn default() -> Self {
        Self {
            cache_hits: StripedCounter::default(),
            cache_misses: Counter::default(),
            damaged_answers: Counter::default(),
            jobs: Jobs::default(),
            webhook_attempts: Labelled::new("result", ATTEMPTS),
            stored: Stored::default(),
            counted: Mutex::default(),
        }
    }
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
    pending_deliveries: Gauge,
    parked_deliveries: Gauge,
    quotas_nearly_reached: Gauge,
    disk_size: Gauge,
    disk_available: Gauge,
}

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
        let RegistryMetrics {
            cache_hits, cache_misses, damaged_answers, jobs, webhook_attempts, stored, ..
        } = &self.inner.metrics;
        self.metadata.register_metrics(metrics);
        self.inner.blobs.register_metrics(metrics);
        metrics.add("manifest_cache_hits", "Manifests that were answered from memory", cache_hits.clone());
        metrics.add("manifest_cache_misses", "Manifests that were read from the store", cache_misses.clone());
        let help = "Requests for content whose file is missing or damaged";
        metrics.add("damaged_content_answers", help, damaged_answers.clone());
        metrics.add_collector(jobs.clone());
        metrics.add("webhook_attempts", "Attempts to deliver events by result", webhook_attempts.clone());
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
            (
                "webhook_pending_deliveries",
                "Events that wait for receivers of webhooks",
                &stored.pending_deliveries,
            ),
            (
                "webhook_parked_deliveries",
                "Events that a receiver did not take, and that are not sent again",
                &stored.parked_deliveries,
            ),
            (
                "quotas_nearly_reached",
                "Quotas that are used up to 80 % or more",
                &stored.quotas_nearly_reached,
            ),
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

    /// Returns the metrics of a kind of background job.
    #[must_use]
    pub fn job_metrics(&self, kind: JobKind) -> metrics::Job {
        self.inner.metrics.jobs.job(kind.name())
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
        if counted.until.is_none_or(|until| until <= begun) {
            match self.metadata.count_stored().await {
                Ok(counts) => stored.set(&counts),
                Err(error) => tracing::debug!(%error, "cannot count what is stored"),
            }
            match self.count_nearly_full_repositories().await {
                Ok(count) => counted.nearly_reached = count,
                Err(error) => tracing::debug!(%error, "cannot read the use of the quotas of repositories"),
            }
            counted.until = Some(begun + COUNT_INTERVAL.max(begun.elapsed() * COUNT_SHARE));
        }
        match self.metadata.quota_usage(self.policy().rules.fixed_quotas()).await {
            Ok(usages) => {
                let near = usages.iter().filter(|usage| is_nearly_reached(usage)).count() as u64;
                set(&stored.quotas_nearly_reached, near + counted.nearly_reached);
            }
            Err(error) => tracing::debug!(%error, "cannot read the use of quotas"),
        }
    }

    /// Counts the repositories that use up a quota of their own to 80 % or more.
    async fn count_nearly_full_repositories(&self) -> Result<u64, StoreError> {
        let rules = self.policy().rules.clone();
        let (mut count, mut after) = (0, String::new());
        if !rules.has_quotas_of_single_repositories() {
            return Ok(0);
        }
        loop {
            let scopes = self.metadata.scopes_in_use(REPOSITORY_SCOPE, after, SCOPES).await?;
            let Some((last, _, _)) = scopes.last() else { return Ok(count) };
            after = last.clone();
            for (scope, bytes, tags) in scopes {
                let Ok(repository) = scope[REPOSITORY_SCOPE.len()..].parse() else { continue };
                let quota = rules.quotas(&repository).into_iter().find(|quota| quota.scope == scope);
                let usage = quota.map(|quota| QuotaUsage { quota, bytes, tags });
                count += u64::from(usage.is_some_and(|usage| is_nearly_reached(&usage)));
            }
        }
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
        set(&self.pending_deliveries, counts.pending_deliveries);
        set(&self.parked_deliveries, counts.parked_deliveries);
    }
}

fn is_nearly_reached(usage: &QuotaUsage) -> bool {
    let nearly = |used: u64, limit: Option<u64>| {
        limit.is_some_and(|limit| u128::from(used) * 100 >= u128::from(limit) * u128::from(NEARLY))
    };
    nearly(usage.bytes, usage.quota.max_bytes) || nearly(usage.tags, usage.quota.max_tags)
}

fn set(gauge: &Gauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}
