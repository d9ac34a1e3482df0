//! State that all requests share: the registry, its accounts, limits and middleware settings.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use hyper::Method;
use hyper::header::{HOST, HeaderMap, HeaderValue};
use registry::Registry;
use registry::access::Accounts;
use registry::backup::ConfigurationFile;
use registry::mirror::Mirror;
use tokio::sync::watch;

use crate::config::{Config, Limits};
use crate::http::cluster::Role;
use crate::http::content_proxy::ContentProxy;
use crate::http::error::Error;
use crate::http::in_force::InForce;
use crate::http::links::{LinkBase, Links};
use crate::http::metrics::ServerMetrics;
use crate::http::middleware::access_request::AccessRequest;
use crate::http::middleware::body_budget::BodyBudget;
use crate::http::middleware::challenge::Challenges;
use crate::http::middleware::client_info::{ClientInfo, Proxies};
use crate::http::middleware::cors::Cors;
use crate::http::middleware::denied::{Denied, DenyReason};
use crate::http::middleware::forward_auth::Forward;
use crate::http::middleware::rate_limit::RateLimits;
use crate::http::middleware::rebinding::OwnHosts;
use crate::http::middleware::request_id::RequestIds;
use crate::http::reload_requests::ReloadRequests;
use crate::http::server::connection::{Connection, Peer};
use crate::http::web::Web;
use crate::webhooks::Webhooks;

pub(crate) struct App {
    pub(crate) registry: Registry,
    pub(crate) accounts: Accounts,
    /// The client of `auth.forward`.
    pub(crate) forward: Option<Forward>,
    pub(crate) challenges: Challenges,
    /// The audience of tokens.
    pub(crate) service: String,
    pub(crate) audit_pulls: bool,
    /// The gateway to the content. The registry then has repository names and accounts only.
    pub(crate) content_proxy: Option<Arc<dyn ContentProxy>>,
    /// The pull-through cache, if an upstream is configured.
    pub(crate) mirror: Option<Mirror>,
    pub(crate) link_base: LinkBase,
    proxies: Proxies,
    pub(crate) cors: Cors,
    own_hosts: OwnHosts,
    /// The settings and the certificate in force.
    pub(crate) in_force: Arc<InForce>,
    /// The pages, unless they are switched off.
    pub(crate) web: Option<Arc<Web>>,
    pub(crate) rate_limits: Arc<RateLimits>,
    pub(crate) body_budget: Arc<BodyBudget>,
    pub(crate) limits: Limits,
    /// Whether the server speaks HTTP/2 without TLS.
    pub(crate) http2_clear: bool,
    pub(crate) ids: RequestIds,
    pub(crate) metrics: Arc<ServerMetrics>,
    /// The configuration files that a backup takes along.
    pub(crate) configuration: Vec<ConfigurationFile>,
    /// `None` in a server inside a command.
    pub(crate) reload: Option<ReloadRequests>,
    pub(crate) webhooks: Arc<Webhooks>,
    /// The role among several servers of the registry.
    pub(crate) role: Arc<Role>,
    /// Set when the server stops, so that event streams end.
    pub(crate) closing: watch::Sender<bool>,
}

impl App {
    /// # Errors
    /// The HTTP client of `auth.forward` cannot be built.
    pub(crate) fn new(
        registry: Registry,
        content_proxy: Option<Arc<dyn ContentProxy>>,
        mirror: Option<Mirror>,
        role: Arc<Role>,
        config: &Config,
        reload: Option<ReloadRequests>,
    ) -> io::Result<Self> {
        let metrics = Arc::new(ServerMetrics::new(&registry, mirror.as_ref(), config.listen));
        let webhooks = Arc::new(Webhooks::new(&registry, config).map_err(io::Error::other)?);
        Self::with_shared(registry, content_proxy, mirror, role, config, reload, metrics, webhooks)
    }

    #[allow(clippy::too_many_arguments, reason = "they are what two states of one server share")]
    fn with_shared(
        registry: Registry,
        content_proxy: Option<Arc<dyn ContentProxy>>,
        mirror: Option<Mirror>,
        role: Arc<Role>,
        config: &Config,
        reload: Option<ReloadRequests>,
        metrics: Arc<ServerMetrics>,
        webhooks: Arc<Webhooks>,
    ) -> io::Result<Self> {
        let forward = Forward::new(&config.auth).map_err(io::Error::other)?;
        Ok(Self {
            metrics,
            webhooks,
            role,
            closing: watch::Sender::new(false),
            accounts: registry.accounts().clone(),
            registry,
            content_proxy,
            mirror,
            forward,
            challenges: Challenges::new(&config.auth),
            service: config.auth.service.clone(),
            audit_pulls: config.audit.pulls,
            link_base: LinkBase::new(config.external_url.as_ref().map(|url| url.as_str())),
            proxies: Proxies::new(config.proxy.trusted.clone()),
            cors: Cors::new(&config.web.cors_origins),
            own_hosts: OwnHosts::new(config),
            in_force: Arc::new(InForce::new(config)),
            web: Web::new(config).map(Arc::new),
            rate_limits: Arc::new(RateLimits::new(&config.limits)),
            body_budget: Arc::new(BodyBudget::new(&config.limits)),
            limits: config.limits.clone(),
            http2_clear: config.http2_clear,
            ids: RequestIds::new(),
            configuration: config.files(),
            reload,
        })
    }

    /// Makes the same state with other settings, and the same upstreams and webhooks. Buckets of unchanged
    /// limits stay as full as they are.
    ///
    /// # Errors
    /// The HTTP client of `auth.forward` cannot be built.
    pub(crate) fn with_settings(&self, config: &Config) -> io::Result<Self> {
        let mut app = Self::with_shared(
            self.registry.clone(),
            self.content_proxy.clone(),
            self.mirror.clone(),
            self.role.clone(),
            config,
            self.reload.clone(),
            self.metrics.clone(),
            self.webhooks.clone(),
        )?;
        app.web.clone_from(&self.web);
        app.in_force = self.in_force.clone();
        app.closing = self.closing.clone();
        if config.limits == self.limits {
            app.rate_limits = self.rate_limits.clone();
            app.body_budget = self.body_budget.clone();
        }
        Ok(app)
    }

    /// Whether the address is a trusted proxy.
    pub(crate) fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.trusts(address)
    }

    /// Resolves the client of a request.
    pub(crate) fn client_info(&self, connection: &Connection, headers: &HeaderMap) -> ClientInfo {
        match connection.peer() {
            // The replica has resolved its client.
            Peer::Tcp { client, .. } if matches!(self.role.is_from_replica(headers), Ok(true)) => {
                Proxies::resolve_forwarded(client.ip(), headers)
            }
            Peer::Tcp { client, .. } => self.proxies.resolve(client.ip(), connection.is_secure(), headers),
            Peer::Control => ClientInfo::local(),
        }
    }

    /// Links for a client: with the external URL, or with the path prefix that a proxy names.
    pub(crate) fn links(&self, client: &ClientInfo) -> Links {
        self.link_base.of(client)
    }

    /// Refuses a browser that calls a registry without accounts by another host's name. Pages of
    /// `web.cors_origins` may use any name.
    pub(crate) fn check_host(&self, connection: &Connection, headers: &HeaderMap) -> Result<(), Error> {
        let Peer::Tcp { local, .. } = connection.peer() else { return Ok(()) };
        if self.accounts.in_force() || connection.is_secure() {
            return Ok(());
        }
        let is_loopback = local.ip().to_canonical().is_loopback();
        match self.own_hosts.foreign(headers, is_loopback) {
            Some(host) if self.cors.allowed(headers).is_none() => {
                Err(Error::ForeignHost { host: host.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Refuses cross-site writes.
    pub(crate) fn check_write(
        &self,
        client: &ClientInfo,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<(), Error> {
        self.cors.check_write(method, headers, || self.base(client, headers.get(HOST)))
    }

    /// Returns the registry's URL: the external URL, or the one that the client called. `None` if neither is
    /// known.
    pub(crate) fn base(&self, client: &ClientInfo, host: Option<&HeaderValue>) -> Option<String> {
        self.link_base.external_url().or_else(|| client.base(host))
    }

    /// Denies a request, with a challenge for its endpoint.
    pub(crate) fn deny(&self, request: AccessRequest<'_>, reason: DenyReason) -> Denied {
        let base = self.base(request.client, request.headers.get(HOST));
        self.challenges.deny(request, base.as_deref(), reason)
    }
}
