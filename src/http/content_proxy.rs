//! The interface to a proxy that serves content (manifests, blobs, tags) in place of this server's own store.
//!
//! `http` knows this trait only. The gateway implements it, and `serve` puts it into
//! [`App`](super::app::App).

use bytes::Bytes;
use futures_core::future::BoxFuture;
use hyper::header::{HeaderMap, HeaderValue};
use oci::{RepositoryName, TagOrDigest};

use crate::http::error::Error;
use crate::http::extract::endpoint::Endpoint;
use crate::http::extract::request::Request;
use crate::http::middleware::caller::Caller;
use crate::http::response::Response;

/// Serves the endpoints for which [`Endpoint::is_content`] holds.
pub(crate) trait ContentProxy: Send + Sync {
    /// Answers an authorized request.
    fn answer<'a>(
        &'a self,
        caller: &'a Caller<'a>,
        endpoint: &'a Endpoint,
        request: Request,
    ) -> BoxFuture<'a, Result<Response, Error>>;

    /// Answers a request for a manifest from the cache; `None` if it is not cached.
    fn cached_manifest(
        &self,
        repository: &RepositoryName,
        target: &TagOrDigest,
        headers: &HeaderMap,
    ) -> Option<Response>;

    /// Reads a document of a repository, by its path below `/v2/<repository>/`, if it exists and has at most
    /// `limit` bytes. For pages; the caller has checked the right to pull.
    fn document<'a>(
        &'a self,
        repository: &'a RepositoryName,
        below: &'a str,
        accept: Option<HeaderValue>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Option<(HeaderMap, Bytes)>, Error>>;

    /// Whether the registry behind is known to serve a blob in any repository. `/auth` cannot guard such a
    /// registry, because it sees neither uploads nor manifests.
    fn shares_blobs(&self) -> bool;

    /// Checks that the registry behind answers.
    fn ready(&self) -> BoxFuture<'_, Result<(), Error>>;
}
