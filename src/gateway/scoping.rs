//! A probe: does the registry behind the gateway tell repositories apart when it is asked for a blob?
//!
//! distribution answers 404 for a blob that the repository does not link. zot answers for any blob that it has, and
//! links it into the repository that was named. The gateway asks for a blob of one repository in the name of two others:
//! one that does not exist, and one that does. Only if both are 404, by HEAD and by GET, does it rely on the upstream.
//!
//! A registry may keep parts of its repositories in different ways, told apart by the first component of the name (zot's
//! `subPaths`). So a probe counts for the names with that first component alone.

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

/// How long a probe counts. An upstream may be replaced by another one, or get other settings.
const PROBED_FOR: Duration = Duration::from_secs(10 * 60);
/// When a probe that showed nothing is tried again.
const RETRY: Duration = Duration::from_secs(60);
/// First components whose probes are kept.
const COMPONENTS: usize = 10_000;
/// The last component of a name that no repository is expected to have. It is always the same, because zot makes a
/// repository of each name that it is asked for.
const PROBE: &str = "wharfinger-gateway-probe";
/// How many names are read to find another repository, and how many of those are asked.
const CANDIDATES: usize = 500;
const ASKED: usize = 8;

/// What a probe has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// A blob is answered for in the repositories that hold it alone.
    Repository,
    /// A blob is answered for in any repository.
    Registry,
    /// Nothing: there is no second repository, or the upstream did not answer.
    Unknown,
}

/// The probes of an upstream.
pub(super) struct Scoping {
    probes: Mutex<HashMap<String, (Scope, Instant)>>,
    warned: AtomicBool,
}

impl Scoping {
    pub(super) fn new() -> Self {
        Self { probes: Mutex::default(), warned: AtomicBool::new(false) }
    }

    /// Whether the upstream itself refuses blobs that a repository does not hold.
    pub(super) fn is_by_repository(&self, repository: &RepositoryName) -> bool {
        let probes = self.lock();
        let probe = probes.get(first_component(repository));
        probe.is_some_and(|(scope, at)| *scope == Scope::Repository && at.elapsed() < PROBED_FOR)
    }

    /// Whether some probe showed that the upstream answers for blobs of any repository.
    pub(super) fn is_by_registry_anywhere(&self) -> bool {
        self.lock().values().any(|(scope, _)| *scope == Scope::Registry)
    }

    /// Whether nothing was shown for a long time, so that a probe is due. Says so to one caller at a time.
    pub(super) fn is_due(&self, repository: &RepositoryName) -> bool {
        let component = first_component(repository);
        let mut probes = self.lock();
        if probes.len() >= COMPONENTS {
            probes.retain(|_, (scope, at)| *scope == Scope::Registry || at.elapsed() < PROBED_FOR);
            if probes.len() >= COMPONENTS {
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
                let life = if scope == Scope::Unknown { RETRY } else { PROBED_FOR };
                let is_due = at.elapsed() >= life;
                if is_due && scope == Scope::Repository {
                    probe.insert((Scope::Unknown, now));
                } else if is_due {
                    probe.insert((scope, now));
                }
                is_due
            }
        }
    }

    /// Probes with what is there, so that the operator hears at the start which kind of registry it is.
    pub(super) async fn survey(self: &Arc<Self>, client: &Arc<Client>, registry: &Registry) {
        let Ok(repositories) = registry.known_repositories(None, ASKED).await else { return };
        for repository in repositories {
            if self.is_due(&repository)
                && let Some(digest) = references::any_blob(client, &repository).await
            {
                self.clone().probe(client.clone(), registry.clone(), repository, digest).await;
            }
        }
    }

    /// Probes with a blob that `repository` holds.
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
            tracing::debug!(reason = %error.reason(), "the registry behind the gateway could not be probed");
            Scope::Unknown
        });
        tracing::debug!(%repository, ?scope, "probed whether the upstream tells repositories apart");
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

/// The first component of a name that has several; empty for a name of one.
fn first_component(repository: &RepositoryName) -> &str {
    repository.as_str().split_once('/').map_or("", |(first, _)| first)
}

/// Repositories besides one, those with the same first component first.
async fn others(registry: &Registry, repository: &RepositoryName) -> Option<Vec<RepositoryName>> {
    let first = first_component(repository);
    let prefix = (!first.is_empty()).then(|| format!("{first}/"));
    let near = registry.known_repositories(prefix.as_deref(), CANDIDATES).await.ok()?;
    let all = registry.known_repositories(None, CANDIDATES).await.ok()?;
    let (near, far): (Vec<_>, Vec<_>) =
        near.into_iter().chain(all).partition(|other| first_component(other) == first);
    let mut others: Vec<RepositoryName> = Vec::new();
    for other in near.into_iter().chain(far) {
        if others.len() < ASKED && other != *repository && !others.contains(&other) {
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
    // In this order: what HEAD finds, zot links, so that GET has it.
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
    // Each of the others may hold it, or be shown to hold it.
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
        let Some(long_ago) = Instant::now().checked_sub(PROBED_FOR) else { return };
        scoping.lock().insert("ann".to_owned(), (Scope::Repository, long_ago));
        assert!(!scoping.is_by_repository(&name("ann/app")));
        assert!(scoping.is_due(&name("ann/app")));
        assert!(!scoping.is_due(&name("ann/app")));
    }
}
