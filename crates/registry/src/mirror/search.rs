//! Search: passes searches on to the upstreams whose operator asked for it, and caches the answers for a
//! short time.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use accounts::Visible;
use futures_util::future::join_all;
use oci::RepositoryName;
use upstream::{SearchHit, error_chain};

use super::{FillPolicy, Mirror, Upstream};
use crate::Error;
use crate::access::Identity;
use crate::networks;

/// How long an answer is used.
const TTL: Duration = Duration::from_secs(60);
/// The timeout of an upstream. A search must not wait for one that is slow.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The repositories of one answer: the largest page of Docker Hub.
const LIMIT: usize = 100;

/// The answer of an upstream, and its time.
pub(super) type CachedHits = (Instant, Arc<[SearchHit]>);

/// A repository of an upstream that a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name here.
    pub name: RepositoryName,
    /// Its description.
    pub description: String,
    /// Its stars.
    pub stars: u64,
    /// Whether it is an official image.
    pub is_official: bool,
}

impl Mirror {
    /// Searches the upstreams for repositories that are not here, and that the caller may see and fetch. An
    /// upstream that does not answer adds nothing.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn search(
        &self,
        query: &str,
        identity: &Identity,
        address: IpAddr,
        visible: &Visible,
    ) -> Result<Vec<Found>, Error> {
        if query.trim().is_empty() {
            return Ok(Vec::new());
        }
        let accounts_in_force = self.inner.registry.accounts().in_force();
        let may_ask = |upstream: &Upstream| {
            let is_open = networks::contain(&upstream.settings.open_to, address);
            !accounts_in_force
                || is_open
                || !identity.is_anonymous()
                || upstream.settings.fill == FillPolicy::Everyone
        };
        let asked = self.upstreams.all.iter().enumerate();
        let asked = asked.filter(|(_, upstream)| upstream.settings.search.is_some() && may_ask(upstream));
        let answers = join_all(asked.map(|(index, upstream)| async move {
            (upstream, self.search_upstream(index, upstream, query).await)
        }));
        let mut found = Vec::new();
        for (upstream, hits) in answers.await {
            for hit in hits.iter() {
                let Some(name) = upstream.listed_name(&hit.name) else { continue };
                // The search of this registry finds what is kept.
                if self.inner.registry.has_repository(&name).await? {
                    continue;
                }
                let may_pull = visible.allows(&name) || self.is_open_to(&name, address);
                if may_pull && upstream.allows(&name) && self.may_fill(identity, &name, address).await? {
                    found.push(Found {
                        name,
                        description: hit.description.clone(),
                        stars: hit.star_count,
                        is_official: hit.is_official,
                    });
                }
            }
        }
        Ok(found)
    }

    async fn search_upstream(&self, index: usize, upstream: &Upstream, query: &str) -> Arc<[SearchHit]> {
        let Some(client) = &upstream.settings.search else { return Arc::default() };
        let key = (index, query.to_owned());
        if let Some((at, hits)) = self.inner.searches.get(&key)
            && at.elapsed() < TTL
        {
            return hits;
        }
        let reason = match tokio::time::timeout(TIMEOUT, client.search(query, LIMIT)).await {
            Ok(Ok(hits)) => {
                let hits: Arc<[SearchHit]> = hits.into();
                self.inner.searches.insert(key, (Instant::now(), hits.clone()));
                return hits;
            }
            Ok(Err(error)) => error_chain(&error),
            Err(_) => format!("it did not answer within {} s", TIMEOUT.as_secs()),
        };
        tracing::warn!(
            upstream = upstream.name(),
            reason,
            "cannot search in an upstream; the results are those of this registry"
        );
        Arc::default()
    }
}

impl Upstream {
    /// The name here of a repository that the upstream's search names.
    fn listed_name(&self, name: &str) -> Option<RepositoryName> {
        let name: RepositoryName = name.parse().ok()?;
        self.full_name(name.as_str())
    }
}
