//! Connector: resolves hosts, and refuses private addresses to hosts that the operator did not name (SSRF).
//!
//! An upstream may redirect to any URL. The addresses are checked when the connection is made, because a name
//! may resolve to another address each time.

use std::collections::HashSet;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::error::BoxError;
use crate::public_address::is_public;

/// The version of IP for connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpVersion {
    /// Both, in the order of the system.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// The rules for connections.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Hosts besides those of the upstreams that may have private addresses. `None` allows all hosts.
    pub private_hosts: Option<Vec<String>>,
    pub ip: IpVersion,
    /// An HTTP proxy for all connections.
    pub proxy: Option<Proxy>,
}

/// An HTTP proxy, which gets a CONNECT request.
#[derive(Clone, Debug)]
pub struct Proxy {
    pub url: Uri,
    /// The `Proxy-Authorization` header.
    pub authorization: Option<HeaderValue>,
}

/// Decides which addresses a host may have.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    /// `None` allows all hosts all addresses.
    private_hosts: Option<Arc<HashSet<String>>>,
    /// The upstreams themselves: an address of one of them may be called at its own port only.
    upstreams: Arc<HashSet<(String, u16)>>,
    ip: IpVersion,
}

impl Guard {
    /// Creates the guard of upstreams with these hosts and ports.
    pub(crate) fn new<'a>(network: &'a Network, upstreams: impl Iterator<Item = (&'a str, u16)>) -> Self {
        let upstreams: HashSet<_> = upstreams.map(|(host, port)| (normal(host), port)).collect();
        let private_hosts = network.private_hosts.as_ref().map(|hosts| {
            let proxy = network.proxy.as_ref().and_then(|proxy| proxy.url.host());
            let named = hosts.iter().map(String::as_str).chain(proxy).map(normal);
            Arc::new(named.collect())
        });
        Self { private_hosts, upstreams: Arc::new(upstreams), ip: network.ip }
    }

    fn may_be_private(&self, host: &str) -> bool {
        let host = normal(host);
        let is_named = self.private_hosts.as_ref().is_none_or(|hosts| hosts.contains(&host));
        is_named || self.upstreams.iter().any(|(upstream, _)| *upstream == host)
    }

    /// Checks a URL whose host is an address. The connector does not resolve it.
    pub(crate) fn check_literal(&self, url: &Uri) -> Result<(), String> {
        let host = normal(url.host().unwrap_or_default());
        let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 });
        let is_named = self.private_hosts.as_ref().is_none_or(|hosts| hosts.contains(&host));
        match host.parse::<IpAddr>() {
            Ok(address) if !is_public(address) && !is_named && !self.upstreams.contains(&(host, port)) => {
                Err(format!("{address}, port {port}, is a private address, which the operator did not name"))
            }
            _ => Ok(()),
        }
    }

    fn allows(&self, host: &str, address: IpAddr) -> bool {
        self.has_version(address) && (is_public(address) || self.may_be_private(host))
    }

    fn has_version(&self, address: IpAddr) -> bool {
        match self.ip {
            IpVersion::Any => true,
            IpVersion::V4 => address.is_ipv4(),
            IpVersion::V6 => address.is_ipv6(),
        }
    }
}

fn normal(host: &str) -> String {
    host.trim_matches(['[', ']']).to_ascii_lowercase()
}

/// A resolver that returns the allowed addresses of a host.
#[derive(Clone)]
pub(crate) struct Resolver(Guard);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let guard = self.0.clone();
        Box::pin(async move {
            let host = name.as_str();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            let allowed: Vec<_> =
                found.iter().copied().filter(|address| guard.allows(host, address.ip())).collect();
            if allowed.is_empty() && !found.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    format!(
                        "{host} has no address that may be called: private ones are for named hosts only"
                    ),
                ));
            }
            Ok(allowed.into_iter())
        })
    }
}

/// Connects directly, or through a proxy.
#[derive(Clone)]
pub(crate) struct Connector {
    guard: Guard,
    way: Way,
}

#[derive(Clone)]
enum Way {
    Direct(HttpConnector<Resolver>),
    /// The proxy resolves names, so the guard sees addresses in URLs only.
    Proxied(Box<Tunnel<HttpConnector<Resolver>>>),
}

impl Connector {
    pub(crate) fn new(guard: &Guard, network: &Network, connect_timeout: Duration) -> Self {
        let mut connector = HttpConnector::new_with_resolver(Resolver(guard.clone()));
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(connect_timeout));
        connector.enforce_http(false);
        let way = match &network.proxy {
            None => Way::Direct(connector),
            Some(proxy) => {
                let tunnel = Tunnel::new(proxy.url.clone(), connector);
                Way::Proxied(Box::new(match &proxy.authorization {
                    Some(value) => tunnel.with_auth(value.clone()),
                    None => tunnel,
                }))
            }
        };
        Self { guard: guard.clone(), way }
    }

    /// Checks a URL whose host is an address: no resolver sees it.
    fn check(&self, url: &Uri) -> Result<(), String> {
        let host = url.host().unwrap_or_default();
        self.guard.check_literal(url)?;
        match (&self.way, host.trim_matches(['[', ']']).parse::<IpAddr>()) {
            (Way::Direct(_), Ok(address)) if !self.guard.has_version(address) => {
                Err(format!("{host} is not of the version of IP that the operator chose"))
            }
            _ => Ok(()),
        }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match &mut self.way {
            Way::Direct(connector) => connector.poll_ready(cx).map_err(Into::into),
            Way::Proxied(tunnel) => tunnel.poll_ready(cx).map_err(Into::into),
        }
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        if let Err(reason) = self.check(&url) {
            return Box::pin(async move { Err(reason.into()) });
        }
        match &mut self.way {
            Way::Direct(connector) => {
                let connecting = connector.call(url);
                Box::pin(async move { connecting.await.map_err(Into::into) })
            }
            Way::Proxied(tunnel) => {
                let connecting = tunnel.call(url);
                Box::pin(async move { connecting.await.map_err(Into::into) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_hosts_may_be_private() {
        let network = Network { private_hosts: Some(vec!["cdn.internal".to_owned()]), ..Network::default() };
        let guard = Guard::new(&network, [("127.0.0.1", 5000), ("[::1]", 80)].into_iter());
        let check = |guard: &Guard, url: &str| guard.check_literal(&url.parse().unwrap());
        assert!(check(&guard, "http://127.0.0.1:5000/x").is_ok() && check(&guard, "http://[::1]/").is_ok());
        for url in ["http://127.0.0.1:5001/", "https://[::1]/", "http://127.0.0.2:5000/"] {
            assert!(check(&guard, url).is_err(), "{url}");
        }
        check(&guard, "http://1.1.1.1:81/").unwrap();
        assert!(guard.allows("CDN.internal", [10, 0, 0, 1].into()));
        assert!(!guard.allows("other.internal", [10, 0, 0, 1].into()));
        let open = Guard::new(&Network::default(), std::iter::empty());
        check(&open, "http://127.0.0.2/").unwrap();
    }
}
