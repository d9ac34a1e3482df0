//! The names of the repositories behind the gateway. The upstream's catalog is read now and then, and what passes by
//! is noted; both go into the gateway's own metadata, so that catalog and search are the same filtered queries as in a
//! registry, whatever the upstream can and cannot list.

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

/// How many names are asked for at once: as many as distribution gives by default, or fewer.
const PAGE: usize = 500;
/// The most that a page may have, in bytes.
const PAGE_BYTES: usize = 4 << 20;
/// The limits of one reading of the catalog, because an upstream may send pages for ever.
const LIMITS: Limits =
    Limits { pages: 10_000, names: 200_000, bytes: 64 << 20, time: Duration::from_secs(10 * 60) };
/// Names that passed by and are remembered not to be noted again.
const SEEN: usize = 1_000_000;

/// Learns names.
pub(super) struct CatalogSync {
    registry: Registry,
    /// By the hash of its name: during which reading of the catalog a repository last passed by.
    seen: Mutex<HashMap<u64, u64>>,
    /// How many times the catalog was read.
    readings: AtomicU64,
    /// Whether it was said that the catalog cannot be read.
    complained: AtomicBool,
    hasher: RandomState,
}

/// How much is read of a catalog.
struct Limits {
    pages: usize,
    names: usize,
    /// The length of all names together.
    bytes: usize,
    time: Duration,
}

/// How far one reading of the catalog has come.
struct Progress {
    /// Hashes of the names so far.
    listed: HashSet<u64>,
    /// Hashes of the queries so far: a page that was asked for before leads into a loop.
    asked: HashSet<u64>,
    bytes: usize,
    deadline: Instant,
}

/// How a reading of the catalog ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Complete,
    /// There may be more names, for this reason.
    Cut(&'static str),
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
            readings: AtomicU64::new(0),
            complained: AtomicBool::new(false),
            hasher: RandomState::new(),
        }
    }

    /// A repository passed by that holds an image, which may have said what it is.
    pub(super) async fn passed_by(&self, repository: &RepositoryName, description: Option<String>) {
        let hash = self.hasher.hash_one(repository);
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.len() >= SEEN {
                seen.clear();
            }
            let is_new = seen.insert(hash, self.readings.load(Ordering::Relaxed)).is_none();
            if !is_new && description.is_none() {
                return;
            }
        }
        if let Err(error) = self.registry.learn_repositories(vec![(repository.clone(), description)]).await {
            tracing::warn!(%error, %repository, "the name of a repository could not be noted");
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash);
        }
    }

    /// Reads the upstream's catalog every so often, for ever.
    pub(super) async fn run(self: Arc<Self>, client: Arc<Client>, scoping: Arc<Scoping>, every: Duration) {
        let mut every = tokio::time::interval(every);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            match self.read_catalog(&client).await {
                Ok(()) => self.complained.store(false, Ordering::Relaxed),
                Err(reason) if !self.complained.swap(true, Ordering::Relaxed) => tracing::warn!(
                    %reason,
                    "the catalog of the registry behind the gateway cannot be read; until it can, search and catalog \
                     know the repositories that passed by"
                ),
                Err(reason) => tracing::debug!(%reason, "the catalog still cannot be read"),
            }
            scoping.survey(&client, &self.registry).await;
        }
    }

    async fn read_catalog(&self, client: &Client) -> Result<(), String> {
        let reading = self.readings.fetch_add(1, Ordering::Relaxed) + 1;
        let mut progress = Progress::begin(&LIMITS);
        let mut query = format!("n={PAGE}");
        let end = loop {
            if let Some(why) = progress.exceeded(&LIMITS, self.hasher.hash_one(&query)) {
                break End::Cut(why);
            }
            let page = tokio::time::timeout_at(progress.deadline.into(), page(client, &query));
            let Ok(page) = page.await else { break End::Cut(TOO_SLOW) };
            let (names, next) = page?;
            let new = progress.take(names, &LIMITS, |name| self.hasher.hash_one(name));
            let is_empty = new.is_empty();
            if !is_empty {
                let names = new.into_iter().map(|name| (name, None)).collect();
                self.registry.learn_repositories(names).await.map_err(|error| error.to_string())?;
            }
            match next {
                // A page that brings nothing new leads nowhere.
                Some(next) if !is_empty => query = next,
                _ => break End::Complete,
            }
        };
        self.forget_all_but(&progress.listed, reading, &end).await?;
        match end {
            End::Complete => Ok(()),
            End::Cut(why) => Err(format!("it was read up to {} names only: {why}", progress.listed.len())),
        }
    }

    /// Forgets the names that the catalog no longer lists, except those that passed by since this reading began. If the
    /// reading was cut, those that ever passed by are kept as well.
    async fn forget_all_but(&self, listed: &HashSet<u64>, reading: u64, end: &End) -> Result<(), String> {
        let mut after: Option<RepositoryName> = None;
        loop {
            let after_name = after.as_ref().map(RepositoryName::as_str);
            let known = self.registry.known_repositories(after_name, PAGE).await;
            let known = known.map_err(|error| error.to_string())?;
            after = known.last().cloned();
            let gone: Vec<RepositoryName> = {
                let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                let is_gone = |name: &RepositoryName| {
                    let hash = self.hasher.hash_one(name);
                    let passed_by =
                        seen.get(&hash).is_some_and(|when| *when >= reading || *end != End::Complete);
                    let is_gone = !listed.contains(&hash) && !passed_by;
                    if is_gone {
                        seen.remove(&hash);
                    }
                    is_gone
                };
                let is_last = known.len() < PAGE;
                let gone = known.into_iter().filter({
                    let mut is_gone = is_gone;
                    move |name| is_gone(name)
                });
                let gone = gone.collect();
                if is_last {
                    after = None;
                }
                gone
            };
            if !gone.is_empty() {
                self.registry.forget_repositories(gone).await.map_err(|error| error.to_string())?;
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
            asked: HashSet::new(),
            bytes: 0,
            deadline: Instant::now() + limits.time,
        }
    }

    /// Why no further page may be asked for, if so; `query` is the hash of its query.
    fn exceeded(&mut self, limits: &Limits, query: u64) -> Option<&'static str> {
        if self.asked.len() >= limits.pages {
            return Some("it has too many pages");
        }
        if self.listed.len() >= limits.names || self.bytes >= limits.bytes {
            return Some("it has too many names");
        }
        if Instant::now() >= self.deadline {
            return Some(TOO_SLOW);
        }
        (!self.asked.insert(query)).then_some("a page leads back to one before it")
    }

    /// Takes the names of a page, as many as there is room for, and returns those that are new.
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
                // Full, also for a shorter name: what was left out must be noticed.
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

/// A page of the catalog, and the query of the next one.
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
    // What is no name here could not be asked for here either.
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
