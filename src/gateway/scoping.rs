//! A probe of the upstream: does it restrict blobs to the repositories that refer to them?
//!
//! distribution answers 404 for a blob that the repository does not link. zot serves every blob that it has,
//! and links it into the requested repository. The gateway requests a blob of one repository from two others:
//! one that does not exist, and one that does. It relies on the upstream only if HEAD and GET of both give
//! 404.
//!
//! A registry may store repositories differently by the first component of their name (zot's `subPaths`). So
//! the result of a probe counts for names with the same first component only.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use oci::{Digest, RepositoryName};
use registry::Registry;
use upstream::{Client, Upstream, UpstreamRequest, repository_scope};

use super::references;
use crate::http::gateway_error::GatewayError;

/// How long a result counts, because an upstream may be replaced or reconfigured.
const PROBE_TTL: Duration = Duration::from_secs(10 * 60);
/// How long after an inconclusive probe the next one follows.
const RETRY: Duration = Duration::from_secs(60);
/// The capacity of the results.
const MAX_COMPONENTS: usize = 10_000;
/// The last component of the name that should not exist. It is constant, because zot creates a repository for
/// each requested name.
const PROBE: &str = "wharfinger-gateway-probe";
/// How many names are read to find another repository, and how many of these are probed.
const CANDIDATES: usize = 500;
const MAX_PROBED: usize = 8;

/// The result of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The upstream restricts blobs to their repositories.
    Repository,
    /// The upstream serves a blob in any repository.
    Registry,
    /// Inconclusive: there is no second repository, or the upstream did not answer.
    Unknown,
}

/// The results by first component.
pub(super) struct Scoping {
    probes: Mutex<HashMap<String, (Scope, Instant)>>,
    warned: AtomicBool,
}

impl Scoping {
    pub(super) fn new() -> Self {
        Self { probes: Mutex::default(), warned: AtomicBool::new(false) }
    }

    /// Whether the upstream restricts blobs to their repositories.
    pub(super) fn is_by_repository(&self, repository: &RepositoryName) -> bool {
        let probes = self.lock();
        let probe = probes.get(first_component(repository));
        probe.is_some_and(|(scope, at)| *scope == Scope::Repository && at.elapsed() < PROBE_TTL)
    }

    /// Whether a probe found that the upstream serves blobs in any repository.
    pub(super) fn is_by_registry_anywhere(&self) -> bool {
        self.lock().values().any(|(scope, _)| *scope == Scope::Registry)
    }

    /// Whether the result has expired. Returns true to one caller, which then probes.
    pub(super) fn is_due(&self, repository: &RepositoryName) -> bool {
        let component = first_component(repository);
        let mut probes = self.lock();
        if probes.len() >= MAX_COMPONENTS {
            probes.retain(|_, (scope, at)| *scope == Scope::Registry || at.elapsed() < PROBE_TTL);
            if probes.len() >= MAX_COMPONENTS {
                probes.clear();
            }
        }
        let probe = probes.entry(component.to_owned());
        let now = Instant::now();
        match probe {
            std::collections::hash_map::Entry::Vacant(probe) => {
                probe.insert((Scope::Unknown, now));
                true
            }
            std::collections::hash_map::Entry::Occupied(mut probe) => {
                let (scope, at) = *probe.get();
                let ttl = if scope == Scope::Unknown { RETRY } else { PROBE_TTL };
                let is_due = at.elapsed() >= ttl;
                if is_due && scope == Scope::Repository {
                    probe.insert((Scope::Unknown, now));
                } else if is_due {
                    probe.insert((scope, now));
                }
                is_due
            }
        }
    }

    /// Probes some known repositories, so that the log tells the operator early.
    pub(super) async fn survey(self: &Arc<Self>, client: &Arc<Client>, registry: &Registry) {
        let Ok(repositories) = registry.known_repositories(None, MAX_PROBED).await else { return };
        for repository in repositories {
            if self.is_due(&repository)
                && let Some(digest) = references::any_blob(client, &repository).await
            {
                self.clone().probe(client.clone(), registry.clone(), repository, digest).await;
            }
        }
    }

    /// Probes with a blob of `repository`.
    pub(super) async fn probe(
        self: Arc<Self>,
        client: Arc<Client>,
        registry: Registry,
        repository: RepositoryName,
        digest: Digest,
    ) {
        let scope = match others(&registry, &repository).await {
            Some(others) if !others.is_empty() => probe_all(&client, &repository, &others, &digest).await,
            _ => Ok(Scope::Unknown),
        };
        let scope = scope.unwrap_or_else(|error| {
            tracing::debug!(reason = %error.reason(), "the probe of the upstream failed");
            Scope::Unknown
        });
        tracing::debug!(%repository, ?scope, "probed whether the upstream restricts blobs to repositories");
        if scope == Scope::Registry && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the registry behind the gateway answers for a blob in any repository, as zot does: the gateway itself \
                 looks which manifests name a blob; let nothing reach the registry but through the gateway"
            );
        }
        if scope != Scope::Unknown {
            self.lock().insert(first_component(&repository).to_owned(), (scope, Instant::now()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Scope, Instant)>> {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first component of a name, or an empty string for a name of one component.
fn first_component(repository: &RepositoryName) -> &str {
    repository.as_str().split_once('/').map_or("", |(first, _)| first)
}

/// Other repositories, those with the same first component first.
async fn others(registry: &Registry, repository: &RepositoryName) -> Option<Vec<RepositoryName>> {
    let first = first_component(repository);
    let prefix = (!first.is_empty()).then(|| format!("{first}/"));
    let near = registry.known_repositories(prefix.as_deref(), CANDIDATES).await.ok()?;
    let all = registry.known_repositories(None, CANDIDATES).await.ok()?;
    let (near, far): (Vec<_>, Vec<_>) =
        near.into_iter().chain(all).partition(|other| first_component(other) == first);
    let mut others: Vec<RepositoryName> = Vec::new();
    for other in near.into_iter().chain(far) {
        if others.len() < MAX_PROBED && other != *repository && !others.contains(&other) {
            others.push(other);
        }
    }
    Some(others)
}

async fn probe_all(
    client: &Client,
    repository: &RepositoryName,
    others: &[RepositoryName],
    digest: &Digest,
) -> Result<Scope, GatewayError> {
    let mut scope = Scope::Repository;
    for upstream in client.upstreams() {
        match probe_one(client, upstream, repository, others, digest).await? {
            Scope::Repository => {}
            Scope::Registry => return Ok(Scope::Registry),
            Scope::Unknown => scope = Scope::Unknown,
        }
    }
    Ok(scope)
}

async fn probe_one(
    client: &Client,
    upstream: &Upstream,
    repository: &RepositoryName,
    others: &[RepositoryName],
    digest: &Digest,
) -> Result<Scope, GatewayError> {
    let first = first_component(repository);
    let absent = if first.is_empty() { PROBE.to_owned() } else { format!("{first}/{PROBE}") };
    let status = async |method: Method, name: &str, below: &str| {
        let path = format!("/v2/{name}/{below}");
        let request =
            UpstreamRequest { method, ..UpstreamRequest::get(path, repository_scope(name, "pull")) };
        client.send_to(upstream, &request).await.map(|response| response.status())
    };
    let blob = format!("blobs/{digest}");
    if status(Method::HEAD, repository.as_str(), &blob).await? != StatusCode::OK {
        return Ok(Scope::Unknown);
    }
    // HEAD first: zot links a blob on HEAD, so that GET would find it.
    for method in [Method::HEAD, Method::GET] {
        match status(method, &absent, &blob).await? {
            StatusCode::NOT_FOUND => {}
            status if status.is_success() || status.is_redirection() => return Ok(Scope::Registry),
            _ => return Ok(Scope::Unknown),
        }
    }
    for other in others {
        let other = other.as_str();
        if status(Method::GET, other, "tags/list").await? == StatusCode::OK
            && status(Method::HEAD, other, &blob).await? == StatusCode::NOT_FOUND
            && status(Method::GET, other, &blob).await? == StatusCode::NOT_FOUND
        {
            return Ok(Scope::Repository);
        }
    }
    // All others may contain the blob.
    Ok(Scope::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn probe_counts_for_its_first_component() {
        let scoping = Scoping::new();
        assert!(scoping.is_due(&name("ann/app")));
        assert!(!scoping.is_due(&name("ann/other")), "one caller at a time");
        scoping.lock().insert("ann".to_owned(), (Scope::Repository, Instant::now()));
        assert!(scoping.is_by_repository(&name("ann/other/deep")));
        for other in ["ann", "bob/app", "annex/app"] {
            assert!(!scoping.is_by_repository(&name(other)), "{other}");
        }
        assert!(!scoping.is_due(&name("ann/app")));
        assert!(!scoping.is_by_registry_anywhere());
        scoping.lock().insert("bob".to_owned(), (Scope::Registry, Instant::now()));
        assert!(scoping.is_by_registry_anywhere() && !scoping.is_by_repository(&name("bob/app")));
    }

    #[test]
    fn probe_expires() {
        let scoping = Scoping::new();
        let Some(long_ago) = Instant::now().checked_sub(PROBE_TTL) else { return };
        scoping.lock().insert("ann".to_owned(), (Scope::Repository, long_ago));
        assert!(!scoping.is_by_repository(&name("ann/app")));
        assert!(scoping.is_due(&name("ann/app")));
        assert!(!scoping.is_due(&name("ann/app")));
    }
}
