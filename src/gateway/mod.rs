//! The gateway: this server before a registry that has no accounts.
//!
//! Everything about who may do what, and about names (accounts, grants, audit, the catalog, search), is the same code
//! as in a registry, over the same metadata. Only content is elsewhere: where a registry's handlers would ask the
//! store, [`proxy`] asks an upstream.
//!
//! - [`proxy`]: one request of the protocol, sent by an [`upstream::Client`]; [`headers`] and [`upload_body`] filter what
//!   is forwarded.
//! - [`uploads`]: whose an upload is.
//! - [`manifests`]: what an upstream gave a moment ago.
//! - [`catalog_sync`]: the names of the repositories behind.
//! - [`references`]: access control for blobs, and [`scoping`], the probe that says where none is needed.

mod catalog_sync;
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
use hyper::header::HeaderMap;
use oci::{Digest, RepositoryName, TagOrDigest};
use registry::Registry;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::task::JoinHandle;
use upstream::{
    Client, CredentialStore, OutgoingBody, Timeouts, Upstream, UpstreamRequest, UpstreamResponse,
};

use crate::byte_order_mark;
use crate::config::{Config, UpstreamHost};
use crate::http::content_proxy::ContentProxy;
use crate::http::error::Error;
use crate::http::extract::endpoint::Endpoint;
use crate::http::extract::request::Request;
use crate::http::gateway_error::GatewayError;
use crate::http::middleware::authorization::Caller;
use crate::http::response::Response;
use crate::tls::client::{self as tls_client, System};

/// A gateway to a registry. Cheap to clone: all clones are the same.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

/// What a gateway is made of.
struct Inner {
    client: Arc<Client>,
    manifests: manifests::Manifests,
    catalog_sync: Arc<catalog_sync::CatalogSync>,
    references: references::References,
    scoping: Arc<scoping::Scoping>,
    registry: Registry,
    proofs: uploads::UploadTokens,
    host: UpstreamHost,
    /// The largest manifest that is held in memory.
    manifest_bytes: usize,
    /// Reads the upstream's catalog.
    reading: JoinHandle<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// Why a gateway could not be set up. The text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Nothing is behind it.
    #[error("a gateway needs a registry to stand before: name it with --upstream http://registry:5000")]
    NoUpstream,
    /// A file cannot be read.
    #[error("cannot read {}, which `{setting}` names", path.display())]
    Unreadable {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file of the account holds none.
    #[error("{} holds no `user:password`, which `gateway.credentials` must name", .0.display())]
    NoCredentials(PathBuf),
    /// The file of certificates holds none.
    #[error("{} holds no certificate, which `gateway.certificates` must name", .0.display())]
    NoCertificate(PathBuf),
    /// TLS does not work here at all.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

impl Gateway {
    /// Sets a gateway up as the configuration says, and begins to read the upstream's catalog. No answer is waited for:
    /// a gateway starts whether or not the registry behind it is up.
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
        let client = Arc::new(Client::new(upstreams, timeouts, tls));
        let catalog_sync = Arc::new(catalog_sync::CatalogSync::new(registry.clone()));
        let scoping = Arc::new(scoping::Scoping::new());
        let reading = catalog_sync.clone().run(client.clone(), scoping.clone(), settings.catalog_interval);
        let reading = tokio::spawn(reading);
        let inner = Inner {
            references: references::References::new(),
            scoping,
            registry,
            client,
            manifests: manifests::Manifests::new(settings.cache, config.cache.manifest_bytes),
            catalog_sync,
            reading,
            proofs: uploads::UploadTokens::new(key),
            host: settings.host,
            manifest_bytes: config.limits.manifest_bytes,
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

    /// Whether a repository refers to a digest. Before an upstream that looks itself this is always so.
    ///
    /// # Errors
    /// If the upstream does not answer, or the repository is too large to be walked through.
    async fn holds(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, GatewayError> {
        let Inner { client, references, scoping, registry, .. } = &*self.inner;
        if scoping.is_by_repository(repository) {
            return Ok(true);
        }
        let holds = references.holds(client, repository, digest).await?;
        if holds && scoping.is_due(repository) {
            let (client, registry) = (client.clone(), registry.clone());
            tokio::spawn(scoping.clone().probe(client, registry, repository.clone(), *digest));
        }
        Ok(holds)
    }
}

impl ContentProxy for Gateway {
    fn answer<'a>(
        &'a self,
        caller: &'a Caller,
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
        self.inner.manifests.at_hand(repository, target, headers)
    }

    fn shares_blobs(&self) -> bool {
        self.inner.scoping.is_by_registry_anywhere()
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { self.inner.client.ping().await.map_err(|error| GatewayError::from(error).into()) })
    }
}

/// The one line of the file of the account.
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
    std::fs::read(path).map_err(|source| SetupError::Unreadable { setting, path: path.to_owned(), source })
}

/// Upstreams at `https://` addresses are trusted by the system's certificates, and by those of the file.
fn tls(certificates: Option<&Path>) -> Result<rustls::ClientConfig, SetupError> {
    let named = match certificates {
        Some(path) => {
            let pem = read("gateway.certificates", path)?;
            let pem = byte_order_mark::strip(&pem);
            let found: Vec<_> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
            if found.is_empty() {
                return Err(SetupError::NoCertificate(path.to_owned()));
            }
            found
        }
        None => Vec::new(),
    };
    tls_client::config(named, System::Trusted).map_err(SetupError::Tls)
}
