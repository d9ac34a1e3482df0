//! The gateway: authentication, authorization, audit and search in front of a registry without them.
//!
//! Accounts, grants, the audit log, catalog and search are the same code as in a registry, over the same
//! metadata. Only content comes from an upstream: `proxy` answers the endpoints that a registry answers from
//! its store.
//!
//! - `proxy` forwards one request. `headers` and `upload_body` filter its headers and body.
//! - `uploads` signs the URLs of uploads. `manifests` caches manifests.
//! - `catalog_sync` copies the names of the upstream's repositories.
//! - `documents` reads what pages show.
//! - `references` controls access to blobs. `scoping` probes whether the upstream needs that.

mod catalog_sync;
mod documents;
mod headers;
mod manifests;
mod proxy;
mod references;
mod scoping;
mod upload_body;
mod uploads;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_core::future::BoxFuture;
use hyper::Uri;
use hyper::header::{HeaderMap, HeaderValue};
use oci::{Digest, RepositoryName, TagOrDigest};
use registry::Registry;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::task::JoinHandle;
use upstream::{
    Client, CredentialStore, Network, OutgoingBody, Timeouts, Upstream, UpstreamRequest, UpstreamResponse,
};

use crate::byte_order_mark;
use crate::config::{Config, UpstreamHost};
use crate::http::content_proxy::ContentProxy;
use crate::http::error::Error;
use crate::http::extract::endpoint::Endpoint;
use crate::http::extract::request::Request;
use crate::http::gateway_error::GatewayError;
use crate::http::middleware::caller::Caller;
use crate::http::response::Response;
use crate::operator_file;
use crate::tls::client::{self as tls_client, System};

/// The gateway. Clones share it.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    client: Arc<Client>,
    manifests: manifests::Manifests,
    catalog_sync: Arc<catalog_sync::CatalogSync>,
    references: references::References,
    scoping: Arc<scoping::Scoping>,
    registry: Registry,
    upload_tokens: uploads::UploadTokens,
    host: UpstreamHost,
    /// Scans the upstream's catalog.
    catalog_task: JoinHandle<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.catalog_task.abort();
    }
}

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("no upstream registry is configured: name one with --upstream http://registry:5000")]
    NoUpstream,
    #[error("cannot read {}, which `{setting}` names", path.display())]
    Unreadable { setting: &'static str, path: PathBuf, source: io::Error },
    #[error("{}, which `gateway.credentials` names, must contain one line, user:password", .0.display())]
    NoCredentials(PathBuf),
    #[error("{}, which `gateway.certificates` names, contains no certificate", .0.display())]
    NoCertificate(PathBuf),
    #[error("the TLS library cannot be initialized")]
    Tls(#[source] rustls::Error),
}

impl Gateway {
    /// Creates the gateway and starts to scan the upstream's catalog. Waits for no response, so that a
    /// gateway starts while its upstream is down.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn new(registry: Registry, key: &[u8; 32], config: &Config) -> Result<Self, SetupError> {
        let settings = &config.gateway;
        let account = settings.credentials.as_deref().map(read_account).transpose()?;
        let account = account.as_ref().map(|(user, password)| (user.as_str(), password.as_str()));
        let mut upstreams = Vec::new();
        for url in &settings.upstreams {
            let credentials = CredentialStore::new(account, settings.token_hosts.clone());
            let url: Result<Uri, _> = url.as_str().parse();
            let upstream = url.ok().and_then(|url| Upstream::new(upstreams.len(), &url, credentials));
            upstreams.extend(upstream);
        }
        if upstreams.is_empty() {
            return Err(SetupError::NoUpstream);
        }
        let timeouts = Timeouts {
            connect: settings.connect_timeout,
            read: settings.read_timeout,
            write: settings.write_timeout,
        };
        let tls = tls(settings.certificates.as_deref())?;
        let client = Arc::new(Client::new(upstreams, timeouts, tls, &Network::default()));
        let catalog_sync = Arc::new(catalog_sync::CatalogSync::new(registry.clone()));
        let scoping = Arc::new(scoping::Scoping::new());
        let catalog_task =
            catalog_sync.clone().run(client.clone(), scoping.clone(), settings.catalog_interval);
        let catalog_task = tokio::spawn(catalog_task);
        let inner = Inner {
            references: references::References::new(),
            scoping,
            registry,
            client,
            manifests: manifests::Manifests::new(settings.cache, config.cache.manifest_bytes),
            catalog_sync,
            catalog_task,
            upload_tokens: uploads::UploadTokens::new(key),
            host: settings.host,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Sends a request to the upstreams; see [`Client::send`].
    async fn send(
        &self,
        request: &UpstreamRequest,
        body: &OutgoingBody,
        home: Option<usize>,
    ) -> Result<UpstreamResponse<'_>, GatewayError> {
        Ok(self.inner.client.send(request, body, home).await?)
    }

    /// Whether a repository refers to a digest. Returns true if the upstream checks that itself.
    ///
    /// # Errors
    /// See [`references::References::contains`].
    async fn contains(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, GatewayError> {
        let Inner { client, references, scoping, registry, .. } = &*self.inner;
        if scoping.is_by_repository(repository) {
            return Ok(true);
        }
        let contains = references.contains(client, repository, digest).await?;
        if contains && scoping.is_due(repository) {
            let (client, registry) = (client.clone(), registry.clone());
            tokio::spawn(scoping.clone().probe(client, registry, repository.clone(), *digest));
        }
        Ok(contains)
    }
}

impl ContentProxy for Gateway {
    fn answer<'a>(
        &'a self,
        caller: &'a Caller<'a>,
        endpoint: &'a Endpoint,
        request: Request,
    ) -> BoxFuture<'a, Result<Response, Error>> {
        Box::pin(proxy::answer(self, caller, endpoint, request))
    }

    fn cached_manifest(
        &self,
        repository: &RepositoryName,
        target: &TagOrDigest,
        headers: &HeaderMap,
    ) -> Option<Response> {
        self.inner.manifests.cached(repository, target, headers)
    }

    fn document<'a>(
        &'a self,
        repository: &'a RepositoryName,
        below: &'a str,
        accept: Option<HeaderValue>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Option<(HeaderMap, bytes::Bytes)>, Error>> {
        Box::pin(documents::read(self, repository, below, accept, limit))
    }

    fn shares_blobs(&self) -> bool {
        self.inner.scoping.is_by_registry_anywhere()
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { self.inner.client.ping().await.map_err(|error| GatewayError::from(error).into()) })
    }
}

/// Reads `user:password` from the first line of a file.
fn read_account(path: &Path) -> Result<(String, String), SetupError> {
    let text = read("gateway.credentials", path)?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default();
    match line.split_once(':') {
        Some((user, password)) if !user.is_empty() && !password.is_empty() => {
            Ok((user.to_owned(), password.to_owned()))
        }
        _ => Err(SetupError::NoCredentials(path.to_owned())),
    }
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, SetupError> {
    operator_file::read(path).map_err(|source| SetupError::Unreadable {
        setting,
        path: path.to_owned(),
        source,
    })
}

/// The TLS configuration that trusts the system's certificates and those of a file.
fn tls(certificates: Option<&Path>) -> Result<rustls::ClientConfig, SetupError> {
    let additional = match certificates {
        Some(path) => {
            let pem = read("gateway.certificates", path)?;
            let pem = byte_order_mark::strip(&pem);
            let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
            if certificates.is_empty() {
                return Err(SetupError::NoCertificate(path.to_owned()));
            }
            certificates
        }
        None => Vec::new(),
    };
    tls_client::config(additional, System::Trusted).map_err(SetupError::Tls)
}
