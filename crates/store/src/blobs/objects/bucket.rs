//! Client of an object store: the requests of the blob store to a bucket.
//!
//! Requests are retried with backoff, also after SlowDown. Reads of content give up early, because a client
//! waits for each of them. Writes outlast an overload of a minute, and so do questions for an object, with
//! which pushes begin and end. No request needs a conditional PUT, a checksum header or a bulk delete, which
//! some servers refuse.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::client::{HttpClient, HttpConnector as _, HttpRequestBody};
use object_store::list::PaginatedListOptions;
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::signer::SignedUrlOptions;
use object_store::{
    BackoffConfig, CopyOptions, GetOptions, GetRange, GetResult, HeaderMap, HeaderValue, ObjectStoreExt as _,
    PutOptions, PutPayload, RetryConfig,
};
use serde::Deserialize;

use super::client::{is_redirect, options};
use super::service::{self, Service};
use crate::StoreError;
use crate::blobs::{Blob, OpenBlob};
use crate::object_settings::{ObjectSettings, Place, Provider, SharedKey};

/// How long a failed read of content is retried.
const READ_PATIENCE: Duration = Duration::from_secs(8);
/// How long a failed write, and the question whether an object exists, is retried.
const WRITE_PATIENCE: Duration = Duration::from_secs(90);
/// The lifetime of a URL for a client. A download that has begun goes on after it.
const REDIRECT: Duration = Duration::from_secs(10 * 60);
/// The first pause before a request is repeated.
const PAUSE: Duration = Duration::from_millis(200);
/// How often a write is repeated that conflicts with a deletion.
const CONFLICTS: u32 = 6;
/// The pages without a key that may follow each other in a listing. Deleted keys leave some at a few servers.
const EMPTY_PAGES: usize = 1000;
/// The lifetime of the signature of a request that this server sends itself.
const SIGNATURE: Duration = Duration::from_secs(15 * 60);

/// A bucket, and the prefix of all keys in it.
pub(super) struct Bucket {
    reads: Arc<dyn Service>,
    writes: Arc<dyn Service>,
    http: HttpClient,
    /// The key of the settings.
    key: Option<SharedKey>,
    place: Place,
    /// The server, for messages.
    store: String,
}

/// The properties of a stored object.
pub(super) struct Object {
    pub(super) size: u64,
    pub(super) etag: Option<String>,
    /// Milliseconds since 1970.
    pub(super) modified: i64,
}

/// A listed multipart upload that is neither complete nor aborted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Unfinished {
    pub(super) key: String,
    pub(super) id: String,
}

/// A leftover of an ended upload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Leftover {
    Multipart(Unfinished),
    Object(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Uploads {
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_key_marker: String,
    #[serde(default)]
    next_upload_id_marker: String,
    #[serde(default, rename = "Upload")]
    uploads: Vec<ListedUpload>,
}

#[derive(Deserialize)]
struct ListedUpload {
    #[serde(rename = "Key")]
    key: String,
    #[serde(rename = "UploadId")]
    id: String,
}

#[derive(Deserialize)]
struct CopiedPart {
    #[serde(rename = "ETag")]
    etag: String,
}

/// Objects up to this size are read into memory when they are opened, which frees the connection.
pub(super) const SMALL: u64 = 64 << 10;

impl Bucket {
    /// Prepares the client. Sends no request.
    pub(super) fn open(settings: &ObjectSettings) -> Result<Self, StoreError> {
        let place = settings.place()?;
        let client = |patience| {
            let retry = RetryConfig {
                backoff: BackoffConfig {
                    init_backoff: Duration::from_millis(100),
                    max_backoff: Duration::from_secs(5),
                    base: 2.,
                },
                max_retries: 60,
                retry_timeout: patience,
            };
            service::open(settings, &place, retry)
                .map_err(|error| StoreError::Directory(format!("{}: {}", settings.url, reason(&error))))
        };
        let http = service::connector(settings, &place)
            .connect(&options())
            .map_err(|error| StoreError::Directory(format!("{}: {}", settings.url, reason(&error))))?;
        let store = service::name(settings, &place);
        let key = settings.key.clone();
        Ok(Self { reads: client(READ_PATIENCE)?, writes: client(WRITE_PATIENCE)?, http, key, place, store })
    }

    /// The URL of a key, for messages.
    pub(super) fn name(&self, key: &str) -> String {
        format!("{}://{}/{key}", self.place.provider.scheme(), self.place.bucket)
    }

    /// The prefix of all keys: empty, or with a slash at its end.
    pub(super) fn prefix(&self) -> &str {
        &self.place.prefix
    }

    pub(super) async fn stat(&self, key: &str) -> Result<Option<Object>, StoreError> {
        match self.writes.head(&path(key)).await {
            Ok(meta) => Ok(Some(Object {
                size: meta.size,
                etag: meta.e_tag,
                modified: meta.last_modified.timestamp_millis(),
            })),
            Err(error) => self.absent(error, "read", key),
        }
    }

    /// Reads an object into memory.
    pub(super) async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let read = async { self.reads.get(&path(key)).await?.bytes().await };
        match read.await {
            Ok(content) => Ok(Some(content)),
            Err(error) => self.absent(error, "read", key),
        }
    }

    /// Reads an object into memory, with the time of its last change in milliseconds since 1970.
    pub(super) async fn get_dated(&self, key: &str) -> Result<Option<(Bytes, i64)>, StoreError> {
        let read = async {
            let begun = self.reads.get(&path(key)).await?;
            let modified = begun.meta.last_modified.timestamp_millis();
            Ok((begun.bytes().await?, modified))
        };
        match read.await {
            Ok(read) => Ok(Some(read)),
            Err(error) => self.absent(error, "read", key),
        }
    }

    /// Begins to read an object, which stays readable if it is deleted meanwhile.
    pub(super) async fn open_object(
        self: &Arc<Self>,
        key: String,
    ) -> Result<Option<(u64, OpenObject)>, StoreError> {
        match self.reads.get(&path(&key)).await {
            Ok(begun) => Ok(Some((begun.meta.size, OpenObject { bucket: self.clone(), key, begun }))),
            Err(error) => self.absent(error, "read", &key),
        }
    }

    /// Reads a part of an object.
    pub(super) fn read_range(
        self: &Arc<Self>,
        key: String,
        range: Range<u64>,
    ) -> BoxStream<'static, Result<Bytes, StoreError>> {
        let bucket = self.clone();
        let pieces = async move {
            let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
            match bucket.reads.get_opts(&path(&key), options).await {
                Ok(part) => Ok(failing(bucket, key, part)),
                Err(error) => Err(bucket.failed(&error, "read", &key)),
            }
        };
        Box::pin(futures_util::stream::once(pieces).try_flatten())
    }

    /// Opens an object. A small one is read at once.
    pub(super) async fn open_blob(self: &Arc<Self>, key: String) -> Result<Option<Blob>, StoreError> {
        let Some((size, object)) = self.open_object(key).await? else { return Ok(None) };
        let blob = Blob::new(size, Box::new(object));
        if size > SMALL {
            return Ok(Some(blob));
        }
        let pieces: Vec<Bytes> = blob.read(0..size).try_collect().await?;
        Ok(Some(Blob::in_memory(pieces.concat().into())))
    }

    /// Returns a signed URL for a GET of an object.
    pub(super) async fn presign(&self, key: &str) -> Result<String, StoreError> {
        match self.reads.signed_url(http::Method::GET, &path(key), REDIRECT).await {
            Ok(url) => Ok(url.into()),
            Err(error) => Err(self.failed(&error, "sign a URL of", key)),
        }
    }

    pub(super) async fn put(&self, key: &str, content: Vec<Bytes>) -> Result<(), StoreError> {
        let (location, content): (_, PutPayload) = (path(key), content.into_iter().collect());
        self.write(key, || self.writes.put_opts(&location, content.clone(), PutOptions::default())).await
    }

    /// Writes an object, and repeats a write that conflicts with a deletion: a server that keeps objects as
    /// files may remove the directory in between.
    async fn write<T, F: Future<Output = object_store::Result<T>>>(
        &self,
        key: &str,
        write: impl Fn() -> F,
    ) -> Result<(), StoreError> {
        let mut conflicts = 0;
        loop {
            match write().await {
                Ok(_) => return Ok(()),
                Err(object_store::Error::AlreadyExists { .. }) if conflicts < CONFLICTS => conflicts += 1,
                Err(error) => return Err(self.failed(&error, "write", key)),
            }
            tokio::time::sleep(Duration::from_millis(20 << conflicts)).await;
        }
    }

    /// Deletes an object, if it exists.
    pub(super) async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let location = path(key);
        let deleted = self.repeat(|| self.writes.delete(&location)).await;
        deleted.map_err(|error| self.failed(&error, "delete", key))
    }

    /// Repeats a deletion whose connection was cut, which the library does not. An absent object is deleted.
    async fn repeat<F: Future<Output = object_store::Result<()>>>(
        &self,
        delete: impl Fn() -> F,
    ) -> object_store::Result<()> {
        let begun = std::time::Instant::now();
        loop {
            match delete().await {
                Ok(()) => return Ok(()),
                Err(error @ object_store::Error::NotFound { .. }) => {
                    return if is_bucket_gone(&error) { Err(error) } else { Ok(()) };
                }
                Err(object_store::Error::Generic { .. }) if begun.elapsed() < READ_PATIENCE => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Lists the keys below `prefix`, which ends in a slash, with their sizes.
    ///
    /// Some servers of S3 end a listing early without saying so. So a listing is over only if nothing follows
    /// its last key. Others repeat a page, or never end. Keys must ascend, and pages without keys are
    /// limited.
    pub(super) fn list(&self, prefix: String) -> BoxStream<'_, Result<(String, u64), StoreError>> {
        struct Listing {
            page: std::vec::IntoIter<object_store::ObjectMeta>,
            last: Option<Path>,
            next: Next,
            empty_pages: usize,
        }
        enum Next {
            /// The first page of a listing that begins after the last key.
            First,
            /// The page of this continuation token.
            Token(String),
            /// None.
            End,
        }
        let listing = Listing { page: Vec::new().into_iter(), last: None, next: Next::First, empty_pages: 0 };
        let keys = futures_util::stream::try_unfold(Some(listing), move |listing| {
            let prefix = prefix.clone();
            async move {
                let Some(mut listing) = listing else { return Ok(None) };
                let refused = |reason| self.error("list", &prefix, reason);
                loop {
                    if let Some(meta) = listing.page.next() {
                        if listing.last.as_ref().is_some_and(|last| *last >= meta.location) {
                            return Err(refused(format!("{} comes out of order", meta.location)));
                        }
                        listing.last = Some(meta.location.clone());
                        return Ok(Some(((meta.location.to_string(), meta.size), Some(listing))));
                    }
                    let (offset, page_token) = match &listing.next {
                        Next::First => (listing.last.as_ref().map(ToString::to_string), None),
                        Next::Token(token) => (None, Some(token.clone())),
                        Next::End => return Ok(None),
                    };
                    let (is_first, had_token) = (page_token.is_none(), page_token.clone());
                    let options =
                        PaginatedListOptions { offset, page_token, ..PaginatedListOptions::default() };
                    let page = self.reads.list_paginated(Some(&prefix), options).await;
                    let page = page.map_err(|error| self.failed(&error, "list", &prefix))?;
                    let is_empty = page.result.objects.is_empty();
                    listing.page = page.result.objects.into_iter();
                    listing.empty_pages = if is_empty { listing.empty_pages + 1 } else { 0 };
                    listing.next = match page.page_token {
                        Some(token) if had_token.as_ref() == Some(&token) => {
                            return Err(refused(
                                "the server repeats the continuation token of a listing".to_owned(),
                            ));
                        }
                        Some(_) if listing.empty_pages > EMPTY_PAGES => {
                            return Err(refused(format!(
                                "the server does not end a listing: {} pages in a row have no key",
                                listing.empty_pages
                            )));
                        }
                        Some(token) => Next::Token(token),
                        None if is_first && is_empty => return Ok(None),
                        None if self.place.provider != Provider::S3 => Next::End,
                        None => Next::First,
                    };
                }
            }
        });
        Box::pin(keys)
    }

    /// Begins a multipart upload and returns its id.
    pub(super) async fn begin(&self, key: &str) -> Result<String, StoreError> {
        let begun = self.writes.create_multipart(&path(key)).await;
        begun.map_err(|error| self.failed(&error, "write", key))
    }

    /// Sends a part, of which the first has the index 0. Returns its ETag.
    pub(super) async fn put_part(
        &self,
        key: &str,
        id: &str,
        index: usize,
        content: Bytes,
    ) -> Result<String, StoreError> {
        let sent = self.writes.put_part(&path(key), &id.to_owned(), index, content.into()).await;
        sent.map(|part| part.content_id).map_err(|error| self.failed(&error, "write", key))
    }

    /// Makes an object of the parts. `false` if there is no such multipart upload.
    pub(super) async fn complete(&self, key: &str, id: &str, etags: Vec<String>) -> Result<bool, StoreError> {
        let parts = etags.into_iter().map(|content_id| PartId { content_id }).collect();
        match self.writes.complete_multipart(&path(key), &id.to_owned(), parts).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            // Azure's answer for blocks that are committed, or dropped after a week.
            Err(error) if reason(&error).contains("InvalidBlockList") => Ok(false),
            Err(error) => Err(self.failed(&error, "complete", key)),
        }
    }

    /// Aborts a multipart upload, if it exists.
    pub(super) async fn abort(&self, key: &str, id: &str) -> Result<(), StoreError> {
        let (location, id) = (path(key), id.to_owned());
        let aborted = self.repeat(|| self.writes.abort_multipart(&location, &id)).await;
        aborted.map_err(|error| self.failed(&error, "abort the upload of", key))
    }

    /// Copies an object inside the store.
    pub(super) async fn copy(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let (from, location) = (path(from), path(to));
        self.write(to, || self.writes.copy_opts(&from, &location, CopyOptions::default())).await?;
        match self.place.provider {
            Provider::Azure => self.finish_copy(to).await,
            Provider::S3 => Ok(()),
        }
    }

    /// Whether a copy of a large object has to be made in parts.
    pub(super) fn copies_in_parts(&self) -> bool {
        self.place.provider == Provider::S3
    }

    /// Waits for a copy that Azure makes after its answer. Until its end, the client does not find the
    /// object.
    async fn finish_copy(&self, to: &str) -> Result<(), StoreError> {
        match self.stat(to).await? {
            Some(_) => Ok(()),
            None => Err(self.error("copy", to, "the copy is gone".to_owned())),
        }
    }

    /// Copies an object of any size inside the store, in parts of `part` bytes. A simple copy ends at 5 GiB.
    pub(super) async fn copy_in_parts(
        &self,
        from: &str,
        to: &str,
        size: u64,
        part: u64,
    ) -> Result<(), StoreError> {
        let id = self.begin(to).await?;
        let copied = async {
            let mut etags = Vec::new();
            let mut begin = 0;
            while begin < size {
                let end = (begin + part).min(size);
                etags.push(self.copy_part(from, begin..end, to, &id, etags.len()).await?);
                begin = end;
            }
            match self.complete(to, &id, etags).await? {
                true => Ok(()),
                false => Err(self.error("write", to, "its multipart upload is gone".to_owned())),
            }
        };
        let copied = copied.await;
        if copied.is_err() {
            // The first error is the cause. The next start aborts what this one could not.
            let _ = self.abort(to, &id).await;
        }
        copied
    }

    async fn copy_part(
        &self,
        from: &str,
        range: Range<u64>,
        to: &str,
        id: &str,
        index: usize,
    ) -> Result<String, StoreError> {
        let mut headers = HeaderMap::new();
        let source = format!("{}/{from}", self.place.bucket);
        let bytes = format!("bytes={}-{}", range.start, range.end - 1);
        for (name, text) in [("x-amz-copy-source", source), ("x-amz-copy-source-range", bytes)] {
            let text = HeaderValue::from_str(&text).map_err(|_| self.error("copy", from, text))?;
            headers.insert(name, text);
        }
        let query = [("partNumber", (index + 1).to_string()), ("uploadId", id.to_owned())];
        let answer: CopiedPart = self.send("PUT", to, query.to_vec(), headers).await?;
        Ok(answer.etag)
    }

    /// Lists the unfinished multipart uploads to keys below `prefix`. Only S3 names them: Azure
    /// drops blocks after a week.
    pub(super) async fn unfinished(&self, prefix: &str) -> Result<Vec<Unfinished>, StoreError> {
        if self.place.provider != Provider::S3 {
            return Ok(Vec::new());
        }
        let (mut found, mut key_marker, mut id_marker) = (Vec::new(), String::new(), String::new());
        let mut markers = HashSet::new();
        loop {
            let mut query = vec![("uploads", String::new()), ("prefix", prefix.to_owned())];
            if !key_marker.is_empty() {
                query.extend([("key-marker", key_marker), ("upload-id-marker", id_marker)]);
            }
            let page: Uploads = self.send("GET", "", query, HeaderMap::new()).await?;
            found.extend(page.uploads.into_iter().map(|ListedUpload { key, id }| Unfinished { key, id }));
            if !page.is_truncated || page.next_key_marker.is_empty() {
                break;
            }
            (key_marker, id_marker) = (page.next_key_marker, page.next_upload_id_marker);
            if !markers.insert((key_marker.clone(), id_marker.clone())) {
                return Err(self.error(
                    "list the uploads of",
                    prefix,
                    "the server repeats the marker of a listing".to_owned(),
                ));
            }
        }
        // A server that ignores the prefix must not make this one abort the uploads of others.
        found.retain(|upload| upload.key.starts_with(prefix));
        Ok(found)
    }

    /// Sends a request that the library has no function for, with retries, and parses the answer.
    async fn send<T: for<'de> Deserialize<'de>>(
        &self,
        method: &str,
        key: &str,
        query: Vec<(&str, String)>,
        headers: HeaderMap,
    ) -> Result<T, StoreError> {
        let begun = std::time::Instant::now();
        let mut wait = PAUSE;
        loop {
            match self.send_once(method, key, &query, &headers).await {
                Ok(answer) => return Ok(answer),
                Err((error, is_temporary)) if !is_temporary || begun.elapsed() > READ_PATIENCE => {
                    return Err(error);
                }
                Err(_) => {}
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
    }

    /// An error says whether the request may be tried again.
    async fn send_once<T: for<'de> Deserialize<'de>>(
        &self,
        method: &str,
        key: &str,
        query: &[(&str, String)],
        headers: &HeaderMap,
    ) -> Result<T, (StoreError, bool)> {
        let failed = |reason: String| self.error("ask for", key, reason);
        let mut options =
            SignedUrlOptions::new().with_query(query.iter().map(|(name, value)| (*name, value.clone())));
        options.signed_headers = headers.clone();
        let used = self.key.as_ref().map(SharedKey::get);
        let method: http::Method =
            method.parse().map_err(|error| (failed(format!("{method}: {error}")), false))?;
        let url = self
            .reads
            .signed_url_opts(method.clone(), &path(key), SIGNATURE, &options)
            .await
            .map_err(|error| (failed(reason(&error)), true))?;
        let mut request = http::Request::new(HttpRequestBody::empty());
        *request.method_mut() = method;
        *request.uri_mut() = url
            .as_str()
            .parse()
            .map_err(|error: http::uri::InvalidUri| (failed(error.to_string()), false))?;
        *request.headers_mut() = headers.clone();
        let answer = self.http.execute(request).await;
        let answer = answer.map_err(|error| (failed(reason(&error)), !is_redirect(&error)))?;
        let status = answer.status();
        let body = answer.into_body().bytes().await.map_err(|error| (failed(reason(&error)), true))?;
        let text = String::from_utf8_lossy(&body);
        if !status.is_success() {
            let has_new_key = match (&self.key, used) {
                (Some(key), Some(used)) if status == http::StatusCode::FORBIDDEN => {
                    key.changed_since(&used).await.is_some()
                }
                _ => false,
            };
            return Err((failed(format!("{status}: {text}")), status.is_server_error() || has_new_key));
        }
        quick_xml::de::from_str(&text).map_err(|error| (failed(format!("{error} in {text}")), false))
    }

    /// Returns `None` if the object is absent.
    fn absent<T>(
        &self,
        error: object_store::Error,
        action: &'static str,
        key: &str,
    ) -> Result<Option<T>, StoreError> {
        match error {
            object_store::Error::NotFound { .. } if !is_bucket_gone(&error) => Ok(None),
            error => Err(self.failed(&error, action, key)),
        }
    }

    fn failed(&self, error: &object_store::Error, action: &'static str, key: &str) -> StoreError {
        let reason = reason(error);
        tracing::debug!(action, key, reason = ?reason, "a request to the object store failed");
        if ["507 Insufficient", "QuotaExceeded", "StorageFull"].iter().any(|full| reason.contains(full)) {
            return StoreError::Full { what: self.name(key) };
        }
        self.error(action, key, reason)
    }

    /// Returns advice for the operator about a failed request, instead of the store's XML.
    fn explained(&self, reason: &str) -> String {
        let (bucket, store) = (&self.place.bucket, &self.store);
        let element = |name: &str| {
            let (_, rest) = reason.split_once(&format!("<{name}>"))?;
            Some(rest.split_once(&format!("</{name}>"))?.0)
        };
        // The address of the metadata service of a machine, the last source of keys.
        let has_no_key = reason.contains("169.254.169.254") || reason.contains("169.254.170.2");
        match element("Code") {
            Some("NoSuchBucket" | "ContainerNotFound") => {
                format!("there is no bucket {bucket} at {store}: create it, or correct blobs.url")
            }
            Some(
                code @ ("InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "AccessDenied"
                | "AuthenticationFailed"
                | "AuthorizationFailure"),
            ) => format!(
                "{store} refuses the access key ({code}): check blobs.access_key and blobs.secret_key_file, and what \
                 the key may do"
            ),
            Some(code) => match element("Message") {
                Some(message) => format!("{store} answers {code}: {message}"),
                None => format!("{store} answers {code}"),
            },
            None if let Some((_, place)) = reason.split_once("redirected to ") => format!(
                "{store} redirects to {place}, which is not followed: set blobs.endpoint and blobs.region to those of the \
                 bucket"
            ),
            None if has_no_key => "no access key is set: set blobs.access_key and blobs.secret_key_file, or \
                 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                .to_owned(),
            None if reason.contains("error sending request") => {
                let cause = reason.rsplit(": ").next().unwrap_or_default();
                format!("{store} does not answer ({cause}): check blobs.endpoint")
            }
            None => reason.to_owned(),
        }
    }

    fn error(&self, action: &'static str, key: &str, reason: String) -> StoreError {
        let reason = printable(&self.explained(&reason));
        StoreError::ObjectStore { action, what: self.name(key), reason }
    }
}

/// An object that is being read.
pub(super) struct OpenObject {
    bucket: Arc<Bucket>,
    key: String,
    begun: GetResult,
}

impl OpenBlob for OpenObject {
    fn read(self: Box<Self>, range: Range<u64>) -> BoxStream<'static, Result<Bytes, StoreError>> {
        let Self { bucket, key, begun } = *self;
        if range.is_empty() {
            return Box::pin(futures_util::stream::empty());
        }
        match range == (0..begun.meta.size) {
            true => failing(bucket, key, begun),
            false => bucket.read_range(key, range),
        }
    }
}

fn failing(
    bucket: Arc<Bucket>,
    key: String,
    result: GetResult,
) -> BoxStream<'static, Result<Bytes, StoreError>> {
    result
        .into_stream()
        .try_filter(|piece| std::future::ready(!piece.is_empty()))
        .map_err(move |error| bucket.failed(&error, "read", &key))
        .boxed()
}

/// Our keys have no character that a path encodes.
fn path(key: &str) -> Path {
    Path::from(key)
}

/// Whether the bucket itself is absent. Its objects may come back with it.
fn is_bucket_gone(error: &object_store::Error) -> bool {
    let reason = reason(error);
    reason.contains("NoSuchBucket") || reason.contains("ContainerNotFound")
}

/// The longest text of another server in a message, in characters.
const LONGEST: usize = 300;

/// A text of another server in one line of the log.
fn printable(text: &str) -> String {
    let plain = text.chars().map(|char| if char.is_control() { ' ' } else { char });
    let mut line: String = plain.clone().take(LONGEST).collect();
    if plain.count() > LONGEST {
        line.push('…');
    }
    line
}

/// The text of an error with its causes, each once.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
