//! Manifests that an upstream gave a moment ago, in memory.
//!
//! What goes through the gateway is exact: a push or a deletion makes everything that is kept of its repository void
//! before it is sent on, and again when it is over, so that an answer from in between cannot stay. What changes behind
//! the gateway's back, on the upstream itself, is seen after the time that `gateway.cache` gives, at the latest. After
//! that time the upstream is asked whether what is kept is still right (`If-None-Match`), by one request, however
//! many clients wait for it.
//!
//! Upstreams answer by what `Accept` says (distribution makes other documents of some manifests for clients that know
//! no better), so an answer is kept for requests that accept the same. Nothing is kept whose bytes do not have the
//! digest that the upstream gave with them, or that was asked for.

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

/// Counters of changes; repositories share them by hash.
const SHARDS: usize = 256;

/// The manifests that are kept.
pub(super) struct Manifests {
    kept: Cache<Key, Arc<Kept>, BySize>,
    /// How long an answer is good.
    freshness: Duration,
    changes: Box<[AtomicU64; SHARDS]>,
    hasher: RandomState,
}

/// What an answer was given to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    repository: RepositoryName,
    target: TagOrDigest,
    /// A keyed hash of the `Accept` headers.
    accept: u64,
}

/// A key by reference, so that a look-up clones nothing.
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

/// An answer of an upstream.
pub(super) struct Kept {
    /// The manifest; `None` if the answer was another one, which everybody has to ask for.
    manifest: Option<Manifest>,
    until: Instant,
    changes: u64,
}

#[derive(Clone)]
struct Manifest {
    headers: HeaderMap,
    content: Bytes,
    /// The entity tag by which the upstream knows it.
    etag: HeaderValue,
}

#[derive(Clone)]
struct BySize;

impl Weighter<Key, Arc<Kept>> for BySize {
    fn weight(&self, _: &Key, kept: &Arc<Kept>) -> u64 {
        // The entry's own size, roughly.
        kept.manifest.as_ref().map_or(0, |manifest| manifest.content.len() as u64) + 1200
    }
}

/// How many changes there were to a repository before an upstream was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// A change to a repository that is being made; it ends when this is dropped.
pub(super) struct Change<'a>(&'a AtomicU64);

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// What there is for a request.
#[allow(clippy::large_enum_variant, reason = "it lives for one match, and the large one asks an upstream")]
pub(super) enum Found<'a> {
    /// The answer.
    Fresh(Arc<Kept>),
    /// This request is to ask the upstream, and others wait for it; and what was kept, if that may still be right.
    Ask(Asking<'a>),
    /// The upstream's answer is nothing that could be shared.
    Alone,
}

/// Where an answer is waited for.
type Guard<'a> =
    PlaceholderGuard<'a, Key, Arc<Kept>, BySize, DefaultHashBuilder, DefaultLifecycle<Key, Arc<Kept>>>;

/// The right to ask on behalf of everyone who waits. Dropped without an answer, the next one in line gets it.
pub(super) struct Asking<'a> {
    manifests: &'a Manifests,
    guard: Guard<'a>,
    key: Key,
    ticket: Ticket,
    stale: Option<Manifest>,
}

impl Manifests {
    /// Keeps answers for so long, in so many bytes.
    pub(super) fn new(freshness: Duration, bytes: u64) -> Self {
        let expected = usize::try_from(bytes / 2048).unwrap_or(usize::MAX).clamp(64, 65_536);
        let freshness = if bytes == 0 { Duration::ZERO } else { freshness };
        Self {
            kept: Cache::with_weighter(expected, bytes, BySize),
            freshness,
            changes: Box::new(std::array::from_fn(|_| AtomicU64::new(0))),
            hasher: RandomState::new(),
        }
    }

    /// Whether anything is kept at all.
    pub(super) fn is_on(&self) -> bool {
        !self.freshness.is_zero()
    }

    /// Begins a change to a repository: what is kept of it is void now, and what is asked for meanwhile will be.
    pub(super) fn change(&self, repository: &RepositoryName) -> Change<'_> {
        let changes = self.counter(repository);
        changes.fetch_add(1, Ordering::SeqCst);
        Change(changes)
    }

    fn counter(&self, repository: &RepositoryName) -> &AtomicU64 {
        let shard = self.hasher.hash_one(repository) % SHARDS as u64;
        &self.changes[usize::try_from(shard).unwrap_or_default()]
    }

    fn accept(&self, headers: &HeaderMap) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        for value in headers.get_all(ACCEPT) {
            value.as_bytes().hash(&mut hasher);
        }
        hasher.finish()
    }

    fn is_fresh(&self, kept: &Kept, repository: &RepositoryName) -> bool {
        kept.changes == self.counter(repository).load(Ordering::SeqCst) && kept.until > Instant::now()
    }

    /// The answer to a request, if it is at hand and needs no waiting.
    pub(super) fn at_hand(
        &self,
        repository: &RepositoryName,
        target: &TagOrDigest,
        headers: &HeaderMap,
    ) -> Option<Response> {
        if !self.is_on() {
            return None;
        }
        let kept = self.kept.get(&KeyRef { repository, target, accept: self.accept(headers) })?;
        if !self.is_fresh(&kept, repository) {
            return None;
        }
        kept.answer(headers)
    }

    /// What there is for a request; waits for another one that asks the same just now.
    pub(super) async fn find(
        &self,
        repository: &RepositoryName,
        target: &TagOrDigest,
        headers: &HeaderMap,
    ) -> Found<'_> {
        let key =
            Key { repository: repository.clone(), target: target.clone(), accept: self.accept(headers) };
        let mut stale = None;
        self.kept.remove_if(&key, |kept| {
            let is_old = !self.is_fresh(kept, repository);
            if is_old {
                stale.clone_from(&kept.manifest);
            }
            is_old
        });
        match self.kept.get_value_or_guard_async(&key).await {
            Ok(kept) if self.is_fresh(&kept, repository) && kept.manifest.is_some() => Found::Fresh(kept),
            Ok(_) => Found::Alone,
            Err(guard) => {
                let ticket = Ticket(self.counter(repository).load(Ordering::SeqCst));
                Found::Ask(Asking { manifests: self, guard, key, ticket, stale })
            }
        }
    }
}

impl Asking<'_> {
    /// The entity tag of what was kept: the upstream may say that it is still right.
    pub(super) fn etag(&self) -> Option<&HeaderValue> {
        self.stale.as_ref().map(|manifest| &manifest.etag)
    }

    /// What was kept is still right.
    pub(super) fn confirmed(self) -> Option<Arc<Kept>> {
        let manifest = self.stale.clone();
        manifest.map(|manifest| self.keep(Some(manifest)))
    }

    /// A manifest came: `headers` as a client gets them. `None` if it is not what it says it is, and then only this
    /// request is answered with it.
    pub(super) fn received(self, headers: &HeaderMap, content: &Bytes) -> Option<Arc<Kept>> {
        let manifest = self.verified(headers, content);
        let is_right = manifest.is_some();
        let kept = self.keep(manifest);
        is_right.then_some(kept)
    }

    fn verified(&self, headers: &HeaderMap, content: &Bytes) -> Option<Manifest> {
        let digest: Digest = headers.get(DOCKER_CONTENT_DIGEST)?.to_str().ok()?.parse().ok()?;
        if digest.algorithm().digest(content) != digest {
            return None;
        }
        if matches!(&self.key.target, TagOrDigest::Digest(wanted) if *wanted != digest) {
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

    /// The answer was none that can be shared: those who wait are to ask for themselves, all at once.
    pub(super) fn refused(self) {
        self.keep(None);
    }

    fn keep(self, manifest: Option<Manifest>) -> Arc<Kept> {
        let now = Instant::now();
        let until = if manifest.is_some() { now + self.manifests.freshness } else { now };
        let kept = Arc::new(Kept { manifest, until, changes: self.ticket.0 });
        // What a tag points to was asked for by its digest next, by every client there is.
        if let (TagOrDigest::Tag(_), Some(manifest)) = (&self.key.target, &kept.manifest)
            && let Some(digest) = manifest.headers.get(DOCKER_CONTENT_DIGEST)
            && let Some(digest) = digest.to_str().ok().and_then(|digest| digest.parse().ok())
        {
            let target = TagOrDigest::Digest(digest);
            self.manifests.kept.insert(Key { target, ..self.key.clone() }, kept.clone());
        }
        // If it was removed meanwhile, it is not kept.
        let _ = self.guard.insert(kept.clone());
        kept
    }
}

impl Kept {
    /// The bytes of the manifest.
    pub(super) fn content(&self) -> Option<&Bytes> {
        self.manifest.as_ref().map(|manifest| &manifest.content)
    }

    /// The answer to GET and HEAD.
    pub(super) fn answer(&self, request: &HeaderMap) -> Option<Response> {
        let manifest = self.manifest.as_ref()?;
        if is_known(request, &manifest.etag) {
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

/// Whether the client has it already, as its `If-None-Match` says (RFC 9110, section 13.1.2).
fn is_known(request: &HeaderMap, etag: &HeaderValue) -> bool {
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

    async fn ask<'a>(manifests: &'a Manifests, repository: &str, headers: &HeaderMap) -> Asking<'a> {
        match manifests.find(&name(repository), &tag(), headers).await {
            Found::Ask(asking) => asking,
            Found::Fresh(_) => panic!("it is there"),
            Found::Alone => panic!("it is not to be shared"),
        }
    }

    fn is_there(manifests: &Manifests, repository: &str, target: &TagOrDigest, headers: &HeaderMap) -> bool {
        manifests.at_hand(&name(repository), target, headers).is_some()
    }

    #[tokio::test]
    async fn a_manifest_is_kept_by_tag_and_by_digest_for_those_who_accept_the_same() {
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
        let answer = manifests.at_hand(&name("app"), &tag(), &known).unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
    }

    #[tokio::test]
    async fn a_change_voids_what_was_kept_and_what_is_asked_for_meanwhile() {
        let manifests = Manifests::new(LONG, 1 << 20);
        let (content, accept) = (Bytes::from_static(b"{}"), HeaderMap::new());
        let headers = described(&content);
        let before = ask(&manifests, "app", &accept).await;
        let change = manifests.change(&name("app"));
        before.received(&headers, &content);
        assert!(!is_there(&manifests, "app", &tag(), &accept), "asked before the change");
        ask(&manifests, "app", &accept).await.received(&headers, &content);
        assert!(is_there(&manifests, "app", &tag(), &accept));
        drop(change);
        assert!(!is_there(&manifests, "app", &tag(), &accept), "asked while the change was made");
        ask(&manifests, "app", &accept).await.received(&headers, &content);
        assert!(is_there(&manifests, "app", &tag(), &accept));
    }

    #[tokio::test]
    async fn nothing_is_kept_that_is_not_what_it_says() {
        let manifests = Manifests::new(LONG, 1 << 20);
        let (content, accept) = (Bytes::from_static(b"{}"), HeaderMap::new());
        for headers in [described(b"other"), HeaderMap::new()] {
            assert!(ask(&manifests, "app", &accept).await.received(&headers, &content).is_none());
            assert!(!is_there(&manifests, "app", &tag(), &accept));
        }
        let wanted = TagOrDigest::Digest(Algorithm::Sha256.digest(b"wanted"));
        let Found::Ask(asking) = manifests.find(&name("app"), &wanted, &accept).await else { panic!() };
        assert!(asking.received(&described(&content), &content).is_none());
    }

    #[tokio::test]
    async fn what_grew_old_is_asked_about_and_can_be_confirmed() {
        let manifests = Manifests::new(Duration::from_nanos(1), 1 << 20);
        let (content, accept) = (Bytes::from_static(b"{}"), HeaderMap::new());
        let asking = ask(&manifests, "app", &accept).await;
        assert_eq!(asking.etag(), None);
        asking.received(&described(&content), &content);
        let asking = ask(&manifests, "app", &accept).await;
        let etag = format!("\"{}\"", Algorithm::Sha256.digest(&content));
        assert_eq!(asking.etag().unwrap(), etag.as_str());
        let kept = asking.confirmed().unwrap();
        assert_eq!(kept.answer(&accept).unwrap().status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn many_who_ask_the_same_cause_one_request() {
        let manifests = Arc::new(Manifests::new(LONG, 1 << 20));
        let (content, accept) = (Bytes::from_static(b"{}"), HeaderMap::new());
        let asking = ask(&manifests, "app", &accept).await;
        let waiting: Vec<_> = (0..10)
            .map(|_| {
                let manifests = manifests.clone();
                tokio::spawn(async move {
                    matches!(manifests.find(&name("app"), &tag(), &HeaderMap::new()).await, Found::Fresh(_))
                })
            })
            .collect();
        tokio::task::yield_now().await;
        asking.received(&described(&content), &content);
        for waiting in waiting {
            assert!(waiting.await.unwrap());
        }
        let asking = ask(&manifests, "other", &accept).await;
        let waiting = {
            let manifests = manifests.clone();
            tokio::spawn(async move {
                matches!(manifests.find(&name("other"), &tag(), &HeaderMap::new()).await, Found::Alone)
            })
        };
        tokio::task::yield_now().await;
        asking.refused();
        assert!(waiting.await.unwrap(), "who waited for what is not shared asks for itself");
    }

    #[test]
    fn no_freshness_keeps_nothing() {
        assert!(!Manifests::new(Duration::ZERO, 1 << 20).is_on());
        assert!(!Manifests::new(LONG, 0).is_on());
    }
}
