//! Client information: address, scheme, host and path prefix of a request, from the connection or from a
//! trusted proxy.
//!
//! Proxies write `X-Forwarded-For`, `-Proto`, `-Host`, `-Prefix` and `X-Real-IP`, or `Forwarded` (RFC 7239).
//! Clients can write these headers too, so they count only if the peer is in `proxy.trusted`. With any `X-`
//! header, `Forwarded` is ignored: a proxy that writes one kind often passes on the other kind from its
//! client.

use registry::{WarnLimit, networks};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use hyper::header::{FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};
use hyper::http::uri::Authority;
use ipnet::IpNet;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies(Vec<IpNet>);

/// The client of a request, and the URL that it called. Headers count only if a trusted proxy sent them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientInfo {
    pub(crate) address: IpAddr,
    /// Whether the client used HTTPS.
    pub(crate) secure: bool,
    /// The host and port that the client called, if a proxy named them.
    host: Option<String>,
    /// The path prefix of the registry on the proxy: empty, or `/…` without a final slash.
    pub(crate) prefix: String,
    /// Whether a trusted proxy sent the request.
    pub(crate) by_proxy: bool,
}

/// Warns of a proxy that ends TLS and is not trusted: clients would get links and challenges with `http://`.
fn warn_untrusted(peer: IpAddr, secure: bool, headers: &HeaderMap) {
    static LIMIT: WarnLimit = WarnLimit::new();
    let says_https = || list(headers, PROTO).next().and_then(is_secure) == Some(true);
    if !secure && headers.contains_key(PROTO) && says_https() && LIMIT.allows() {
        tracing::warn!(
            %peer,
            "X-Forwarded-Proto: https comes from an address that is not in proxy.trusted, and is ignored: clients get \
             http:// in challenges and links; if a proxy of yours has this address, add it to proxy.trusted"
        );
    }
}

impl Proxies {
    pub(crate) fn new(trusted: Vec<IpNet>) -> Self {
        Self(trusted)
    }

    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        networks::contain(&self.0, address)
    }

    /// Resolves the client of a request that a replica of this registry has forwarded.
    pub(crate) fn resolve_forwarded(replica: IpAddr, headers: &HeaderMap) -> ClientInfo {
        Self(vec![replica.to_canonical().into()]).resolve(replica, false, headers)
    }

    /// Resolves the client of a request that `peer` sent, over TLS if `secure`.
    pub(crate) fn resolve(&self, peer: IpAddr, secure: bool, headers: &HeaderMap) -> ClientInfo {
        let by_proxy = self.trusts(peer);
        let mut info =
            ClientInfo { address: peer.to_canonical(), secure, host: None, prefix: String::new(), by_proxy };
        if !by_proxy {
            warn_untrusted(peer, secure, headers);
            return info;
        }
        let kinds = [FOR, PROTO, FORWARDED_HOST, PREFIX, REAL_IP];
        if !kinds.iter().any(|name| headers.contains_key(name)) {
            self.read_forwarded(headers, &mut info);
            return info;
        }
        if headers.contains_key(FOR) {
            let hops = list(headers, FOR).map(node).collect::<Vec<_>>();
            info.address = self.client(peer, &hops).0;
        } else if let Some(address) = text(headers, REAL_IP).and_then(node) {
            info.address = address.to_canonical();
        }
        // Of several proxies, the first is the one that the client called.
        if let Some(secure) = list(headers, PROTO).next().and_then(is_secure) {
            info.secure = secure;
        }
        info.host = list(headers, FORWARDED_HOST).next().filter(|host| is_host(host)).map(str::to_owned);
        if let Some(prefix) = text(headers, PREFIX).map(|prefix| prefix.trim_end_matches('/'))
            && is_prefix(prefix)
        {
            prefix.clone_into(&mut info.prefix);
        }
        info
    }

    /// Returns the client of a request over `hops`, and its index: the last hop that is not a trusted proxy.
    /// The peer appended the last hop.
    fn client(&self, peer: IpAddr, hops: &[Option<IpAddr>]) -> (IpAddr, Option<usize>) {
        let (mut client, mut which) = (peer, None);
        for (index, hop) in hops.iter().enumerate().rev() {
            // A hop without an address is hidden, or written by the client.
            let Some(hop) = hop else { break };
            (client, which) = (*hop, Some(index));
            if !self.trusts(*hop) {
                break;
            }
        }
        (client.to_canonical(), which)
    }

    fn read_forwarded(&self, headers: &HeaderMap, info: &mut ClientInfo) {
        let mut elements = Vec::new();
        for value in headers.get_all(FORWARDED) {
            let Some(mut more) = value.to_str().ok().and_then(parse_forwarded) else { return };
            elements.append(&mut more);
        }
        let hops: Vec<_> = elements.iter().map(|element| element.from.as_deref().and_then(node)).collect();
        let (client, which) = self.client(info.address, &hops);
        info.address = client;
        // The proxy that names the client is the one that the client called.
        let Some(element) = which.or(elements.len().checked_sub(1)).map(|index| &elements[index]) else {
            return;
        };
        if let Some(secure) = element.proto.as_deref().and_then(is_secure) {
            info.secure = secure;
        }
        info.host = element.host.clone().filter(|host| is_host(host));
    }
}

impl ClientInfo {
    /// Replaces the forwarding headers of a request by those of a proxy that knows this client.
    ///
    /// # Errors
    /// The host or the prefix is no header value.
    pub(crate) fn put_into(&self, headers: &mut HeaderMap) -> Result<(), InvalidHeaderValue> {
        for name in [FORWARDED, FOR, PROTO, FORWARDED_HOST, PREFIX, REAL_IP] {
            headers.remove(name);
        }
        headers.insert(FOR, self.address.to_string().try_into()?);
        headers.insert(PROTO, HeaderValue::from_static(if self.secure { "https" } else { "http" }));
        let host = match &self.host {
            Some(host) => Some(host.try_into()?),
            None => headers.get(HOST).cloned(),
        };
        if let Some(host) = host {
            headers.insert(FORWARDED_HOST, host);
        }
        if !self.prefix.is_empty() {
            headers.insert(PREFIX, (&self.prefix).try_into()?);
        }
        Ok(())
    }

    /// A command on the control socket, which has no addresses.
    pub(crate) fn local() -> Self {
        Self {
            address: [127, 0, 0, 1].into(),
            secure: false,
            host: None,
            prefix: String::new(),
            by_proxy: false,
        }
    }

    /// Returns the registry's URL as the client called it. `host` is the `Host` header. `None` without a
    /// valid host.
    pub(crate) fn base(&self, host: Option<&HeaderValue>) -> Option<String> {
        let host = self.host.as_deref().or_else(|| host.and_then(|host| host.to_str().ok()).map(str::trim));
        let host = host.filter(|host| is_host(host))?;
        let scheme = if self.secure { "https" } else { "http" };
        Some(format!("{scheme}://{host}{}", self.prefix))
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// Returns the items of a list header, over all its lines.
fn list(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    // A line that is not ASCII is one invalid item.
    let lines = headers.get_all(name).into_iter().map(|value| value.to_str().unwrap_or("?"));
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// Parses an address with or without a port, IPv6 with or without brackets.
fn node(text: &str) -> Option<IpAddr> {
    if let Ok(address) = IpAddr::from_str(text) {
        return Some(address);
    }
    if let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return inner.parse().ok();
    }
    SocketAddr::from_str(text).ok().map(|address| address.ip())
}

fn is_secure(proto: &str) -> Option<bool> {
    match proto {
        _ if proto.eq_ignore_ascii_case("https") => Some(true),
        _ if proto.eq_ignore_ascii_case("http") => Some(false),
        _ => None,
    }
}

/// Whether the text is valid as host and port of a URL.
fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= 255
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
        && Authority::from_str(host).is_ok()
}

/// Whether the text is valid as a path prefix, and cannot lead to another server or out of the prefix.
fn is_prefix(prefix: &str) -> bool {
    prefix.len() <= 255
        && prefix.starts_with('/')
        && !prefix.starts_with("//")
        && prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/.-_~".contains(&byte))
        // Dot segments lead out of the prefix (RFC 3986 section 5.2.4).
        && !prefix.split('/').any(|part| part == "." || part == "..")
}

/// One element of `Forwarded`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Element {
    from: Option<String>,
    proto: Option<String>,
    host: Option<String>,
}

/// Parses a `Forwarded` header (RFC 7239 section 4).
fn parse_forwarded(text: &str) -> Option<Vec<Element>> {
    let mut elements = vec![Element::default()];
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(',') {
            elements.push(Element::default());
            rest = after.trim_start();
            continue;
        }
        if let Some(after) = rest.strip_prefix(';') {
            rest = after.trim_start();
            continue;
        }
        let (name, after) = rest.split_once('=')?;
        let (value, after) = value(after)?;
        let element = elements.last_mut()?;
        let field = match name.trim().to_ascii_lowercase().as_str() {
            "for" => &mut element.from,
            "proto" => &mut element.proto,
            "host" => &mut element.host,
            "by" => &mut None,
            other if other.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') => &mut None,
            _ => return None,
        };
        // A parameter may occur once in an element.
        if field.replace(value).is_some() {
            return None;
        }
        rest = after.trim_start();
        if !rest.is_empty() && !rest.starts_with([',', ';']) {
            return None;
        }
    }
    Some(elements)
}

/// Splits off the token or quoted string at the beginning.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ';', ' ', '\t']).unwrap_or(text.len());
        let (token, rest) = text.split_at(end);
        return (!token.is_empty() && !token.contains('"')).then(|| (token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((index, char)) = chars.next() {
        match char {
            '"' => return Some((value, &quoted[index + 1..])),
            '\\' => value.push(chars.next()?.1),
            _ => value.push(char),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use hyper::header::HOST;

    use super::*;

    const PROXY: &str = "127.0.0.1";

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let line =
            |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in lines.iter().map(line) {
            headers.append(name, value);
        }
        headers
    }

    fn proxies() -> Proxies {
        Proxies::new(vec!["127.0.0.1/32".parse().unwrap(), "10.0.0.0/8".parse().unwrap()])
    }

    fn resolve(peer: &str, lines: &[(&str, &str)]) -> ClientInfo {
        proxies().resolve(peer.parse().unwrap(), false, &headers(lines))
    }

    fn base(peer: &str, lines: &[(&str, &str)]) -> Option<String> {
        resolve(peer, lines).base(headers(lines).get(HOST))
    }

    #[test]
    fn nobody_else_is_believed() {
        let lines = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-real-ip", "1.1.1.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.example.com"),
            ("x-forwarded-prefix", "/evil"),
            ("forwarded", "for=1.1.1.1;host=evil.example.com;proto=https"),
            ("host", "registry.example.com:5000"),
        ];
        for peer in ["192.0.2.7", "::ffff:192.0.2.7"] {
            assert_eq!(resolve(peer, &lines).address, "192.0.2.7".parse::<IpAddr>().unwrap());
            assert_eq!(base(peer, &lines).as_deref(), Some("http://registry.example.com:5000"));
        }
        let untrusted = Proxies::default().resolve(PROXY.parse().unwrap(), true, &headers(&lines));
        assert_eq!(untrusted.address, PROXY.parse::<IpAddr>().unwrap());
        assert_eq!(
            untrusted.base(headers(&lines).get(HOST)).as_deref(),
            Some("https://registry.example.com:5000")
        );
    }

    #[test]
    fn trusted_proxy_names_the_client() {
        let from = |lines: &[(&str, &str)]| resolve(PROXY, lines).address.to_string();
        assert_eq!(from(&[]), PROXY);
        assert_eq!(from(&[("x-forwarded-for", "192.0.2.7")]), "192.0.2.7");
        assert_eq!(from(&[("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.1.1.1")]), "192.0.2.7");
        assert_eq!(from(&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.7")]), "192.0.2.7");
        assert_eq!(from(&[("x-forwarded-for", "192.0.2.7:4711")]), "192.0.2.7");
        assert_eq!(from(&[("x-forwarded-for", "[2001:db8::1]:80")]), "2001:db8::1");
        assert_eq!(from(&[("x-forwarded-for", "2001:db8::1")]), "2001:db8::1");
        // All of them proxies: the one farthest away.
        assert_eq!(from(&[("x-forwarded-for", "10.0.0.9, 10.0.0.1")]), "10.0.0.9");
        assert_eq!(from(&[("x-forwarded-for", "6.6.6.6, unknown, 10.0.0.1")]), "10.0.0.1");
        assert_eq!(from(&[("x-forwarded-for", "rubbish")]), PROXY);
        assert_eq!(from(&[("x-real-ip", "192.0.2.7")]), "192.0.2.7");
        assert_eq!(from(&[("x-real-ip", "6.6.6.6"), ("x-forwarded-for", "192.0.2.7")]), "192.0.2.7");
        assert_eq!(
            resolve("::ffff:127.0.0.1", &[("x-real-ip", "::ffff:1.2.3.4")]).address.to_string(),
            "1.2.3.4"
        );
    }

    #[test]
    fn trusted_proxy_names_scheme_and_host() {
        let host = ("host", "registry:5000");
        assert_eq!(base(PROXY, &[host]).as_deref(), Some("http://registry:5000"));
        assert_eq!(
            base(PROXY, &[host, ("x-forwarded-proto", "https")]).as_deref(),
            Some("https://registry:5000")
        );
        assert_eq!(
            base(
                PROXY,
                &[
                    host,
                    ("x-forwarded-proto", "HTTPS, http"),
                    ("x-forwarded-host", "hub.example.com:8443"),
                    ("x-forwarded-prefix", "/registry/"),
                ]
            )
            .as_deref(),
            Some("https://hub.example.com:8443/registry")
        );
        for bad in ["evil.com/x", "evil.com\\x", "a@b", "", "a b", "evil.com[", "[::1", "a:b:c"] {
            let lines = [host, ("x-forwarded-host", bad)];
            assert_eq!(base(PROXY, &lines).as_deref(), Some("http://registry:5000"), "{bad}");
        }
        for bad in ["registry", "//evil.com", "/a b", "/a?b", "/a\\b", "/a#b"] {
            assert_eq!(resolve(PROXY, &[("x-forwarded-prefix", bad)]).prefix, "", "{bad}");
        }
        assert!(!resolve(PROXY, &[("x-forwarded-proto", "gopher")]).secure);
        assert_eq!(base(PROXY, &[]), None);
    }

    #[test]
    fn forwarded_counts_where_the_others_are_not_there() {
        let line = "for=6.6.6.6;host=evil, for=192.0.2.7;proto=https;host=\"hub.example.com:8443\";by=10.0.0.1, \
                    For=\"10.0.0.1:4711\"";
        let lines = [("forwarded", line), ("host", "inner")];
        assert_eq!(resolve(PROXY, &lines).address.to_string(), "192.0.2.7");
        assert_eq!(base(PROXY, &lines).as_deref(), Some("https://hub.example.com:8443"));
        let both =
            [("forwarded", "for=6.6.6.6;host=evil"), ("x-forwarded-for", "192.0.2.7"), ("host", "inner")];
        assert_eq!(resolve(PROXY, &both).address.to_string(), "192.0.2.7");
        assert_eq!(base(PROXY, &both).as_deref(), Some("http://inner"));
        let v6 = [("forwarded", "for=\"[2001:db8:cafe::17]:4711\"")];
        assert_eq!(resolve(PROXY, &v6).address.to_string(), "2001:db8:cafe::17");
        let hidden = [("forwarded", "for=_hidden;proto=https;host=h")];
        assert_eq!(resolve(PROXY, &hidden).address.to_string(), PROXY);
        assert_eq!(base(PROXY, &hidden).as_deref(), Some("https://h"));
        for bad in
            ["for", "for=", "for=\"1.1.1.1", "for=1.1.1.1;for=2.2.2.2", "for=a\"b", "f r=1", "for=1.1.1.1 x"]
        {
            assert_eq!(resolve(PROXY, &[("forwarded", bad)]).address.to_string(), PROXY, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read_or_ignored(value in "[ -~]{0,60}") {
            let _ = parse_forwarded(&value);
            let lines = [
                ("forwarded", value.as_str()),
                ("x-forwarded-host", &value),
                ("x-forwarded-prefix", &value),
                ("host", &value),
            ];
            if let Some(base) = base(PROXY, &lines) {
                prop_assert!(base.parse::<hyper::Uri>().is_ok(), "{}", base);
            }
        }
    }
}
