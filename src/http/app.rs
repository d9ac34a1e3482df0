//! What every request needs: the registry, how to name addresses, and the limits.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use hyper::Method;
use hyper::header::HeaderMap;
use registry::Registry;
use registry::access::Accounts;

use crate::config::{Config, Limits};
use crate::http::content_proxy::ContentProxy;
use crate::http::error::Error;
use crate::http::links::Links;
use crate::http::middleware::authorization::Challenges;
use crate::http::middleware::body_budget::BodyBudget;
use crate::http::middleware::client_info::{ClientInfo, Proxies};
use crate::http::middleware::cors::Cors;
use crate::http::middleware::forward_auth::Forward;
use crate::http::middleware::rate_limit::RateLimits;
use crate::http::middleware::request_id::RequestIds;
use crate::http::server::connection::{Connection, Peer};

/// What every request needs; one for the whole server.
pub(crate) struct App {
    pub(crate) registry: Registry,
    pub(crate) accounts: Accounts,
    /// The operator's own server that knows who sends a request.
    pub(crate) forward: Option<Forward>,
    /// How clients are asked for credentials.
    pub(crate) asking: Challenges,
    /// What tokens are made out for.
    pub(crate) service: String,
    pub(crate) audit_pulls: bool,
    /// Where content is, if it is behind a gateway; the registry then has names and accounts only.
    pub(crate) content_proxy: Option<Box<dyn ContentProxy>>,
    /// Addresses as they are without a proxy.
    links: Links,
    /// Whether the operator says by which address clients reach the registry.
    is_named: bool,
    proxies: Proxies,
    pub(crate) cors: Cors,
    pub(crate) rate_limits: RateLimits,
    pub(crate) body_budget: Arc<BodyBudget>,
    pub(crate) limits: Limits,
    /// Whether HTTP/2 is spoken without TLS.
    pub(crate) http2_clear: bool,
    pub(crate) ids: RequestIds,
}

impl App {
    /// # Errors
    /// If there is something wrong with the settings for [`Forward`].
    pub(crate) fn new(
        registry: Registry,
        content_proxy: Option<Box<dyn ContentProxy>>,
        config: &Config,
    ) -> io::Result<Self> {
        let forward = Forward::new(&config.auth).map_err(io::Error::other)?;
        Ok(Self {
            accounts: registry.accounts().clone(),
            registry,
            content_proxy,
            forward,
            asking: Challenges::new(&config.auth),
            service: config.auth.service.clone(),
            audit_pulls: config.audit.pulls,
            links: Links::new(config.external_url.as_ref().map_or("", |url| url.as_str())),
            is_named: config.external_url.is_some(),
            proxies: Proxies::new(config.proxy.trusted.clone()),
            cors: Cors::new(&config.web.cors_origins),
            rate_limits: RateLimits::new(&config.limits),
            body_budget: Arc::new(BodyBudget::new(&config.limits)),
            limits: config.limits.clone(),
            http2_clear: config.http2_clear,
            ids: RequestIds::new(),
        })
    }

    /// Whether clients of this address are behind a proxy whose word is taken.
    pub(crate) fn is_proxy(&self, client: IpAddr) -> bool {
        self.proxies.trusts(client)
    }

    /// Who sent a request, and how it was called.
    pub(crate) fn called(&self, connection: &Connection, headers: &HeaderMap) -> ClientInfo {
        match connection.peer() {
            Peer::Tcp { client, .. } => self.proxies.called(client.ip(), connection.is_secure(), headers),
            Peer::Control => ClientInfo::here(),
        }
    }

    /// How addresses are told to someone who called like this.
    pub(crate) fn links(&self, called: &ClientInfo) -> Links {
        if self.is_named || called.prefix.is_empty() {
            self.links.clone()
        } else {
            Links::new(&called.prefix)
        }
    }

    /// Refuses a request that changes something, if a browser sends it for a page of another site.
    pub(crate) fn check_write(
        &self,
        called: &ClientInfo,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<(), Error> {
        self.cors.check_write(method, headers, || self.base(called, headers))
    }

    /// The beginning of every address of this registry, scheme and host included, for someone who called like this.
    /// `None` if neither the operator nor the client said it.
    pub(crate) fn base(&self, called: &ClientInfo, headers: &HeaderMap) -> Option<String> {
        if self.is_named { Some(self.links.absolute("")) } else { called.base(headers) }
    }
}
