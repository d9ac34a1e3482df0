//! Tags, manifests and blobs for pages, from the store of a registry, or from the upstream of a gateway.

use std::time::SystemTime;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use oci::{Digest, RepositoryName, TagOrDigest};
use registry::listing::TagSearch;
use serde::Deserialize;

use super::document::{Document, Entry, shortened};
use crate::http::api::tags::TagSort;
use crate::http::app::App;
use crate::http::error::Error;
use crate::http::response::DOCKER_CONTENT_DIGEST;

/// The types of manifests, and of everything else.
const MANIFESTS: HeaderValue = HeaderValue::from_static(
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, */*",
);
/// The largest manifest and tag list of an upstream, in bytes.
const MAX_DOCUMENT: usize = 8 << 20;

/// The tags of an upstream that a filter of a gateway reads.
const FILTERED: usize = 1_000;

/// The largest config or preview that a page reads, in bytes.
pub(crate) const MAX_BLOB: u64 = 1 << 20;

/// A manifest with its bytes.
pub(crate) struct Stored {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) content: Bytes,
}

/// Reads a manifest.
pub(crate) async fn manifest(
    app: &App,
    repository: &RepositoryName,
    target: &TagOrDigest,
) -> Result<Stored, Error> {
    if let Some(proxy) = &app.content_proxy {
        let path = format!("manifests/{target}");
        let found = proxy.document(repository, &path, Some(MANIFESTS), MAX_DOCUMENT).await?;
        let unknown =
            || registry::Error::ManifestUnknown { repository: repository.clone(), target: target.clone() };
        let (headers, content) = found.ok_or_else(unknown)?;
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let digest = text(DOCKER_CONTENT_DIGEST).and_then(|digest| digest.parse().ok());
        let digest = match target {
            TagOrDigest::Digest(digest) => *digest,
            TagOrDigest::Tag(_) => digest.unwrap_or_else(|| oci::Algorithm::Sha256.digest(&content)),
        };
        // The upstream is not trusted to name content.
        if digest.algorithm().digest(&content) != digest {
            return Err(unknown().into());
        }
        return Ok(Stored { digest, media_type: text(CONTENT_TYPE).unwrap_or_default().to_owned(), content });
    }
    let manifest = app.registry.manifest(repository, target).await?;
    Ok(Stored {
        digest: manifest.record.digest,
        media_type: manifest.record.media_type.to_string(),
        content: manifest.content.clone(),
    })
}

/// Reads a manifest that may be missing, such as one of a sparse index.
pub(crate) async fn manifest_if_present(
    app: &App,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Option<Stored>, Error> {
    match manifest(app, repository, &TagOrDigest::Digest(*digest)).await {
        Ok(stored) => Ok(Some(stored)),
        Err(Error::Registry(error)) if error.is_unknown() || is_damaged(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a blob. Returns `None` for one that is missing, damaged or larger than `limit`.
pub(crate) async fn blob(
    app: &App,
    repository: &RepositoryName,
    digest: &Digest,
    limit: u64,
) -> Result<Option<Bytes>, Error> {
    if let Some(proxy) = &app.content_proxy {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let found = proxy.document(repository, &format!("blobs/{digest}"), None, limit).await;
        let content = found.ok().flatten().map(|(_, content)| content);
        return Ok(content.filter(|content| digest.algorithm().digest(content) == *digest));
    }
    match app.registry.small_blob(repository, digest, limit).await {
        Ok(content) => Ok(content),
        Err(error) if error.is_unknown() || is_damaged(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A tag, as the list of a repository shows it. A gateway knows less.
pub(crate) struct TagLine {
    pub(crate) tag: String,
    pub(crate) digest: Option<Digest>,
    pub(crate) pushed: Option<SystemTime>,
    pub(crate) pulled: Option<SystemTime>,
    pub(crate) pulls: u64,
    /// The cursor after it.
    pub(crate) cursor: String,
}

/// Returns tags of a repository whose names contain a text, beginning after `after`, and whether there are
/// more. A gateway sorts by name.
pub(crate) async fn tags(
    app: &App,
    repository: &RepositoryName,
    sort: TagSort,
    contains: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<TagLine>, bool), Error> {
    let Some(proxy) = &app.content_proxy else {
        let search = TagSearch {
            contains: contains.to_owned(),
            by_push: sort == TagSort::Push,
            include_hidden: false,
        };
        let after = after.map(|after| sort.position(after)).transpose()?;
        let found = app.registry.find_tags(repository, search, after, limit).await?;
        let lines = found.items.into_iter().map(|record| TagLine {
            cursor: sort.cursor(record.position()),
            tag: record.tag.to_string(),
            digest: Some(record.manifest.digest),
            pushed: Some(record.updated_at),
            pulled: record.pulled_at,
            pulls: record.pulls,
        });
        return Ok((lines.collect(), found.more));
    };
    #[derive(Deserialize)]
    struct TagList {
        tags: Option<Vec<String>>,
    }
    let path = {
        let mut query = form_urlencoded::Serializer::new(String::new());
        // An upstream knows no filter.
        let read = if contains.is_empty() { limit + 1 } else { FILTERED };
        query.append_pair("n", &read.to_string());
        query.extend_pairs(after.map(|after| ("last", after)));
        format!("tags/list?{}", query.finish())
    };
    let found = proxy.document(repository, &path, None, MAX_DOCUMENT).await?;
    let (_, content) = found.ok_or_else(|| registry::Error::NameUnknown(repository.clone()))?;
    let list: Option<TagList> = serde_json::from_slice(&content).ok();
    let mut tags = list.and_then(|list| list.tags).unwrap_or_default();
    // An upstream that knows no pages sends all tags.
    tags.sort_unstable();
    tags.retain(|tag| {
        after.is_none_or(|after| tag.as_str() > after)
            && tag.contains(contains)
            && tag.parse::<oci::Tag>().is_ok()
    });
    let more = tags.len() > limit;
    tags.truncate(limit);
    let mut lines = Vec::with_capacity(tags.len());
    for tag in tags {
        let target = tag.parse().map(TagOrDigest::Tag).ok();
        let stored = match &target {
            Some(target) => manifest(app, repository, target).await.ok(),
            None => None,
        };
        let digest = stored.map(|stored| stored.digest);
        lines.push(TagLine { cursor: tag.clone(), tag, digest, pushed: None, pulled: None, pulls: 0 });
    }
    Ok((lines, more))
}

/// A manifest that refers to another.
pub(crate) struct ReferrerLine {
    pub(crate) artifact_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// Returns the first referrers of a manifest.
pub(crate) async fn referrers(
    app: &App,
    repository: &RepositoryName,
    digest: &Digest,
    limit: usize,
) -> Result<Vec<ReferrerLine>, Error> {
    let line = |entry: Entry| ReferrerLine {
        artifact_type: entry.artifact_type.unwrap_or_default(),
        digest: entry.digest,
        size: entry.size,
    };
    if let Some(proxy) = &app.content_proxy {
        let path = format!("referrers/{digest}");
        // An upstream without referrers has none to show.
        let found = proxy.document(repository, &path, None, MAX_DOCUMENT).await.ok().flatten();
        let document = found.map(|(_, content)| Document::parse(&content)).unwrap_or_default();
        return Ok(document.manifests.into_iter().take(limit).map(line).collect());
    }
    let found = app.registry.referrers_in_brief(repository, digest, limit).await?;
    let line = |record: registry::records::ReferrerRecord| ReferrerLine {
        artifact_type: record.artifact_type.map(shortened).unwrap_or_default(),
        digest: record.manifest.digest,
        size: record.manifest.size,
    };
    Ok(found.into_iter().map(line).collect())
}

fn is_damaged(error: &registry::Error) -> bool {
    matches!(error, registry::Error::BlobDamaged { .. } | registry::Error::ManifestDamaged { .. })
}
