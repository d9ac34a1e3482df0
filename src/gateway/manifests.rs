//! The cache of manifests, with the TTL of `gateway.cache`.
//!
//! A push or a deletion through the gateway invalidates all entries of its repository, before it is sent and
//! after its response. So a response from in between is not served later. A change at the upstream itself is
//! visible after the TTL. An expired entry is revalidated with `If-None-Match`. Concurrent requests share one
//! request to the upstream.
//!
//! distribution converts some manifests depending on `Accept`, so that the key contains it. The cache stores
//! a manifest only if its bytes match the requested digest and the one in the response.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{ACCEPT, CONTENT_LENGTH, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use oci::{Digest, RepositoryName, TagOrDigest};
use quick_cache::sync::{Cache, DefaultLifecycle, PlaceholderGuard};
use quick_cache::{DefaultHashBuilder, Equivalent, Weighter};

use crate::http::body::Body;
use crate::http::response::{self, DOCKER_CONTENT_DIGEST, Response};

/// Counters of changes. Repositories share them by hash.
const SHARDS: usize = 256;

pub(super) struct Manifests {
    entries: Cache<Key, Arc<Entry>, BySize>,
    ttl: Duration,
    changes: Box<[AtomicU64; SHARDS]>,
    hasher: RandomState,
}

/// The request of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    repository: RepositoryName,
    target: TagOrDigest,
    /// A keyed hash of the `Accept` headers.
    accept: u64,
}

/// A borrowed key, so that a lookup clones nothing.
struct KeyRef<'a> {
    repository: &'a RepositoryName,
    target: &'a TagOrDigest,
    accept: u64,
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.repository.hash(state);
        self.target.hash(state);
        self.accept.hash(state);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.repository == key.repository && *self.target == key.target && self.accept == key.accept
    }
}

/// A cached response.
pub(super) struct Entry {
    /// `None` for a response that cannot be shared.
    manifest: Option<Manifest>,
    expires: Instant,
    changes: u64,
}

#[derive(Clone)]
struct Manifest {
    headers: HeaderMap,
    content: Bytes,
    /// The upstream's entity tag.
    etag: HeaderValue,
}

#[derive(Clone)]
struct BySize;

impl Weighter<Key, Arc<Entry>> for BySize {
    fn weight(&self, _: &Key, entry: &Arc<Entry>) -> u64 {
        // 1200: the entry itself, roughly.
        entry.manifest.as_ref().map_or(0, |manifest| manifest.content.len() as u64) + 1200
    }
}

/// The counter of changes when the upstream was requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// A push or deletion in progress. Dropping it invalidates the repository's entries again.
pub(super) struct Change<'a>(&'a AtomicU64);

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The result of a lookup.
#[allow(
    clippy::large_enum_variant,
    reason = "it lives for one match, and the large one requests the upstream"
)]
pub(super) enum Lookup<'a> {
    Hit(Arc<Entry>),
    /// This caller must request the upstream, while others wait for its result.
    Miss(Fetch<'a>),
    /// The response cannot be shared, so that each caller requests the upstream.
    Uncacheable,
}

type Guard<'a> =
    PlaceholderGuard<'a, Key, Arc<Entry>, BySize, DefaultHashBuilder, DefaultLifecycle<Key, Arc<Entry>>>;

/// The request to the upstream for all waiting callers. If it is dropped without a result, the next caller
/// takes over.
pub(super) struct Fetch<'a> {
    manifests: &'a Manifests,
    guard: Guard<'a>,
    key: Key,
    ticket: Ticket,
    stale: Option<Manifest>,
}

impl Manifests {
    /// Creates a cache with a capacity in bytes.
    pub(super) fn new(ttl: Duration, bytes: u64) -> Self {
        let expected = usize::try_from(bytes / 2048).unwrap_or(usize::MAX).clamp(64, 65_536);
        let ttl = if bytes == 0 { Duration::ZERO } else { ttl };
        Self {
            entries: Cache::with_weighter(expected, bytes, BySize),
            ttl,
            changes: Box::new(std::array::from_fn(|_| AtomicU64::new(0))),
            hasher: RandomState::new(),
        }
    }

    pub(super) fn is_enabled(&self) -> bool {
        !self.ttl.is_zero()
    }

    /// Invalidates the entries of a repository, now and when the change is dropped.
    pub(super) fn begin_change(&self, repository: &RepositoryName) -> Change<'_> {
        let changes = self.counter(repository);
        changes.fetch_add(1, Ordering::SeqCst);
        Change(changes)
    }

    fn counter(&self, repository: &RepositoryName) -> &AtomicU64 {
        let shard = self.hasher.hash_one(repository) % SHARDS as u64;
        &self.changes[usize::try_from(shard).unwrap_or_default()]
    }

    /// The keyed hash of the `Accept` headers.
    fn accept(&self, headers: &HeaderMap) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        for value in headers.get_all(ACCEPT) {
            value.as_bytes().hash(&mut hasher);
        }
        hasher.finish()
    }

    fn is_fresh(&self, entry: &Entry, repository: &RepositoryName) -> bool {
        entry.changes == self.counter(repository).load(Ordering::SeqCst) && entry.expires > Instant::now()
    }

    /// The cached response, without waiting for a fetch in progress.
    pub(super) fn cached(
        &self,
        repository: &RepositoryName,
        target: &TagOrDigest,
        headers: &HeaderMap,
    ) -> Option<Response> {
        if !self.is_enabled() {
            return None;
        }
        let entry = self.entries.get(&KeyRef { repository, target, accept: self.accept(headers) })?;
        if !self.is_fresh(&entry, repository) {
            return None;
        }
        entry.response(headers)
    }

    /// Looks up a manifest. Waits for a fetch of the same manifest in progress.
    pub(super) async fn lookup(
        &self,
        repository: &RepositoryName,
        target: &TagOrDigest,
        headers: &HeaderMap,
    ) -> Lookup<'_> {
        let key =
            Key { repository: repository.clone(), target: target.clone(), accept: self.accept(headers) };
        let mut stale = None;
        self.entries.remove_if(&key, |entry| {
            let is_stale = !self.is_fresh(entry, repository);
            if is_stale {
                stale.clone_from(&entry.manifest);
            }
            is_stale
        });
        match self.entries.get_value_or_guard_async(&key).await {
            Ok(entry) if self.is_fresh(&entry, repository) && entry.manifest.is_some() => Lookup::Hit(entry),
            Ok(_) => Lookup::Uncacheable,
            Err(guard) => {
                let ticket = Ticket(self.counter(repository).load(Ordering::SeqCst));
                Lookup::Miss(Fetch { manifests: self, guard, key, ticket, stale })
            }
        }
    }
}

impl Fetch<'_> {
    /// The entity tag of the expired entry, for `If-None-Match`.
    pub(super) fn etag(&self) -> Option<&HeaderValue> {
        self.stale.as_ref().map(|manifest| &manifest.etag)
    }

    /// Renews the expired entry after a 304.
    pub(super) fn revalidated(self) -> Option<Arc<Entry>> {
        let manifest = self.stale.clone();
        manifest.map(|manifest| self.store(Some(manifest)))
    }

    /// Stores a manifest with the headers for clients. `None` if the digest does not match; then the response
    /// is for this caller only.
    pub(super) fn received(self, headers: &HeaderMap, content: &Bytes) -> Option<Arc<Entry>> {
        let manifest = self.verify(headers, content);
        let is_valid = manifest.is_some();
        let entry = self.store(manifest);
        is_valid.then_some(entry)
    }

    fn verify(&self, headers: &HeaderMap, content: &Bytes) -> Option<Manifest> {
        let digest: Digest = headers.get(DOCKER_CONTENT_DIGEST)?.to_str().ok()?.parse().ok()?;
        if digest.algorithm().digest(content) != digest {
            return None;
        }
        if matches!(&self.key.target, TagOrDigest::Digest(requested) if *requested != digest) {
            return None;
        }
        let mut headers = headers.clone();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(content.len()));
        let etag = match headers.get(ETAG) {
            Some(etag) => etag.clone(),
            None => HeaderValue::try_from(format!("\"{digest}\"")).ok()?,
        };
        headers.insert(ETAG, etag.clone());
        Some(Manifest { headers, content: content.clone(), etag })
    }

    /// Lets the waiting callers request the upstream themselves, concurrently.
    pub(super) fn uncacheable(self) {
        self.store(None);
    }

    fn store(self, manifest: Option<Manifest>) -> Arc<Entry> {
        let now = Instant::now();
        let expires = if manifest.is_some() { now + self.manifests.ttl } else { now };
        let entry = Arc::new(Entry { manifest, expires, changes: self.ticket.0 });
        // Clients resolve a tag and then request its digest.
        if let (TagOrDigest::Tag(_), Some(manifest)) = (&self.key.target, &entry.manifest)
            && let Some(digest) = manifest.headers.get(DOCKER_CONTENT_DIGEST)
            && let Some(digest) = digest.to_str().ok().and_then(|digest| digest.parse().ok())
        {
            let target = TagOrDigest::Digest(digest);
            self.manifests.entries.insert(Key { target, ..self.key.clone() }, entry.clone());
        }
        // The insertion fails if the placeholder was removed meanwhile.
        let _ = self.guard.insert(entry.clone());
        entry
    }
}

impl Entry {
    pub(super) fn content(&self) -> Option<&Bytes> {
        self.manifest.as_ref().map(|manifest| &manifest.content)
    }

    /// The response to GET and HEAD.
    pub(super) fn response(&self, request: &HeaderMap) -> Option<Response> {
        let manifest = self.manifest.as_ref()?;
        if is_not_modified(request, &manifest.etag) {
            let mut answer = response::status(StatusCode::NOT_MODIFIED);
            *answer.headers_mut() = manifest.headers.clone();
            answer.headers_mut().remove(CONTENT_LENGTH);
            return Some(answer);
        }
        let mut answer = Response::new(Body::full(manifest.content.clone()));
        *answer.headers_mut() = manifest.headers.clone();
        Some(answer)
    }
}

/// Whether `If-None-Match` contains the entity tag (RFC 9110 section 13.1.2).
fn is_not_modified(request: &HeaderMap, etag: &HeaderValue) -> bool {
    let weak = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_owned();
    let etag = weak(etag.as_bytes());
    request.get_all(IF_NONE_MATCH).iter().any(|known| {
        let known = known.as_bytes();
        known == b"*" || known.split(|byte| *byte == b',').any(|tag| weak(tag.trim_ascii()) == etag)
    })
}

#[cfg(test)]
mod tests {
    use oci::Algorithm;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    fn tag() -> TagOrDigest {
        "latest".parse().unwrap()
    }

    fn accepting(types: &[&'static str]) -> HeaderMap {
        types.iter().map(|media_type| (ACCEPT, HeaderValue::from_static(media_type))).collect()
    }

    fn described(content: &[u8]) -> HeaderMap {
        let digest = Algorithm::Sha256.digest(content).to_string();
        [(DOCKER_CONTENT_DIGEST, HeaderValue::try_from(digest).unwrap())].into_iter().collect()
    }

    async fn ask<'a>(manifests: &'a Manifests, repository: &str, headers: &HeaderMap) -> Fetch<'a> {
        match manifests.lookup(&name(repository), &tag(), headers).await {
            Lookup::Miss(fetch) => fetch,
            Lookup::Hit(_) => panic!("a hit"),
            Lookup::Uncacheable => panic!("uncacheable"),
        }
    }

    fn is_there(manifests: &Manifests, repository: &str, target: &TagOrDigest, headers: &HeaderMap) -> bool {
        manifests.cached(&name(repository), target, headers).is_some()
    }

    #[tokio::test]
    async fn manifest_is_cached_by_target_and_accept() {
        let manifests = Manifests::new(LONG, 1 << 20);
        let (content, accept) = (Bytes::from_static(b"{}"), accepting(&["a/b", "c/d"]));
        assert!(ask(&manifests, "app", &accept).await.received(&described(&content), &content).is_some());
        assert!(is_there(&manifests, "app", &tag(), &accept));
        let by_digest = TagOrDigest::Digest(Algorithm::Sha256.digest(&content));
        assert!(is_there(&manifests, "app", &by_digest, &accept));
        for other in [&[][..], &["a/b"], &["c/d", "a/b"]] {
            assert!(!is_there(&manifests, "app", &tag(), &accepting(other)), "{other:?}");
        }
        assert!(!is_there(&manifests, "other", &tag(), &accept));
        let mut known = accept;
        known.insert(
            IF_NONE_MATCH,
            HeaderValue::try_from(format!("W/\"x\", \"{}\"", Algorithm::Sha256.digest(&content))).unwrap(),
        );
        let answer = manifests.cached(&name("app"), &tag(), &known).unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
    }

    #[tokio::test]
    async fn change_invalidates_entries_and_fetches() {
        let manifests = Manifests::new(LONG, 1 << 20);
        let (content, accept) = (Bytes::from_static(b"{}"), HeaderMap::new());
        let headers = described(&content);
        let before = ask(&manifests, "app", &accept).await;
        let change = manifests.begin_change(&name("app"));
        before.received(&headers, &content);
        assert!(!is_there(&manifests, "app", &tag(), &accept), "fetched before the change");
        ask(&manifests, "app", &accept).await.received(&headers, &content);
        assert!(is_there(&manifests, "app", &tag(), &accept));
        drop(change);
        assert!(!is_there(&manifests, "app", &tag(), &accept), "fetched during the change");
        ask(&manifests, "app", &accept).await.received(&headers, &content);
        assert!(is_there(&manifests, "app", &tag(), &accept));
    }

    #[tokio::test]
    async fn manifest_with_another_digest_is_not_cached() {
        let manifests = Manifests::new(LONG, 1 << 20);
        let (content, accept) = (Bytes::from_static(b"{}"), HeaderMap::new());
        for headers in [described(b"other"), HeaderMap::new()] {
            assert!(ask(&manifests, "app", &accept).await.received(&headers, &content).is_none());
            assert!(!is_there(&manifests, "app", &tag(), &accept));
        }
        let wanted = TagOrDigest::Digest(Algorithm::Sha256.digest(b"wanted"));
        let Lookup::Miss(fetch) = manifests.lookup(&name("app"), &wanted, &accept).await else { panic!() };
        assert!(fetch.received(&described(&content), &content).is_none());
    }

    #[tokio::test]
    async fn expired_manifest_is_revalidated() {
        let manifests = Manifests::new(Duration::from_nanos(1), 1 << 20);
        let (content, accept) = (Bytes::from_static(b"{}"), HeaderMap::new());
        let fetch = ask(&manifests, "app", &accept).await;
        assert_eq!(fetch.etag(), None);
        fetch.received(&described(&content), &content);
        let fetch = ask(&manifests, "app", &accept).await;
        let etag = format!("\"{}\"", Algorithm::Sha256.digest(&content));
        assert_eq!(fetch.etag().unwrap(), etag.as_str());
        let entry = fetch.revalidated().unwrap();
        assert_eq!(entry.response(&accept).unwrap().status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn concurrent_lookups_share_one_fetch() {
        let manifests = Arc::new(Manifests::new(LONG, 1 << 20));
        let (content, accept) = (Bytes::from_static(b"{}"), HeaderMap::new());
        let fetch = ask(&manifests, "app", &accept).await;
        let waiting: Vec<_> = (0..10)
            .map(|_| {
                let manifests = manifests.clone();
                tokio::spawn(async move {
                    matches!(manifests.lookup(&name("app"), &tag(), &HeaderMap::new()).await, Lookup::Hit(_))
                })
            })
            .collect();
        tokio::task::yield_now().await;
        fetch.received(&described(&content), &content);
        for waiting in waiting {
            assert!(waiting.await.unwrap());
        }
        let fetch = ask(&manifests, "other", &accept).await;
        let waiting = {
            let manifests = manifests.clone();
            tokio::spawn(async move {
                matches!(
                    manifests.lookup(&name("other"), &tag(), &HeaderMap::new()).await,
                    Lookup::Uncacheable
                )
            })
        };
        tokio::task::yield_now().await;
        fetch.uncacheable();
        assert!(waiting.await.unwrap(), "a waiting caller requests the upstream itself");
    }

    #[test]
    fn cache_without_ttl_or_capacity_is_disabled() {
        assert!(!Manifests::new(Duration::ZERO, 1 << 20).is_enabled());
        assert!(!Manifests::new(LONG, 0).is_enabled());
    }
}
