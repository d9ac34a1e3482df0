//! DNS rebinding: refuses browsers that call a registry without accounts by a name that is not its own.
//!
//! A page of `evil.example` whose name resolves to 127.0.0.1 is of the same origin as the registry there, and
//! only the network protects a registry without accounts. The name in `Host` gives such a page away. Clients
//! that are no browsers may use any name. A certificate protects HTTPS: it is not for the name of the page.

use std::net::IpAddr;

use hyper::header::{ACCEPT_LANGUAGE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use hyper::http::uri::Authority;

use crate::config::Config;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The host names of this registry.
pub(crate) struct OwnHosts(Vec<String>);

impl OwnHosts {
    pub(crate) fn new(config: &Config) -> Self {
        let external = config.external_url.as_ref().and_then(|url| url.as_str().parse::<hyper::Uri>().ok());
        let external = external.and_then(|url| url.host().map(str::to_owned));
        let hosts = config.tls.self_signed.iter().chain(&config.acme.hosts).map(ToString::to_string);
        let mirrors = config.upstream.iter().filter_map(|upstream| upstream.host.clone());
        Self(external.into_iter().chain(hosts).chain(mirrors).collect())
    }

    /// Returns the host of a request that a browser sends to another host's name. `is_loopback` is whether
    /// the request arrived at a loopback address.
    pub(crate) fn foreign<'h>(&self, headers: &'h HeaderMap, is_loopback: bool) -> Option<&'h str> {
        // Over plain HTTP, a read of the same origin has neither of the first two. All browsers send the
        // third, and so may other clients, which have a reason for a name beyond this machine.
        let is_browser = headers.contains_key(ORIGIN)
            || headers.contains_key(SEC_FETCH_SITE)
            || is_loopback && headers.contains_key(ACCEPT_LANGUAGE);
        if !is_browser {
            return None;
        }
        let host = headers.get(HOST).map_or("", |host| HeaderValue::to_str(host).unwrap_or_default());
        if self.is_own(host) { None } else { Some(host) }
    }

    fn is_own(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = authority.host().trim_end_matches('.');
        let address = name.trim_start_matches('[').trim_end_matches(']');
        let lower = name.to_ascii_lowercase();
        address.parse::<IpAddr>().is_ok()
            || lower == "localhost"
            || lower.ends_with(".localhost")
            || self.0.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn browser_needs_an_own_name() {
        let mut config = Config::default();
        config.tls.self_signed = vec!["registry.example.com".parse().unwrap()];
        let own = OwnHosts::new(&config);
        let origin = ("origin", "http://a.example");
        for host in
            ["localhost:5000", "app.localhost", "127.0.0.1:5000", "[::1]:5000", "Registry.example.com."]
        {
            assert_eq!(own.foreign(&headers(&[("host", host), origin]), true), None, "{host}");
        }
        for host in ["evil.example:5000", "localhost.evil.example", "127.0.0.1.evil.example", ""] {
            assert_eq!(own.foreign(&headers(&[("host", host), origin]), true), Some(host), "{host}");
        }
    }

    #[test]
    fn other_clients_may_use_any_name() {
        let own = OwnHosts::new(&Config::default());
        let host = ("host", "registry.lan:5000");
        assert_eq!(own.foreign(&headers(&[host]), true), None);
        let read = headers(&[host, ("accept-language", "en")]);
        assert_eq!(own.foreign(&read, false), None);
        assert!(own.foreign(&read, true).is_some());
        assert!(own.foreign(&headers(&[host, ("sec-fetch-site", "same-origin")]), false).is_some());
    }
}
