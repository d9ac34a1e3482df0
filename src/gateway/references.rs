//! Access control for blobs: which digests a repository refers to.
//!
//! Some registries (zot) serve a blob in every repository as soon as they have it in one. With such an
//! upstream a digest alone would give access. So the gateway serves, mounts and accepts a blob only if the
//! repository refers to it. Either the blob was uploaded or mounted through the gateway, or a manifest of the
//! repository names it. The gateway reads manifests that it forwards, and walks the repository at the
//! upstream for the others.
//!
//! The result is cached in memory with a TTL. [`super::scoping`] finds out which upstreams need this.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::header::{ACCEPT, HeaderMap, HeaderValue};
use oci::{Digest, MediaType, RepositoryName, Tag, TagOrDigest};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde::Deserialize;
use tokio::sync::Semaphore;
use upstream::{Client, OutgoingBody, UpstreamRequest, next_page, read_to_end, repository_scope};

use crate::http::gateway_error::GatewayError;
use crate::http::response::DOCKER_CONTENT_DIGEST;

/// The capacity of each cache of pairs (repository, digest). A pair has about 100 bytes.
const MAX_PAIRS: usize = 200_000;
/// The capacity of the cache of walks, in digests of about 100 bytes.
const MAX_WALKED_DIGESTS: u64 = 500_000;
/// How long an upload counts without a manifest that names it.
const UPLOADED_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a blob counts as named after its manifest was read.
const NAMED_TTL: Duration = Duration::from_secs(10 * 60);
/// How long the result of a walk is used. Pushes through the gateway count at once.
const WALK_TTL: Duration = Duration::from_secs(60);
/// Concurrent walks.
const MAX_WALKS: usize = 4;
/// Counters of deletions. Repositories share them by hash.
const SHARDS: usize = 256;

/// The limits of one walk.
const MAX_MANIFESTS: usize = 5_000;
const MAX_TAG_PAGES: usize = 1_000;
const MAX_BYTES: usize = 256 << 20;
const WALK_TIMEOUT: Duration = Duration::from_secs(30);
/// How many tags [`any_blob`] reads.
const MAX_SAMPLES: usize = 4;
/// The size limit of a manifest, tag list or referrers list.
const DOCUMENT_BYTES: usize = 16 << 20;

/// All types, because distribution converts a manifest whose type is not accepted.
const MANIFEST_TYPES: HeaderValue = HeaderValue::from_static(
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.artifact.manifest.v1+json, application/vnd.docker.distribution.manifest.v1+prettyjws, */*",
);

/// A repository as keyed hashes, because names are long and there are many pairs.
type RepositoryKey = [u64; 2];

pub(super) struct References {
    uploaded: Cache<(RepositoryKey, Digest), Instant>,
    named: Cache<(RepositoryKey, Digest), Instant>,
    walked: Cache<RepositoryKey, Arc<Walked>, BySize>,
    deletions: Box<[AtomicU64; SHARDS]>,
    walks: Semaphore,
    keys: [RandomState; 2],
}

/// The result of a walk.
struct Walked {
    digests: HashSet<Digest>,
    is_complete: bool,
    started: Instant,
}

#[derive(Clone)]
struct BySize;

impl Weighter<RepositoryKey, Arc<Walked>> for BySize {
    fn weight(&self, _: &RepositoryKey, walked: &Arc<Walked>) -> u64 {
        walked.digests.len() as u64 + 1
    }
}

/// The references of a manifest of any type. Pushed and stored manifests are parsed by the same code, so that
/// a stored reference was always checked.
#[derive(Default, Deserialize)]
struct Document {
    config: Option<Part>,
    layers: Option<Vec<Part>>,
    /// In artifact manifests.
    blobs: Option<Vec<Part>>,
    manifests: Option<Vec<Part>>,
    /// In schema 1.
    #[serde(rename = "fsLayers")]
    fs_layers: Option<Vec<FsLayer>>,
}

#[derive(Deserialize)]
struct Part {
    digest: Digest,
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    urls: Option<Vec<String>>,
}

impl Part {
    fn is(&self, kind: impl FnOnce(&MediaType) -> bool) -> bool {
        let media_type = self.media_type.as_ref().and_then(|text| text.parse().ok());
        media_type.is_some_and(|media_type| kind(&media_type))
    }
}

#[derive(Deserialize)]
struct FsLayer {
    #[serde(rename = "blobSum")]
    blob_sum: Digest,
}

/// The digests that a manifest names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// Blobs that must be in the same repository.
    pub(super) blobs: Vec<Digest>,
    /// Manifests of an index, which may be missing.
    manifests: Vec<Digest>,
}

impl Named {
    /// Parses a manifest of any type. An invalid document names nothing.
    pub(super) fn parse(content: &[u8]) -> Self {
        let document: Document = serde_json::from_slice(content).unwrap_or_default();
        let mut named = Self::default();
        named.blobs.extend(document.config.map(|config| config.digest));
        for part in document.layers.into_iter().chain(document.blobs).flatten() {
            // A foreign layer need not be in the repository, so that naming it gives no access.
            let has_urls = part.urls.as_ref().is_some_and(|urls| !urls.is_empty());
            if !has_urls && !part.is(MediaType::is_nondistributable) {
                named.blobs.push(part.digest);
            }
        }
        for part in document.manifests.into_iter().flatten() {
            // BuildKit stores its cache as an index of layers.
            let is_manifest = part.media_type.is_none() || part.is(MediaType::is_manifest);
            if is_manifest { &mut named.manifests } else { &mut named.blobs }.push(part.digest);
        }
        named.blobs.extend(document.fs_layers.into_iter().flatten().map(|layer| layer.blob_sum));
        named
    }
}

impl References {
    pub(super) fn new() -> Self {
        Self {
            uploaded: Cache::new(MAX_PAIRS),
            named: Cache::new(MAX_PAIRS),
            walked: Cache::with_weighter(1_000, MAX_WALKED_DIGESTS, BySize),
            deletions: Box::new(std::array::from_fn(|_| AtomicU64::new(0))),
            walks: Semaphore::new(MAX_WALKS),
            keys: [RandomState::new(), RandomState::new()],
        }
    }

    /// Records that a client uploaded or mounted a blob.
    pub(super) fn record_upload(&self, repository: &RepositoryName, digest: Digest) {
        self.uploaded.insert((self.key(repository), digest), Instant::now());
    }

    /// Records the blobs that a forwarded manifest names.
    pub(super) fn record_manifest(&self, repository: &RepositoryName, content: &[u8]) {
        let (key, now) = (self.key_until_deletion(repository), Instant::now());
        for digest in Named::parse(content).blobs {
            self.named.insert((key, digest), now);
        }
    }

    /// Invalidates the named blobs of a repository after a manifest was deleted.
    pub(super) fn invalidate(&self, repository: &RepositoryName) {
        self.counter(repository).fetch_add(1, Ordering::SeqCst);
    }

    /// Removes a deleted blob.
    pub(super) fn remove_blob(&self, repository: &RepositoryName, digest: Digest) {
        self.uploaded.remove(&(self.key(repository), digest));
        self.invalidate(repository);
    }

    /// Whether a repository refers to a digest. Walks the repository if the caches do not know it.
    ///
    /// # Errors
    /// If the upstream does not answer, or [`GatewayError::Unproven`] for a repository beyond the limits of a
    /// walk.
    pub(super) async fn contains(
        &self,
        client: &Client,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, GatewayError> {
        let is_fresh = |time: Option<Instant>, ttl| time.is_some_and(|time| time.elapsed() < ttl);
        if is_fresh(self.uploaded.get(&(self.key(repository), *digest)), UPLOADED_TTL)
            || is_fresh(self.named.get(&(self.key_until_deletion(repository), *digest)), NAMED_TTL)
        {
            return Ok(true);
        }
        let walked = self.walked(client, repository).await?;
        if walked.digests.contains(digest) {
            return Ok(true);
        }
        if walked.is_complete {
            return Ok(false);
        }
        tracing::warn!(
            %repository,
            %digest,
            "refused a blob: the repository exceeds the limits of a walk"
        );
        Err(GatewayError::Unproven { repository: repository.clone(), digest: *digest })
    }

    fn counter(&self, repository: &RepositoryName) -> &AtomicU64 {
        let shard = self.keys[0].hash_one(repository) % SHARDS as u64;
        &self.deletions[usize::try_from(shard).unwrap_or_default()]
    }

    fn key(&self, repository: &RepositoryName) -> RepositoryKey {
        [self.keys[0].hash_one(repository), self.keys[1].hash_one(repository)]
    }

    /// A key that changes with each deletion.
    fn key_until_deletion(&self, repository: &RepositoryName) -> RepositoryKey {
        let key = (repository, self.counter(repository).load(Ordering::SeqCst));
        [self.keys[0].hash_one(key), self.keys[1].hash_one(key)]
    }

    /// The digests that a repository refers to. Concurrent callers share one walk.
    async fn walked(
        &self,
        client: &Client,
        repository: &RepositoryName,
    ) -> Result<Arc<Walked>, GatewayError> {
        let key = self.key_until_deletion(repository);
        self.walked.remove_if(&key, |walked| walked.started.elapsed() >= WALK_TTL);
        self.walked
            .get_or_insert_async(&key, async {
                let _permit = self.walks.acquire().await;
                Walk::new(client, repository).run().await.map(Arc::new)
            })
            .await
    }
}

/// A walk through the tags, manifests, indexes and referrers of a repository.
struct Walk<'a> {
    client: &'a Client,
    repository: &'a RepositoryName,
    digests: HashSet<Digest>,
    queue: Vec<TagOrDigest>,
    /// Manifests that were queued before.
    seen: HashSet<Digest>,
    /// Whether the upstream has the referrers API.
    has_referrers: bool,
    /// Whether a document could not be read.
    has_gaps: bool,
    manifests: usize,
    bytes: usize,
    started: Instant,
}

#[derive(Deserialize)]
struct TagList {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

/// Returns a blob that a manifest of the repository names.
pub(super) async fn any_blob(client: &Client, repository: &RepositoryName) -> Option<Digest> {
    let mut walk = Walk { has_referrers: false, ..Walk::new(client, repository) };
    walk.read_tags().await.ok()?;
    for target in walk.queue.split_off(walk.queue.len().saturating_sub(MAX_SAMPLES)) {
        let path = format!("/v2/{repository}/manifests/{target}");
        let accept = [(ACCEPT, MANIFEST_TYPES)].into_iter().collect();
        let found = walk.get(path, accept).await.ok()?;
        if let Some(digest) = found.and_then(|(_, content)| Named::parse(&content).blobs.first().copied()) {
            return Some(digest);
        }
    }
    None
}

impl<'a> Walk<'a> {
    fn new(client: &'a Client, repository: &'a RepositoryName) -> Self {
        Self {
            client,
            repository,
            digests: HashSet::new(),
            queue: Vec::new(),
            seen: HashSet::new(),
            has_referrers: true,
            has_gaps: false,
            manifests: 0,
            bytes: 0,
            started: Instant::now(),
        }
    }

    async fn run(mut self) -> Result<Walked, GatewayError> {
        let is_complete = match tokio::time::timeout(WALK_TIMEOUT, self.walk()).await {
            Ok(is_complete) => is_complete?,
            Err(_) => false,
        };
        // The TTL starts with the walk, which may miss pushes to the upstream since then.
        Ok(Walked { digests: self.digests, is_complete, started: self.started })
    }

    /// Walks the queue, and returns whether the result is complete.
    async fn walk(&mut self) -> Result<bool, GatewayError> {
        let mut is_complete = self.read_tags().await?;
        while let Some(target) = self.queue.pop() {
            if self.is_over_limit() {
                return Ok(false);
            }
            self.manifests += 1;
            is_complete &= self.read_manifest(&target).await?;
        }
        Ok(is_complete && !self.has_gaps)
    }

    fn is_over_limit(&self) -> bool {
        self.manifests >= MAX_MANIFESTS || self.bytes >= MAX_BYTES
    }

    /// Queues all tags, and returns whether the list is complete.
    async fn read_tags(&mut self) -> Result<bool, GatewayError> {
        let mut queries = HashSet::new();
        let mut query = "n=1000".to_owned();
        loop {
            let path = format!("/v2/{}/tags/list?{query}", self.repository);
            let Some((headers, content)) = self.get(path, HeaderMap::new()).await? else { return Ok(true) };
            let list: TagList = serde_json::from_slice(&content).map_err(|error| {
                GatewayError::InvalidResponse(format!("its tag list is invalid: {error}"))
            })?;
            let tags = list.tags.unwrap_or_default();
            let tags = tags.iter().filter_map(|tag| tag.parse::<Tag>().ok());
            self.queue.extend(tags.map(TagOrDigest::Tag));
            let Some(next) = next_page(&headers) else { return Ok(true) };
            queries.insert(query);
            if queries.contains(&next) || queries.len() >= MAX_TAG_PAGES || self.queue.len() > MAX_MANIFESTS {
                return Ok(false);
            }
            query = next;
        }
    }

    /// Reads a manifest and its referrers, and returns whether the list of referrers is complete.
    async fn read_manifest(&mut self, target: &TagOrDigest) -> Result<bool, GatewayError> {
        let path = format!("/v2/{}/manifests/{target}", self.repository);
        let accept = [(ACCEPT, MANIFEST_TYPES)].into_iter().collect();
        // `None`: a child of a sparse index, or a tag that was deleted meanwhile.
        let Some((headers, content)) = self.get(path, accept).await? else { return Ok(true) };
        let announced =
            headers.get(DOCKER_CONTENT_DIGEST).and_then(|digest| digest.to_str().ok()?.parse().ok());
        let digest = match (target, announced) {
            (TagOrDigest::Digest(digest), _) => *digest,
            (TagOrDigest::Tag(_), Some(digest)) => digest,
            (TagOrDigest::Tag(_), None) => oci::Algorithm::Sha256.digest(&content),
        };
        // Another tag led to the same manifest.
        if matches!(target, TagOrDigest::Tag(_)) && !self.seen.insert(digest) {
            return Ok(true);
        }
        self.record(digest, &content);
        let mut is_complete = true;
        if self.has_referrers {
            let path = format!("/v2/{}/referrers/{digest}", self.repository);
            match self.get(path, HeaderMap::new()).await? {
                Some((headers, content)) => {
                    is_complete = next_page(&headers).is_none();
                    self.enqueue(Named::parse(&content).manifests);
                }
                // Clients of a registry without the API store referrers under tags.
                None => self.has_referrers = false,
            }
        }
        Ok(is_complete)
    }

    /// Records a manifest and its blobs, and queues the manifests of an index.
    fn record(&mut self, digest: Digest, content: &[u8]) {
        let Named { blobs, manifests } = Named::parse(content);
        self.digests.insert(digest);
        self.digests.extend(blobs);
        self.enqueue(manifests);
    }

    fn enqueue(&mut self, manifests: Vec<Digest>) {
        for digest in manifests {
            if self.seen.insert(digest) {
                self.queue.push(TagOrDigest::Digest(digest));
            }
        }
    }

    /// Requests a document; `None` if it does not exist.
    async fn get(
        &mut self,
        path_and_query: String,
        headers: HeaderMap,
    ) -> Result<Option<(HeaderMap, bytes::Bytes)>, GatewayError> {
        let scope = repository_scope(self.repository, "pull");
        let request = UpstreamRequest { headers, ..UpstreamRequest::get(path_and_query, scope) };
        let (head, body) =
            self.client.send(&request, &OutgoingBody::empty(), None).await?.response.into_parts();
        match head.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => return Ok(None),
            // A damaged manifest must not hide the others.
            status => {
                tracing::debug!(%status, path = request.path_and_query, "a document of the upstream cannot be read");
                self.has_gaps = true;
                return Ok(None);
            }
        }
        let content = match read_to_end(body, DOCUMENT_BYTES, self.client.read_timeout()).await {
            Ok(content) => content,
            Err(reason) => {
                tracing::debug!(
                    reason,
                    path = request.path_and_query,
                    "a document of the upstream cannot be read"
                );
                self.has_gaps = true;
                return Ok(None);
            }
        };
        self.bytes += content.len();
        Ok(Some((head.headers, content)))
    }
}

#[cfg(test)]
mod tests {
    use oci::Algorithm;
    use serde_json::json;
    use upstream::Timeouts;

    use super::*;
    use crate::tls::client::{System, config};

    fn digest(content: &str) -> Digest {
        Algorithm::Sha256.digest(content.as_bytes())
    }

    fn parse(document: &serde_json::Value) -> Named {
        Named::parse(document.to_string().as_bytes())
    }

    fn client() -> Client {
        let timeout = Duration::from_secs(1);
        let timeouts = Timeouts { connect: timeout, read: timeout, write: timeout };
        Client::new(Vec::new(), timeouts, config(Vec::new(), System::Ignored).unwrap(), &Default::default())
    }

    #[test]
    fn image_names_config_and_layers() {
        let named = parse(&json!({
            "config": { "digest": digest("config") },
            "layers": [{ "digest": digest("a") }, { "digest": digest("b"), "urls": [] }],
        }));
        assert_eq!(named.blobs, ["config", "a", "b"].map(digest));
        assert_eq!(named.manifests, []);
    }

    #[test]
    fn foreign_layers_are_not_named() {
        let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
        let named = parse(&json!({ "layers": [
            { "digest": digest("a"), "urls": ["https://example.com/a"] },
            { "digest": digest("b"), "mediaType": foreign },
        ]}));
        assert_eq!(named, Named::default());
    }

    #[test]
    fn index_names_manifests_and_cache_layers() {
        let named = parse(&json!({ "manifests": [
            { "digest": digest("image"), "mediaType": "application/vnd.oci.image.manifest.v1+json" },
            { "digest": digest("untyped") },
            { "digest": digest("layer"), "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip" },
        ]}));
        assert_eq!(named.manifests, ["image", "untyped"].map(digest));
        assert_eq!(named.blobs, [digest("layer")]);
    }

    #[test]
    fn artifact_and_schema_1_name_blobs() {
        assert_eq!(parse(&json!({ "blobs": [{ "digest": digest("a") }] })).blobs, [digest("a")]);
        let layers = json!({ "schemaVersion": 1, "fsLayers": [{ "blobSum": digest("b") }, { "blobSum": digest("c") }] });
        assert_eq!(parse(&layers).blobs, ["b", "c"].map(digest));
    }

    #[test]
    fn invalid_document_names_nothing() {
        for document in ["", "[]", "{\"layers\": 1}", "{\"config\": {\"digest\": \"sha256:ab\"}}"] {
            assert_eq!(Named::parse(document.as_bytes()), Named::default(), "{document}");
        }
    }

    #[test]
    fn walk_queues_each_manifest_once() {
        let (client, repository) = (client(), "team/app".parse().unwrap());
        let mut walk = Walk::new(&client, &repository);
        let index =
            json!({ "manifests": [{ "digest": digest("a") }, { "digest": digest("b") }] }).to_string();
        walk.record(digest(&index), index.as_bytes());
        // A referrers list is an index.
        walk.enqueue(Named::parse(index.as_bytes()).manifests);
        assert_eq!(walk.queue, ["a", "b"].map(|content| TagOrDigest::Digest(digest(content))));
        assert!(walk.digests.contains(&digest(&index)) && !walk.digests.contains(&digest("a")));
        let image = json!({ "config": { "digest": digest("config") } }).to_string();
        walk.record(digest("a"), image.as_bytes());
        assert!(walk.digests.contains(&digest("a")) && walk.digests.contains(&digest("config")));
    }

    #[test]
    fn walk_stops_at_its_limits() {
        let (client, repository) = (client(), "team/app".parse().unwrap());
        let mut walk = Walk::new(&client, &repository);
        assert!(!walk.is_over_limit());
        walk.manifests = MAX_MANIFESTS;
        assert!(walk.is_over_limit());
        walk.manifests = 0;
        walk.bytes = MAX_BYTES;
        assert!(walk.is_over_limit());
    }

    #[tokio::test]
    async fn lookup_without_an_upstream_fails() {
        let (client, repository) = (client(), "team/app".parse().unwrap());
        let references = References::new();
        let found = references.contains(&client, &repository, &digest("a")).await;
        assert!(matches!(found, Err(GatewayError::Unreachable(_))));
        references.record_upload(&repository, digest("a"));
        assert!(references.contains(&client, &repository, &digest("a")).await.unwrap());
        references.remove_blob(&repository, digest("a"));
        references.contains(&client, &repository, &digest("a")).await.unwrap_err();
    }

    #[tokio::test]
    async fn manifest_counts_until_one_is_deleted() {
        let (client, repository) = (client(), "team/app".parse().unwrap());
        let references = References::new();
        let image = json!({ "config": { "digest": digest("config") } }).to_string();
        references.record_manifest(&repository, image.as_bytes());
        assert!(references.contains(&client, &repository, &digest("config")).await.unwrap());
        references.invalidate(&repository);
        references.contains(&client, &repository, &digest("config")).await.unwrap_err();
    }
}
