//! The names of the upstream's repositories, copied into the gateway's metadata.
//!
//! They come from the upstream's catalog, read at an interval, and from forwarded requests. So catalog and
//! search are the same queries as in a registry, whether or not the upstream has a catalog.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use oci::RepositoryName;
use registry::Registry;
use serde::Deserialize;
use upstream::{
    Client, OutgoingBody, UpstreamRequest, UpstreamResponse, error_chain, next_page, read_to_end,
};

use super::scoping::Scoping;

/// The page size of the catalog. It does not exceed the default limit of distribution.
const PAGE: usize = 500;
/// The size limit of a page in bytes.
const PAGE_BYTES: usize = 4 << 20;
/// The limits of one scan, because an upstream may send pages without end.
const LIMITS: Limits =
    Limits { pages: 10_000, names: 200_000, bytes: 64 << 20, time: Duration::from_secs(10 * 60) };
/// The capacity of the set of names that were seen in requests.
const MAX_SEEN: usize = 1_000_000;

pub(super) struct CatalogSync {
    registry: Registry,
    /// The number of the scan during which a repository was last requested, by the hash of its name.
    seen: Mutex<HashMap<u64, u64>>,
    scans: AtomicU64,
    /// Whether a failed scan was logged.
    is_failure_logged: AtomicBool,
    hasher: RandomState,
}

struct Limits {
    pages: usize,
    names: usize,
    /// The total length of all names.
    bytes: usize,
    time: Duration,
}

struct Progress {
    /// Hashes of the names.
    listed: HashSet<u64>,
    /// Hashes of the queries, to detect a loop of pages.
    queries: HashSet<u64>,
    bytes: usize,
    deadline: Instant,
}

/// How a scan ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Complete,
    /// A limit was reached, so that names may be missing.
    LimitReached(&'static str),
}

#[derive(Deserialize)]
struct Catalog {
    #[serde(default)]
    repositories: Option<Vec<String>>,
}

impl CatalogSync {
    pub(super) fn new(registry: Registry) -> Self {
        Self {
            registry,
            seen: Mutex::default(),
            scans: AtomicU64::new(0),
            is_failure_logged: AtomicBool::new(false),
            hasher: RandomState::new(),
        }
    }

    /// Records a repository that served or received an image, and the image's description.
    pub(super) async fn record(&self, repository: &RepositoryName, description: Option<String>) {
        let hash = self.hasher.hash_one(repository);
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.len() >= MAX_SEEN {
                seen.clear();
            }
            let is_new = seen.insert(hash, self.scans.load(Ordering::Relaxed)).is_none();
            if !is_new && description.is_none() {
                return;
            }
        }
        if let Err(error) = self.registry.learn_repositories(vec![(repository.clone(), description)]).await {
            tracing::warn!(%error, %repository, "the name of a repository cannot be stored");
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash);
        }
    }

    /// Scans the upstream's catalog at an interval. Never returns.
    pub(super) async fn run(self: Arc<Self>, client: Arc<Client>, scoping: Arc<Scoping>, interval: Duration) {
        let mut interval = tokio::time::interval(interval);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            match self.scan(&client).await {
                Ok(()) => self.is_failure_logged.store(false, Ordering::Relaxed),
                Err(reason) if !self.is_failure_logged.swap(true, Ordering::Relaxed) => tracing::warn!(
                    %reason,
                    "the catalog of the registry behind the gateway cannot be read; search and catalog contain only \
                     repositories that clients have requested"
                ),
                Err(reason) => tracing::debug!(%reason, "the catalog still cannot be read"),
            }
            scoping.survey(&client, &self.registry).await;
        }
    }

    async fn scan(&self, client: &Client) -> Result<(), String> {
        let scan = self.scans.fetch_add(1, Ordering::Relaxed) + 1;
        let mut progress = Progress::begin(&LIMITS);
        let mut query = format!("n={PAGE}");
        let end = loop {
            if let Some(why) = progress.exceeded(&LIMITS, self.hasher.hash_one(&query)) {
                break End::LimitReached(why);
            }
            let page = tokio::time::timeout_at(progress.deadline.into(), page(client, &query));
            let Ok(page) = page.await else { break End::LimitReached(TOO_SLOW) };
            let (names, next) = page?;
            let new = progress.take(names, &LIMITS, |name| self.hasher.hash_one(name));
            let is_empty = new.is_empty();
            if !is_empty {
                let names = new.into_iter().map(|name| (name, None)).collect();
                self.registry.learn_repositories(names).await.map_err(|error| error.to_string())?;
            }
            match next {
                // A page without new names may lead into a loop.
                Some(next) if !is_empty => query = next,
                _ => break End::Complete,
            }
        };
        self.remove_unlisted(&progress.listed, scan, &end).await?;
        match end {
            End::Complete => Ok(()),
            End::LimitReached(why) => {
                Err(format!("it was read up to {} names only: {why}", progress.listed.len()))
            }
        }
    }

    /// Removes names that the catalog does not list, except those requested since the scan began. After an
    /// incomplete scan, all requested names stay.
    async fn remove_unlisted(&self, listed: &HashSet<u64>, scan: u64, end: &End) -> Result<(), String> {
        let mut after: Option<RepositoryName> = None;
        loop {
            let after_name = after.as_ref().map(RepositoryName::as_str);
            let known = self.registry.known_repositories(after_name, PAGE).await;
            let known = known.map_err(|error| error.to_string())?;
            after = known.last().cloned();
            let removed: Vec<RepositoryName> = {
                let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                let mut is_removed = |name: &RepositoryName| {
                    let hash = self.hasher.hash_one(name);
                    let is_requested =
                        seen.get(&hash).is_some_and(|last| *last >= scan || *end != End::Complete);
                    let is_removed = !listed.contains(&hash) && !is_requested;
                    if is_removed {
                        seen.remove(&hash);
                    }
                    is_removed
                };
                if known.len() < PAGE {
                    after = None;
                }
                known.into_iter().filter(|name| is_removed(name)).collect()
            };
            if !removed.is_empty() {
                self.registry.forget_repositories(removed).await.map_err(|error| error.to_string())?;
            }
            if after.is_none() {
                return Ok(());
            }
        }
    }
}

const TOO_SLOW: &str = "it takes too long";

impl Progress {
    fn begin(limits: &Limits) -> Self {
        Self {
            listed: HashSet::new(),
            queries: HashSet::new(),
            bytes: 0,
            deadline: Instant::now() + limits.time,
        }
    }

    /// The limit that forbids to request another page; `query` is the hash of its query.
    fn exceeded(&mut self, limits: &Limits, query: u64) -> Option<&'static str> {
        if self.queries.len() >= limits.pages {
            return Some("it has too many pages");
        }
        if self.listed.len() >= limits.names || self.bytes >= limits.bytes {
            return Some("it has too many names");
        }
        if Instant::now() >= self.deadline {
            return Some(TOO_SLOW);
        }
        (!self.queries.insert(query)).then_some("a page leads back to one before it")
    }

    /// Adds the names of a page up to the limits, and returns the new ones.
    fn take(
        &mut self,
        names: Vec<RepositoryName>,
        limits: &Limits,
        hash: impl Fn(&RepositoryName) -> u64,
    ) -> Vec<RepositoryName> {
        let mut new = Vec::new();
        for name in names {
            let length = name.as_str().len();
            if self.listed.len() >= limits.names || self.bytes.saturating_add(length) > limits.bytes {
                // Marks the limit as reached, even if a shorter name would fit.
                self.bytes = limits.bytes;
                break;
            }
            if self.listed.insert(hash(&name)) {
                self.bytes += length;
                new.push(name);
            }
        }
        new
    }
}

/// Requests a page of the catalog. Returns its names and the query of the next page.
async fn page(client: &Client, query: &str) -> Result<(Vec<RepositoryName>, Option<String>), String> {
    let request = UpstreamRequest::get(format!("/v2/_catalog?{query}"), "registry:catalog:*".to_owned());
    let response = client.send(&request, &OutgoingBody::empty(), None).await;
    let UpstreamResponse { upstream, response } = response.map_err(|error| error_chain(&error))?;
    let (head, body) = response.into_parts();
    if head.status != StatusCode::OK {
        return Err(format!("{upstream} answers {}", head.status));
    }
    let body = read_to_end(body, PAGE_BYTES, client.read_timeout()).await?;
    let catalog: Catalog = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    // Clients could not request a name that is invalid here.
    let names = catalog.repositories.unwrap_or_default();
    Ok((names.iter().filter_map(|name| name.parse().ok()).collect(), next_page(&head.headers)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(range: std::ops::Range<usize>) -> Vec<RepositoryName> {
        range.map(|number| format!("r{number}").parse().unwrap()).collect()
    }

    #[test]
    fn catalog_progress_stops_at_each_limit() {
        let hasher = RandomState::new();
        let hash = |name: &RepositoryName| hasher.hash_one(name);
        let limits = |pages, names, bytes| Limits { pages, names, bytes, time: Duration::from_secs(60) };

        let few = limits(2, 100, 1000);
        let mut progress = Progress::begin(&few);
        assert_eq!(progress.exceeded(&few, 1), None);
        assert_eq!(progress.exceeded(&few, 1), Some("a page leads back to one before it"));
        assert_eq!(progress.exceeded(&few, 2), None);
        assert_eq!(progress.exceeded(&few, 3), Some("it has too many pages"));

        let few = limits(100, 5, 1000);
        let mut progress = Progress::begin(&few);
        assert_eq!(progress.take(names(0..3), &few, hash).len(), 3);
        assert_eq!(progress.take(names(0..3), &few, hash).len(), 0);
        assert_eq!(progress.exceeded(&few, 1), None);
        assert_eq!(progress.take(names(0..9), &few, hash).len(), 2);
        assert_eq!(progress.exceeded(&few, 2), Some("it has too many names"));

        let few = limits(100, 100, 5);
        let mut progress = Progress::begin(&few);
        assert_eq!(progress.take(names(0..9), &few, hash).len(), 2, "r0 and r1 have 4 bytes");
        assert_eq!(progress.exceeded(&few, 1), Some("it has too many names"));

        let few = Limits { time: Duration::ZERO, ..limits(100, 100, 1000) };
        assert_eq!(Progress::begin(&few).exceeded(&few, 1), Some(TOO_SLOW));
    }
}
