//! Content of an upstream for a cache: manifests, blobs, tag lists and referrers, without HTTP types.
//!
//! `None` stands for content that the upstream does not have, or does not show to this account. Registries
//! answer 401 and 403 for absent repositories too.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body as _;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RANGE};
use oci::media_type::{
    DOCKER_LIST, DOCKER_MANIFEST, DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED, OCI_ARTIFACT, OCI_INDEX,
    OCI_MANIFEST,
};
use oci::{Digest, MediaType};
use serde::Deserialize;

use crate::access_error::AccessError;
use crate::client::{Client, UpstreamRequest, read_to_end, repository_scope};
use crate::error::Error;
use crate::fetch::Fetched;
use crate::locations::next_page;

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// The types of manifests that the cache takes. GHCR answers 404 if the stored type is missing here.
const MANIFEST_TYPES: [&str; 5] = [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST, OCI_ARTIFACT];
/// The entries of a page of a tag list: some registries refuse more.
const TAGS_PER_PAGE: usize = 1000;
/// The size limit of a page of a tag list, in bytes.
const TAG_PAGE_BYTES: usize = 4 << 20;

/// A manifest of an upstream. Its digest is not verified.
#[derive(Debug)]
pub struct UpstreamManifest {
    pub content: Bytes,
    /// The Content-Type, if it is the type of a manifest.
    pub media_type: Option<MediaType>,
    /// The digest that the upstream names, if it does.
    pub digest: Option<Digest>,
}

/// The answer to a HEAD of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestHead {
    Digest(Digest),
    /// It may exist, but the upstream does not tell its digest.
    Untold,
    /// It does not exist.
    Absent,
}

/// A blob that an upstream is sending. Its digest is not verified.
pub struct UpstreamBlob {
    /// The index of the URL.
    pub url: usize,
    /// The offset of the first byte that arrives.
    pub offset: u64,
    /// The size of the whole blob in bytes, if the upstream told it.
    pub size: Option<u64>,
    /// Whether the answer is a page for people.
    pub is_html: bool,
    body: Incoming,
    timeout: Duration,
}

impl UpstreamBlob {
    /// Waits for the next bytes; `None` at the end. A dropped future loses nothing.
    ///
    /// # Errors
    /// A description of the failure.
    pub async fn next(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            let frame = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx));
            match tokio::time::timeout(self.timeout, frame).await {
                Err(_) => return Err(format!("no byte arrived for {} s", self.timeout.as_secs_f64())),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(format!("the transfer was cut off: {error}")),
                Ok(Some(Ok(frame))) => {
                    // Trailers have no meaning in this protocol.
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }
}

#[derive(Deserialize)]
struct TagList {
    /// Nexus sends null.
    tags: Option<Vec<Option<String>>>,
}

impl Client {
    /// Asks for the digest of a manifest. Docker Hub does not count a HEAD against its rate limit.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn head_manifest(&self, repository: &str, reference: &str) -> Result<ManifestHead, Error> {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let request =
            UpstreamRequest::head(path, repository_scope(repository, "pull")).accepting(&MANIFEST_TYPES);
        let Some(fetched) = self.found(&request, 0).await? else { return Ok(ManifestHead::Absent) };
        let digest = header(fetched.response.headers(), &DIGEST).and_then(|text| text.parse().ok());
        match (fetched.response.status(), digest) {
            (StatusCode::OK, Some(digest)) => Ok(ManifestHead::Digest(digest)),
            _ => Ok(ManifestHead::Untold),
        }
    }

    /// Gets a manifest of at most `limit` bytes.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get_manifest(
        &self,
        repository: &str,
        reference: &str,
        limit: usize,
    ) -> Result<Option<UpstreamManifest>, Error> {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let request =
            UpstreamRequest::get(path, repository_scope(repository, "pull")).accepting(&MANIFEST_TYPES);
        let Some(fetched) = self.found(&request, 0).await? else { return Ok(None) };
        let upstream = fetched.upstream.to_string();
        if fetched.response.status() != StatusCode::OK {
            let status = fetched.response.status();
            return Err(Error::InvalidResponse(format!("{upstream} answers {status} for a manifest")));
        }
        let media_type = header(fetched.response.headers(), &CONTENT_TYPE)
            .and_then(|text| MediaType::from_content_type(text).ok());
        if let Some(foreign) = &media_type
            && (foreign.as_str() == "text/html"
                || [DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED].contains(&foreign.as_str()))
        {
            return Err(Error::InvalidResponse(format!("{upstream} sends {foreign} as a manifest")));
        }
        let digest = header(fetched.response.headers(), &DIGEST).and_then(|text| text.parse().ok());
        let body = fetched.response.into_body();
        let content = read_to_end(body, limit, self.read_timeout()).await;
        let content = content
            .map_err(|reason| Error::InvalidResponse(format!("a manifest of {upstream}: {reason}")))?;
        Ok(Some(UpstreamManifest { content, media_type: media_type.filter(MediaType::is_manifest), digest }))
    }

    /// Asks for the size of a blob. The outer `None` is an absent blob, the inner one an unknown size.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn head_blob(&self, repository: &str, digest: &Digest) -> Result<Option<Option<u64>>, Error> {
        let path = format!("/v2/{repository}/blobs/{digest}");
        let request = UpstreamRequest::head(path, repository_scope(repository, "pull"));
        let Some(fetched) = self.found(&request, 0).await? else { return Ok(None) };
        match fetched.response.status() {
            StatusCode::OK => {
                let length = fetched.response.headers().get(hyper::header::CONTENT_LENGTH);
                Ok(Some(length.and_then(|value| value.to_str().ok()?.parse().ok())))
            }
            status => {
                Err(Error::InvalidResponse(format!("{} answers {status} for a blob", fetched.upstream)))
            }
        }
    }

    /// Opens a blob from an offset on. The URL at index `first` is asked first. An upstream without ranges
    /// sends the whole blob: see [`UpstreamBlob::offset`].
    ///
    /// # Errors
    /// [`Error`].
    pub async fn open_blob(
        &self,
        repository: &str,
        digest: &Digest,
        offset: u64,
        first: usize,
    ) -> Result<Option<UpstreamBlob>, Error> {
        let path = format!("/v2/{repository}/blobs/{digest}");
        let mut request = UpstreamRequest::get(path, repository_scope(repository, "pull"));
        if offset > 0 {
            request.headers.insert(RANGE, value(format!("bytes={offset}-")));
        }
        let Some(fetched) = self.found(&request, first).await? else { return Ok(None) };
        let headers = fetched.response.headers();
        let is_html = header(headers, &CONTENT_TYPE).is_some_and(|text| text.starts_with("text/html"));
        let (offset, size) = match fetched.response.status() {
            StatusCode::OK => (0, fetched.length()),
            StatusCode::PARTIAL_CONTENT => {
                let range = header(headers, &CONTENT_RANGE).and_then(content_range);
                let (start, size) = range.filter(|(start, _)| *start <= offset).ok_or_else(|| {
                    Error::InvalidResponse(format!("{} sends another range than asked for", fetched.upstream))
                })?;
                (start, size)
            }
            status => {
                let upstream = fetched.upstream;
                return Err(Error::InvalidResponse(format!("{upstream} answers {status} for a blob")));
            }
        };
        Ok(Some(UpstreamBlob {
            url: fetched.upstream.index(),
            offset,
            size,
            is_html,
            timeout: self.read_timeout(),
            body: fetched.response.into_body(),
        }))
    }

    /// Lists at most `limit` tags, over all pages.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn tags(&self, repository: &str, limit: usize) -> Result<Option<Vec<String>>, Error> {
        let mut tags = Vec::new();
        let mut query = format!("n={TAGS_PER_PAGE}");
        loop {
            let path = format!("/v2/{repository}/tags/list?{query}");
            let request = UpstreamRequest::get(path, repository_scope(repository, "pull"));
            let Some(fetched) = self.found(&request, 0).await? else { return Ok(None) };
            let upstream = fetched.upstream.to_string();
            let invalid =
                |reason: String| Error::InvalidResponse(format!("the tags of {upstream}: {reason}"));
            if fetched.response.status() != StatusCode::OK {
                return Err(invalid(fetched.response.status().to_string()));
            }
            let next = next_page(fetched.response.headers());
            let body = read_to_end(fetched.response.into_body(), TAG_PAGE_BYTES, self.read_timeout()).await;
            let list: TagList = serde_json::from_slice(&body.map_err(&invalid)?)
                .map_err(|error| invalid(error.to_string()))?;
            let before = tags.len();
            tags.extend(list.tags.unwrap_or_default().into_iter().flatten());
            match next {
                Some(next) if next != query && tags.len() > before && tags.len() < limit => query = next,
                _ => break,
            }
        }
        tags.truncate(limit);
        Ok(Some(tags))
    }

    /// Gets the index of referrers of a digest, or `None` if the upstream has no such API.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn referrers(
        &self,
        repository: &str,
        digest: &Digest,
        limit: usize,
    ) -> Result<Option<Bytes>, Error> {
        let path = format!("/v2/{repository}/referrers/{digest}");
        let request =
            UpstreamRequest::get(path, repository_scope(repository, "pull")).accepting(&[OCI_INDEX]);
        let Some(fetched) = self.found(&request, 0).await? else { return Ok(None) };
        let is_index = header(fetched.response.headers(), &CONTENT_TYPE)
            .is_some_and(|text| text.starts_with(OCI_INDEX) || text.starts_with("application/json"));
        // GHCR redirects to a page for people.
        if fetched.response.status() != StatusCode::OK || !is_index {
            return Ok(None);
        }
        let body = read_to_end(fetched.response.into_body(), limit, self.read_timeout()).await;
        body.map(Some).map_err(|reason| Error::InvalidResponse(format!("the referrers: {reason}")))
    }

    /// Fetches content; `None` if the upstream does not have or not show it.
    async fn found(&self, request: &UpstreamRequest, first: usize) -> Result<Option<Fetched<'_>>, Error> {
        let mut is_repeated = false;
        loop {
            return match self.fetch(request, first).await {
                Ok(fetched) => match fetched.response.status() {
                    StatusCode::FORBIDDEN if self.refuses_account(fetched.upstream).await => {
                        fetched.upstream.credentials.forget_account();
                        if !is_repeated {
                            is_repeated = true;
                            continue;
                        }
                        Err(Error::AccessDenied(AccessError::AccountRejected))
                    }
                    StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::FORBIDDEN => Ok(None),
                    _ => Ok(Some(fetched)),
                },
                Err(Error::AccessDenied(AccessError::NotGranted | AccessError::AccountRequired)) => Ok(None),
                Err(error) => Err(error),
            };
        }
    }
}

impl UpstreamRequest {
    /// Sets the `Accept` header.
    #[must_use]
    fn accepting(mut self, types: &[&str]) -> Self {
        self.headers.insert(ACCEPT, value(types.join(", ")));
        self
    }
}

fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("media types and numbers are visible ASCII")
}

fn header<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// Parses a `Content-Range`: its first byte, and the size of the whole.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, size) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, size.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_range_has_start_and_size() {
        assert_eq!(content_range("bytes 10-19/100"), Some((10, Some(100))));
        assert_eq!(content_range("bytes 0-19/*"), Some((0, None)));
        assert_eq!(content_range("bytes */100"), None);
        assert_eq!(content_range("10-19/100"), None);
    }
}
