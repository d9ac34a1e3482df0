//! The names of the repositories behind the gateway. The upstream's catalog is read now and then, and what passes by
//! is noted; both go into the gateway's own metadata, so that catalog and search are the same filtered queries as in a
//! registry, whatever the upstream can and cannot list.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::header::HeaderMap;
use hyper::{Method, StatusCode};
use oci::RepositoryName;
use registry::Registry;
use serde::Deserialize;

use super::client::{Ask, Client, whole};
use super::locations::next_page;
use super::sending::Sending;

/// How many names are asked for at once: as many as distribution gives by default, or fewer.
const PAGE: usize = 500;
/// The most that a page may have, in bytes.
const PAGE_BYTES: usize = 4 << 20;
/// Names that passed by and are remembered not to be noted again.
const SEEN: usize = 1_000_000;

/// Learns names.
pub(super) struct Learning {
    registry: Registry,
    /// By the hash of its name: during which reading of the catalog a repository last passed by.
    seen: Mutex<HashMap<u64, u64>>,
    /// How many times the catalog was read.
    readings: AtomicU64,
    /// Whether it was said that the catalog cannot be read.
    complained: AtomicBool,
    hasher: RandomState,
}

#[derive(Deserialize)]
struct Catalog {
    #[serde(default)]
    repositories: Option<Vec<String>>,
}

impl Learning {
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
    pub(super) async fn run(self: Arc<Self>, client: Arc<Client>, every: Duration) {
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
        }
    }

    async fn read_catalog(&self, client: &Client) -> Result<(), String> {
        let reading = self.readings.fetch_add(1, Ordering::Relaxed) + 1;
        let mut listed = HashSet::new();
        let mut query = format!("n={PAGE}");
        loop {
            let (names, next) = page(client, &query).await?;
            let before = listed.len();
            listed.extend(names.iter().map(|name| self.hasher.hash_one(name)));
            if listed.len() > before {
                let names = names.into_iter().map(|name| (name, None)).collect();
                self.registry.learn_repositories(names).await.map_err(|error| error.to_string())?;
            }
            match next {
                // A page that brings nothing new leads nowhere.
                Some(next) if listed.len() > before => query = next,
                _ => break,
            }
        }
        self.forget_all_but(&listed, reading).await
    }

    /// Forgets what the catalog no longer lists, except what passed by since it was begun to be read.
    async fn forget_all_but(&self, listed: &HashSet<u64>, reading: u64) -> Result<(), String> {
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
                    let passed_by = seen.get(&hash).is_some_and(|when| *when >= reading);
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

/// A page of the catalog, and the query of the next one.
async fn page(client: &Client, query: &str) -> Result<(Vec<RepositoryName>, Option<String>), String> {
    let ask = Ask {
        method: Method::GET,
        path_and_query: format!("/v2/_catalog?{query}"),
        headers: HeaderMap::new(),
        scope: "registry:catalog:*".to_owned(),
    };
    let answered = client.ask(&ask, &Sending::Nothing, None).await.map_err(|error| error.reason())?;
    let (head, body) = answered.response.into_parts();
    if head.status != StatusCode::OK {
        return Err(format!("{} answers {}", answered.upstream, head.status));
    }
    let body = whole(body, PAGE_BYTES, client.read_patience()).await?;
    let catalog: Catalog = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    // What is no name here could not be asked for here either.
    let names = catalog.repositories.unwrap_or_default();
    Ok((names.iter().filter_map(|name| name.parse().ok()).collect(), next_page(&head.headers)))
}
