//! The headers that the gateway forwards in either direction.
//!
//! Both directions have an allow list. The registry protocol has few headers. All others stay here:
//! credentials, cookies, `X-Forwarded-*` of clients, hop-by-hop headers and unknown ones. The framing of a
//! request (`Content-Length`, `Transfer-Encoding`) is never copied: the client library derives it from the
//! body.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::{self, HOST, HeaderName, HeaderValue};

const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_FORWARDED_BY: HeaderName = HeaderName::from_static("x-forwarded-by");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Forwarded request headers. `Accept-Encoding` is missing, because compressed content would not match its
/// digest.
const REQUEST_HEADERS: [HeaderName; 11] = [
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

/// Forwarded response headers, besides [`PREFIXES`]. `Location` and `Link` are missing, because they are
/// rewritten. `WWW-Authenticate` is missing, because clients authenticate at the gateway only.
const RESPONSE_HEADERS: [HeaderName; 16] = [
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

/// Prefixes of forwarded headers: the protocol's own, and rate limits.
const PREFIXES: [&str; 4] = ["docker-", "oci-", "ratelimit-", "x-ratelimit-"];

fn has_known_prefix(name: &HeaderName) -> bool {
    PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix))
}

/// The client's connection, for the `X-Forwarded-*` headers.
pub(super) struct Origin<'a> {
    pub(super) client: Option<IpAddr>,
    /// The gateway's address of the connection.
    pub(super) local: Option<SocketAddr>,
    pub(super) is_tls: bool,
    /// The `Host` header to send.
    pub(super) host: Option<&'a HeaderValue>,
}

/// The headers of a request to the upstream.
pub(super) fn request_headers(request: &HeaderMap, origin: &Origin<'_>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(12);
    for name in &REQUEST_HEADERS {
        for value in request.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    for (name, value) in request {
        if has_known_prefix(name) {
            headers.append(name, value.clone());
        }
    }
    if let Some(host) = origin.host {
        headers.insert(HOST, host.clone());
    }
    let mut insert = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    if let Some(client) = origin.client {
        insert(X_REAL_IP, client.to_string());
        insert(X_FORWARDED_FOR, client.to_string());
    }
    if let Some(local) = origin.local {
        insert(X_FORWARDED_BY, local.to_string());
    }
    insert(X_FORWARDED_PROTO, if origin.is_tls { "https" } else { "http" }.to_owned());
    headers
}

/// The headers of a response to the client.
pub(super) fn response_headers(upstream: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(upstream.len());
    for (name, value) in upstream {
        if RESPONSE_HEADERS.contains(name) || has_known_prefix(name) {
            headers.append(name, value.clone());
        }
    }
    headers
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
    fn request_has_no_credentials_or_forged_headers() {
        let host = HeaderValue::from_static("registry.example.com:8443");
        let origin = Origin {
            client: Some([192, 0, 2, 7].into()),
            local: Some(([192, 0, 2, 1], 8443).into()),
            is_tls: true,
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
        let sent = request_headers(&request, &origin);
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
    fn repeated_accept_headers_are_forwarded() {
        let mut request = map(&[("accept", "a/b")]);
        request.append("accept", HeaderValue::from_static("c/d"));
        let origin = Origin { client: None, local: None, is_tls: false, host: None };
        let sent = request_headers(&request, &origin);
        assert_eq!(sent.get_all("accept").iter().collect::<Vec<_>>(), ["a/b", "c/d"]);
    }

    #[test]
    fn response_has_no_challenge_or_framing() {
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
        let headers = response_headers(&upstream);
        let expected = map(&[
            ("content-type", "application/json"),
            ("retry-after", "5"),
            ("ratelimit-remaining", "3;w=60"),
            ("docker-content-digest", "sha256:aa"),
        ]);
        assert_eq!(headers, expected);
    }
}
