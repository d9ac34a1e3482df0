//! Who sent a request, and by which address it came: what the connection shows, or what a proxy before it says.
//!
//! A proxy says it in `X-Forwarded-For`, `-Proto`, `-Host` and `-Prefix`, in `X-Real-IP`, or in `Forwarded` (RFC
//! 7239). Anyone can write these headers, so they count only where the other end of the connection is a proxy that
//! the operator trusts. Where the first kind is there, `Forwarded` does not count: a proxy that writes one kind
//! commonly passes on what a client wrote of the other.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use hyper::header::{FORWARDED, HOST, HeaderMap, HeaderName};
use ipnet::IpNet;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The proxies whose word is taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies(Vec<IpNet>);

/// What is known of the client of a request and of how it called. No field is taken from headers that cannot be
/// believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientInfo {
    /// The client's address.
    pub(crate) from: IpAddr,
    /// Whether it called by HTTPS.
    pub(crate) secure: bool,
    /// The host, and the port if there is one, that a proxy says it called.
    host: Option<String>,
    /// The path below which the proxy shows this registry: empty, or `/…` without a slash at its end.
    pub(crate) prefix: String,
    /// Whether it came through a proxy whose word is taken.
    pub(crate) by_proxy: bool,
}

impl Proxies {
    pub(crate) fn new(trusted: Vec<IpNet>) -> Self {
        Self(trusted)
    }

    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client behind a request that came from `peer`, over TLS if `secure`.
    pub(crate) fn called(&self, peer: IpAddr, secure: bool, headers: &HeaderMap) -> ClientInfo {
        let by_proxy = self.trusts(peer);
        let mut called =
            ClientInfo { from: peer.to_canonical(), secure, host: None, prefix: String::new(), by_proxy };
        if !by_proxy {
            return called;
        }
        let kinds = [FOR, PROTO, FORWARDED_HOST, PREFIX, REAL_IP];
        if !kinds.iter().any(|name| headers.contains_key(name)) {
            self.read_forwarded(headers, &mut called);
            return called;
        }
        if headers.contains_key(FOR) {
            let hops = list(headers, FOR).map(node).collect::<Vec<_>>();
            called.from = self.client(peer, &hops).0;
        } else if let Some(address) = text(headers, REAL_IP).and_then(node) {
            called.from = address.to_canonical();
        }
        // Where several proxies each added theirs, the client called the first.
        if let Some(secure) = list(headers, PROTO).next().and_then(is_secure) {
            called.secure = secure;
        }
        called.host = list(headers, FORWARDED_HOST).next().filter(|host| is_host(host)).map(str::to_owned);
        if let Some(prefix) = text(headers, PREFIX).map(|prefix| prefix.trim_end_matches('/'))
            && is_prefix(prefix)
        {
            prefix.clone_into(&mut called.prefix);
        }
        called
    }

    /// The client of a request that came over `hops`, the last of which the peer added: the nearest that is no proxy
    /// of ours; and which of the hops that is.
    fn client(&self, peer: IpAddr, hops: &[Option<IpAddr>]) -> (IpAddr, Option<usize>) {
        let (mut client, mut which) = (peer, None);
        for (index, hop) in hops.iter().enumerate().rev() {
            // What is no address was written by someone who is not to be believed, or hides who came.
            let Some(hop) = hop else { break };
            (client, which) = (*hop, Some(index));
            if !self.trusts(*hop) {
                break;
            }
        }
        (client.to_canonical(), which)
    }

    fn read_forwarded(&self, headers: &HeaderMap, called: &mut ClientInfo) {
        let mut elements = Vec::new();
        for value in headers.get_all(FORWARDED) {
            let Some(mut more) = value.to_str().ok().and_then(parse_forwarded) else { return };
            elements.append(&mut more);
        }
        let hops: Vec<_> = elements.iter().map(|element| element.from.as_deref().and_then(node)).collect();
        let (client, which) = self.client(called.from, &hops);
        called.from = client;
        // The proxy that the client called is the one that names the client.
        let Some(element) = which.or(elements.len().checked_sub(1)).map(|index| &elements[index]) else {
            return;
        };
        if let Some(secure) = element.proto.as_deref().and_then(is_secure) {
            called.secure = secure;
        }
        called.host = element.host.clone().filter(|host| is_host(host));
    }
}

impl ClientInfo {
    /// A command on this machine, over a socket without addresses.
    pub(crate) fn here() -> Self {
        Self {
            from: [127, 0, 0, 1].into(),
            secure: false,
            host: None,
            prefix: String::new(),
            by_proxy: false,
        }
    }

    /// The beginning of every address of this registry, as the client must write it; `None` if it did not say how
    /// it called.
    pub(crate) fn base(&self, headers: &HeaderMap) -> Option<String> {
        let host = self.host.as_deref().or_else(|| text(headers, HOST)).filter(|host| is_host(host))?;
        let scheme = if self.secure { "https" } else { "http" };
        Some(format!("{scheme}://{host}{}", self.prefix))
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// The items of a header that is a list, over all its lines.
fn list(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    // A line that is no text is one item that means nothing.
    let lines = headers.get_all(name).into_iter().map(|value| value.to_str().unwrap_or("?"));
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// An address as proxies write it: with or without a port, IPv6 with or without brackets.
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

/// Whether it can stand in an address as its host and port.
fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= 255
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
}

/// Whether it can stand in an address before a path, so that what comes out is a path of the same server still.
fn is_prefix(prefix: &str) -> bool {
    prefix.len() <= 255
        && prefix.starts_with('/')
        && !prefix.starts_with("//")
        && prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/.-_~".contains(&byte))
        // These lead out of what stands before them (RFC 3986, section 5.2.4).
        && !prefix.split('/').any(|part| part == "." || part == "..")
}

/// What one proxy said in `Forwarded`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Element {
    from: Option<String>,
    proto: Option<String>,
    host: Option<String>,
}

/// The elements of a `Forwarded` header (RFC 7239, section 4); `None` if it is not written as one.
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
        // Each parameter stands once in an element.
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

/// The token or quoted string at the beginning, and what follows it.
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

    fn called(peer: &str, lines: &[(&str, &str)]) -> ClientInfo {
        proxies().called(peer.parse().unwrap(), false, &headers(lines))
    }

    fn base(peer: &str, lines: &[(&str, &str)]) -> Option<String> {
        called(peer, lines).base(&headers(lines))
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
            assert_eq!(called(peer, &lines).from, "192.0.2.7".parse::<IpAddr>().unwrap());
            assert_eq!(base(peer, &lines).as_deref(), Some("http://registry.example.com:5000"));
        }
        let nobody = Proxies::default().called(PROXY.parse().unwrap(), true, &headers(&lines));
        assert_eq!(nobody.from, PROXY.parse::<IpAddr>().unwrap());
        assert_eq!(nobody.base(&headers(&lines)).as_deref(), Some("https://registry.example.com:5000"));
    }

    #[test]
    fn a_trusted_proxy_says_who_came() {
        let from = |lines: &[(&str, &str)]| called(PROXY, lines).from.to_string();
        assert_eq!(from(&[]), PROXY);
        assert_eq!(from(&[("x-forwarded-for", "192.0.2.7")]), "192.0.2.7");
        assert_eq!(from(&[("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.1.1.1")]), "192.0.2.7");
        assert_eq!(from(&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.7")]), "192.0.2.7");
        assert_eq!(from(&[("x-forwarded-for", "192.0.2.7:4711")]), "192.0.2.7");
        assert_eq!(from(&[("x-forwarded-for", "[2001:db8::1]:80")]), "2001:db8::1");
        assert_eq!(from(&[("x-forwarded-for", "2001:db8::1")]), "2001:db8::1");
        // All of them proxies: the one farthest away.
        assert_eq!(from(&[("x-forwarded-for", "10.0.0.9, 10.0.0.1")]), "10.0.0.9");
        // What is no address ends it where there was one.
        assert_eq!(from(&[("x-forwarded-for", "6.6.6.6, unknown, 10.0.0.1")]), "10.0.0.1");
        assert_eq!(from(&[("x-forwarded-for", "rubbish")]), PROXY);
        assert_eq!(from(&[("x-real-ip", "192.0.2.7")]), "192.0.2.7");
        assert_eq!(from(&[("x-real-ip", "6.6.6.6"), ("x-forwarded-for", "192.0.2.7")]), "192.0.2.7");
        assert_eq!(
            called("::ffff:127.0.0.1", &[("x-real-ip", "::ffff:1.2.3.4")]).from.to_string(),
            "1.2.3.4"
        );
    }

    #[test]
    fn a_trusted_proxy_says_how_it_was_called() {
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
        for bad in ["evil.com/x", "evil.com\\x", "a@b", "", "a b"] {
            let lines = [host, ("x-forwarded-host", bad)];
            assert_eq!(base(PROXY, &lines).as_deref(), Some("http://registry:5000"), "{bad}");
        }
        for bad in ["registry", "//evil.com", "/a b", "/a?b", "/a\\b", "/a#b"] {
            assert_eq!(called(PROXY, &[("x-forwarded-prefix", bad)]).prefix, "", "{bad}");
        }
        assert!(!called(PROXY, &[("x-forwarded-proto", "gopher")]).secure);
        assert_eq!(base(PROXY, &[]), None);
    }

    #[test]
    fn forwarded_counts_where_the_others_are_not_there() {
        let line = "for=6.6.6.6;host=evil, for=192.0.2.7;proto=https;host=\"hub.example.com:8443\";by=10.0.0.1, \
                    For=\"10.0.0.1:4711\"";
        let lines = [("forwarded", line), ("host", "inner")];
        assert_eq!(called(PROXY, &lines).from.to_string(), "192.0.2.7");
        assert_eq!(base(PROXY, &lines).as_deref(), Some("https://hub.example.com:8443"));
        let both =
            [("forwarded", "for=6.6.6.6;host=evil"), ("x-forwarded-for", "192.0.2.7"), ("host", "inner")];
        assert_eq!(called(PROXY, &both).from.to_string(), "192.0.2.7");
        assert_eq!(base(PROXY, &both).as_deref(), Some("http://inner"));
        let v6 = [("forwarded", "for=\"[2001:db8:cafe::17]:4711\"")];
        assert_eq!(called(PROXY, &v6).from.to_string(), "2001:db8:cafe::17");
        let hidden = [("forwarded", "for=_hidden;proto=https;host=h")];
        assert_eq!(called(PROXY, &hidden).from.to_string(), PROXY);
        assert_eq!(base(PROXY, &hidden).as_deref(), Some("https://h"));
        for bad in
            ["for", "for=", "for=\"1.1.1.1", "for=1.1.1.1;for=2.2.2.2", "for=a\"b", "f r=1", "for=1.1.1.1 x"]
        {
            assert_eq!(called(PROXY, &[("forwarded", bad)]).from.to_string(), PROXY, "{bad}");
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
                prop_assert!(base.parse::<hyper::Uri>().is_ok() || base.contains(['[', ']', ':']), "{}", base);
            }
        }
    }
}
