//! Access control for blobs: which digests a repository refers to.
//!
//! Some registries (zot) answer for a blob in any repository as soon as they have it in one. Before such an upstream a
//! digest would open every repository. So a blob is handed out, mounted or named in a manifest only if the repository
//! refers to it: it was uploaded or mounted through the gateway, or a manifest of the repository names it. Manifests
//! are read as they pass, and looked for at the upstream when that is not enough.
//!
//! All of it is cached in memory for a limited time, and asked for anew after a restart. [`super::scoping`] says before
//! which upstreams none of it is needed.

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

/// Cached pairs of a repository and a digest, of each kind. About 100 bytes each.
const PAIRS: usize = 200_000;
/// Digests of repositories that were walked, all together. About 100 bytes each.
const WALKED: u64 = 500_000;
/// How long an upload counts without a manifest that names it.
const UPLOADED_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a blob counts as named by a manifest that was read.
const NAMED_FOR: Duration = Duration::from_secs(10 * 60);
/// How long a walk says which digests are not in a repository. What is pushed through the gateway counts at once.
const WALKED_FOR: Duration = Duration::from_secs(60);
/// Walks at once.
const WALKS: usize = 4;
/// Counters of deletions; repositories share them by hash.
const SHARDS: usize = 256;

/// The limits of one walk through a repository.
const MANIFESTS: usize = 5_000;
const TAG_PAGES: usize = 1_000;
const BYTES: usize = 256 << 20;
const TIME: Duration = Duration::from_secs(30);
/// Tags that are looked at to find some blob.
const SAMPLES: usize = 4;
/// The largest document that is read: manifests, lists of tags and of referrers.
const DOCUMENT_BYTES: usize = 16 << 20;

/// What distribution converts is another manifest, so all types are named.
const MANIFEST_TYPES: HeaderValue = HeaderValue::from_static(
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.artifact.manifest.v1+json, application/vnd.docker.distribution.manifest.v1+prettyjws, */*",
);

/// A repository, by keyed hashes: names are long, and there are many pairs.
type RepositoryKey = [u64; 2];

/// The digests that repositories refer to.
pub(super) struct References {
    uploaded: Cache<(RepositoryKey, Digest), Instant>,
    named: Cache<(RepositoryKey, Digest), Instant>,
    walked: Cache<RepositoryKey, Arc<Walked>, BySize>,
    deletions: Box<[AtomicU64; SHARDS]>,
    walks: Semaphore,
    keys: [RandomState; 2],
}

/// What a walk through a repository found.
struct Walked {
    digests: HashSet<Digest>,
    /// Whether that is all.
    is_complete: bool,
    at: Instant,
}

#[derive(Clone)]
struct BySize;

impl Weighter<RepositoryKey, Arc<Walked>> for BySize {
    fn weight(&self, _: &RepositoryKey, walked: &Arc<Walked>) -> u64 {
        walked.digests.len() as u64 + 1
    }
}

/// Any manifest, as far as it names content. One reading serves to check what is pushed and to learn what is there, so
/// that nothing is learnt that was not checked.
#[derive(Default, Deserialize)]
struct Document {
    config: Option<Part>,
    layers: Option<Vec<Part>>,
    /// Of an artifact manifest.
    blobs: Option<Vec<Part>>,
    manifests: Option<Vec<Part>>,
    /// Of schema 1.
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

/// What a manifest names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// Content that the registry must have in the same repository.
    pub(super) blobs: Vec<Digest>,
    /// Manifests of an index, which may or may not be there.
    manifests: Vec<Digest>,
}

impl Named {
    /// Reads a manifest of any kind; a document that is none names nothing.
    pub(super) fn read(content: &[u8]) -> Self {
        let document: Document = serde_json::from_slice(content).unwrap_or_default();
        let mut named = Self::default();
        named.blobs.extend(document.config.map(|config| config.digest));
        for part in document.layers.into_iter().chain(document.blobs).flatten() {
            // A layer that is kept elsewhere need not be here, so naming it proves nothing.
            let has_urls = part.urls.as_ref().is_some_and(|urls| !urls.is_empty());
            if !has_urls && !part.is(MediaType::is_nondistributable) {
                named.blobs.push(part.digest);
            }
        }
        for part in document.manifests.into_iter().flatten() {
            // buildkit keeps its cache as an index of layers.
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
            uploaded: Cache::new(PAIRS),
            named: Cache::new(PAIRS),
            walked: Cache::with_weighter(1_000, WALKED, BySize),
            deletions: Box::new(std::array::from_fn(|_| AtomicU64::new(0))),
            walks: Semaphore::new(WALKS),
            keys: [RandomState::new(), RandomState::new()],
        }
    }

    /// A blob was uploaded to or mounted in a repository, by a client that was allowed to.
    pub(super) fn uploaded(&self, repository: &RepositoryName, digest: Digest) {
        self.uploaded.insert((self.key(repository), digest), Instant::now());
    }

    /// A manifest of a repository passed.
    pub(super) fn passed(&self, repository: &RepositoryName, content: &[u8]) {
        let (key, now) = (self.key_until_deletion(repository), Instant::now());
        for digest in Named::read(content).blobs {
            self.named.insert((key, digest), now);
        }
    }

    /// A manifest of a repository was deleted: what it named has to be found anew.
    pub(super) fn manifest_deleted(&self, repository: &RepositoryName) {
        self.counter(repository).fetch_add(1, Ordering::SeqCst);
    }

    /// A blob was deleted from a repository.
    pub(super) fn blob_deleted(&self, repository: &RepositoryName, digest: Digest) {
        self.uploaded.remove(&(self.key(repository), digest));
        self.manifest_deleted(repository);
    }

    /// Whether a repository refers to a digest. Walks through the repository if that is not known.
    ///
    /// # Errors
    /// If the upstream does not answer, or the repository is too large to be walked through.
    pub(super) async fn holds(
        &self,
        client: &Client,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, GatewayError> {
        let is_young = |at: Option<Instant>, life| at.is_some_and(|at| at.elapsed() < life);
        if is_young(self.uploaded.get(&(self.key(repository), *digest)), UPLOADED_FOR)
            || is_young(self.named.get(&(self.key_until_deletion(repository), *digest)), NAMED_FOR)
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
            "a blob was refused: the repository has more manifests than the gateway looks through"
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

    /// A key that is another one after each deletion.
    fn key_until_deletion(&self, repository: &RepositoryName) -> RepositoryKey {
        let key = (repository, self.counter(repository).load(Ordering::SeqCst));
        [self.keys[0].hash_one(key), self.keys[1].hash_one(key)]
    }

    /// All that a repository refers to; one walk for all who ask at the same time.
    async fn walked(
        &self,
        client: &Client,
        repository: &RepositoryName,
    ) -> Result<Arc<Walked>, GatewayError> {
        let key = self.key_until_deletion(repository);
        self.walked.remove_if(&key, |walked| walked.at.elapsed() >= WALKED_FOR);
        self.walked
            .get_or_insert_async(&key, async {
                let _permit = self.walks.acquire().await;
                Walk::new(client, repository).run().await.map(Arc::new)
            })
            .await
    }
}

/// One walk through the manifests of a repository.
struct Walk<'a> {
    client: &'a Client,
    repository: &'a RepositoryName,
    digests: HashSet<Digest>,
    /// Manifests to be read, and those that were put there before.
    open: Vec<TagOrDigest>,
    seen: HashSet<Digest>,
    has_referrers: bool,
    /// Whether something could not be read.
    has_gaps: bool,
    manifests: usize,
    bytes: usize,
    begun: Instant,
}

#[derive(Deserialize)]
struct TagList {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

/// Some blob that a manifest of a repository names.
pub(super) async fn any_blob(client: &Client, repository: &RepositoryName) -> Option<Digest> {
    let mut walk = Walk { has_referrers: false, ..Walk::new(client, repository) };
    walk.read_tags().await.ok()?;
    for target in walk.open.split_off(walk.open.len().saturating_sub(SAMPLES)) {
        let path = format!("/v2/{repository}/manifests/{target}");
        let accept = [(ACCEPT, MANIFEST_TYPES)].into_iter().collect();
        let found = walk.get(path, accept).await.ok()?;
        if let Some(digest) = found.and_then(|(_, content)| Named::read(&content).blobs.first().copied()) {
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
            open: Vec::new(),
            seen: HashSet::new(),
            has_referrers: true,
            has_gaps: false,
            manifests: 0,
            bytes: 0,
            begun: Instant::now(),
        }
    }

    async fn run(mut self) -> Result<Walked, GatewayError> {
        let is_complete = match tokio::time::timeout(TIME, self.walk()).await {
            Ok(is_complete) => is_complete?,
            Err(_) => false,
        };
        // Counted from its beginning: what was pushed behind the gateway's back since then it may have missed.
        Ok(Walked { digests: self.digests, is_complete, at: self.begun })
    }

    /// Whether all of it was seen.
    async fn walk(&mut self) -> Result<bool, GatewayError> {
        let mut is_complete = self.read_tags().await?;
        while let Some(target) = self.open.pop() {
            if self.manifests >= MANIFESTS || self.bytes >= BYTES {
                return Ok(false);
            }
            self.manifests += 1;
            is_complete &= self.read_manifest(&target).await?;
        }
        Ok(is_complete && !self.has_gaps)
    }

    async fn read_tags(&mut self) -> Result<bool, GatewayError> {
        let mut queries = HashSet::new();
        let mut query = "n=1000".to_owned();
        loop {
            let path = format!("/v2/{}/tags/list?{query}", self.repository);
            let Some((headers, content)) = self.get(path, HeaderMap::new()).await? else { return Ok(true) };
            let list: TagList = serde_json::from_slice(&content).map_err(|error| {
                GatewayError::InvalidResponse(format!("its list of tags cannot be read: {error}"))
            })?;
            let tags = list.tags.unwrap_or_default();
            let tags = tags.iter().filter_map(|tag| tag.parse::<Tag>().ok());
            self.open.extend(tags.map(TagOrDigest::Tag));
            let Some(next) = next_page(&headers) else { return Ok(true) };
            queries.insert(query);
            if queries.contains(&next) || queries.len() >= TAG_PAGES || self.open.len() > MANIFESTS {
                return Ok(false);
            }
            query = next;
        }
    }

    /// Notes what a manifest names, and what refers to it. Whether all of it could be read.
    async fn read_manifest(&mut self, target: &TagOrDigest) -> Result<bool, GatewayError> {
        let path = format!("/v2/{}/manifests/{target}", self.repository);
        let accept = [(ACCEPT, MANIFEST_TYPES)].into_iter().collect();
        // A child of a sparse index, or a tag that was just deleted.
        let Some((headers, content)) = self.get(path, accept).await? else { return Ok(true) };
        let said = headers.get(DOCKER_CONTENT_DIGEST).and_then(|digest| digest.to_str().ok()?.parse().ok());
        let digest = match (target, said) {
            (TagOrDigest::Digest(digest), _) => *digest,
            (TagOrDigest::Tag(_), Some(digest)) => digest,
            (TagOrDigest::Tag(_), None) => oci::Algorithm::Sha256.digest(&content),
        };
        // Of several tags at one manifest the first is enough.
        if matches!(target, TagOrDigest::Tag(_)) && !self.seen.insert(digest) {
            return Ok(true);
        }
        self.digests.insert(digest);
        let named = Named::read(&content);
        self.digests.extend(named.blobs);
        let mut further = named.manifests;
        let mut is_complete = true;
        if self.has_referrers {
            let path = format!("/v2/{}/referrers/{digest}", self.repository);
            match self.get(path, HeaderMap::new()).await? {
                Some((headers, content)) => {
                    is_complete = next_page(&headers).is_none();
                    further.extend(Named::read(&content).manifests);
                }
                // An older registry. Its clients keep the referrers under tags.
                None => self.has_referrers = false,
            }
        }
        for digest in further {
            if self.seen.insert(digest) {
                self.open.push(TagOrDigest::Digest(digest));
            }
        }
        Ok(is_complete)
    }

    /// A document of the upstream; `None` if it is not there.
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
            // One damaged manifest must not keep the others from being found.
            status => {
                tracing::debug!(%status, path = request.path_and_query, "the upstream could not tell what it has");
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
                    "the upstream could not tell what it has"
                );
                self.has_gaps = true;
                return Ok(None);
            }
        };
        self.bytes += content.len();
        Ok(Some((head.headers, content)))
    }
}
