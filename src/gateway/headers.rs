//! Which headers go through the gateway.
//!
//! Both ways this is a list of what passes, not of what does not: the registry protocol has few headers, and what is
//! not among them (credentials, cookies, what a client claims about proxies, what belongs to one connection only,
//! what nobody has thought of yet) is no business of the other side. The framing of bodies (`Content-Length`,
//! `Transfer-Encoding`) is never copied to an upstream: it is made anew from the body that is sent.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::{self, HOST, HeaderName, HeaderValue};

const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_FORWARDED_BY: HeaderName = HeaderName::from_static("x-forwarded-by");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Headers of a request that an upstream gets. `Accept-Encoding` is not among them, as in the configuration that
/// people have: what an upstream compressed would not be the bytes that have the digest.
const UPWARD: [HeaderName; 11] = [
    header::ACCEPT,
    header::CONTENT_TYPE,
    header::CONTENT_RANGE,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
    header::USER_AGENT,
    HeaderName::from_static("x-request-id"),
];

/// Headers of an answer that a client gets, besides those of the protocol's own families. `Location` and `Link` are
/// not among them: they are rewritten. Nor is `WWW-Authenticate`: who may do what is asked here, and nowhere else.
const DOWNWARD: [HeaderName; 16] = [
    header::ACCEPT_RANGES,
    header::AGE,
    header::ALLOW,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::ETAG,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::RANGE,
    header::RETRY_AFTER,
    header::VARY,
    header::WARNING,
];

/// The protocol's own headers, and those that say how much may still be asked.
const FAMILIES: [&str; 4] = ["docker-", "oci-", "ratelimit-", "x-ratelimit-"];

fn is_of_a_family(name: &HeaderName) -> bool {
    FAMILIES.iter().any(|family| name.as_str().starts_with(family))
}

/// Who asks, as an upstream is told.
pub(super) struct Origin<'a> {
    /// The client.
    pub(super) client: Option<IpAddr>,
    /// Where the client reached the gateway.
    pub(super) local: Option<SocketAddr>,
    /// Whether it came through TLS.
    pub(super) secure: bool,
    /// By which host and port it called.
    pub(super) host: Option<&'a HeaderValue>,
}

/// The headers of a request to an upstream.
pub(super) fn upward(request: &HeaderMap, origin: &Origin<'_>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(12);
    for name in &UPWARD {
        for value in request.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    for (name, value) in request {
        if is_of_a_family(name) {
            headers.append(name, value.clone());
        }
    }
    if let Some(host) = origin.host {
        headers.insert(HOST, host.clone());
    }
    let mut say = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    if let Some(client) = origin.client {
        say(X_REAL_IP, client.to_string());
        say(X_FORWARDED_FOR, client.to_string());
    }
    if let Some(local) = origin.local {
        say(X_FORWARDED_BY, local.to_string());
    }
    say(X_FORWARDED_PROTO, if origin.secure { "https" } else { "http" }.to_owned());
    headers
}

/// Puts the headers of an upstream's answer that a client gets into `answer`.
pub(super) fn downward(upstream: &HeaderMap, answer: &mut HeaderMap) {
    answer.reserve(upstream.len());
    for (name, value) in upstream {
        if DOWNWARD.contains(name) || is_of_a_family(name) {
            answer.append(name, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn an_upstream_gets_no_credentials_and_nothing_that_a_client_made_up() {
        let host = HeaderValue::from_static("registry.example.com:8443");
        let origin = Origin {
            client: Some([192, 0, 2, 7].into()),
            local: Some(([192, 0, 2, 1], 8443).into()),
            secure: true,
            host: Some(&host),
        };
        let request = map(&[
            ("authorization", "Basic c2VjcmV0"),
            ("cookie", "session=secret"),
            ("x-docker-token", "secret"),
            ("proxy-authorization", "Basic c2VjcmV0"),
            ("accept-encoding", "gzip"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("expect", "100-continue"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-host", "evil.example"),
            ("forwarded", "for=10.0.0.1"),
            ("x-real-ip", "10.0.0.1"),
            ("host", "made.up"),
            ("accept", "application/json"),
            ("range", "bytes=0-"),
            ("docker-x", "kept"),
        ]);
        let sent = upward(&request, &origin);
        let expected = map(&[
            ("accept", "application/json"),
            ("range", "bytes=0-"),
            ("docker-x", "kept"),
            ("host", "registry.example.com:8443"),
            ("x-real-ip", "192.0.2.7"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-by", "192.0.2.1:8443"),
            ("x-forwarded-proto", "https"),
        ]);
        assert_eq!(sent, expected);
    }

    #[test]
    fn several_accept_headers_stay_several() {
        let mut request = map(&[("accept", "a/b")]);
        request.append("accept", HeaderValue::from_static("c/d"));
        let origin = Origin { client: None, local: None, secure: false, host: None };
        let sent = upward(&request, &origin);
        assert_eq!(sent.get_all("accept").iter().collect::<Vec<_>>(), ["a/b", "c/d"]);
    }

    #[test]
    fn a_client_gets_no_challenge_and_no_framing_of_another_connection() {
        let upstream = map(&[
            ("www-authenticate", "Bearer realm=\"https://evil.example/token\""),
            ("proxy-authenticate", "Basic"),
            ("set-cookie", "a=b"),
            ("connection", "close"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("trailer", "x"),
            ("location", "http://upstream:5000/v2/"),
            ("link", "<http://upstream:5000/v2/_catalog>; rel=\"next\""),
            ("server", "docker"),
            ("content-type", "application/json"),
            ("retry-after", "5"),
            ("ratelimit-remaining", "3;w=60"),
            ("docker-content-digest", "sha256:aa"),
        ]);
        let mut answer = HeaderMap::new();
        downward(&upstream, &mut answer);
        let expected = map(&[
            ("content-type", "application/json"),
            ("retry-after", "5"),
            ("ratelimit-remaining", "3;w=60"),
            ("docker-content-digest", "sha256:aa"),
        ]);
        assert_eq!(answer, expected);
    }
}
