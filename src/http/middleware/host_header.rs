//! The host of a request: exactly one valid `Host`, or `:authority` in HTTP/2.

use hyper::Version;
use hyper::header::{HOST, HeaderMap, HeaderValue};
use hyper::http::uri::Authority;

/// The request has no host, or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadHost;

/// Checks the host of a request and leaves it in the `Host` header, whichever way it was sent.
///
/// HTTP/1.1 needs one `Host` (RFC 9112 section 3.2); HTTP/1.0 may have none. An authority in the request
/// target replaces it (RFC 9112 section 3.2.2, RFC 9113 section 8.3.1), so that HTTP/2 needs no header.
pub(crate) fn check<B>(request: &mut hyper::Request<B>) -> Result<(), BadHost> {
    let mut values = request.headers().get_all(HOST).iter();
    let (first, second) = (values.next(), values.next());
    let is_http2 = request.version() == Version::HTTP_2;
    if second.is_some() && !is_http2 || !first.is_none_or(is_valid) {
        return Err(BadHost);
    }
    if first.is_none() && request.version() == Version::HTTP_11 {
        return Err(BadHost);
    }
    if let Some(authority) = request.uri().authority() {
        let host = without_userinfo(authority).try_into().map_err(|_| BadHost)?;
        request.headers_mut().insert(HOST, host);
    } else if is_http2 && (first.is_none() || second.is_some()) {
        return Err(BadHost);
    }
    Ok(())
}

/// Whether the headers name at most one host, and a valid one.
pub(crate) fn is_unambiguous(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(HOST).iter();
    values.next().is_none_or(is_valid) && values.next().is_none()
}

/// `uri-host [":" port]`. It may be empty, where the target has no authority. A comma joins two hosts, as a
/// proxy may do.
fn is_valid(value: &HeaderValue) -> bool {
    if is_plain(value.as_bytes()) {
        return true;
    }
    let Ok(text) = value.to_str() else { return false };
    text.is_empty() || text.parse::<Authority>().is_ok_and(|host| !host.as_str().contains(['@', ',']))
}

/// Whether a host is a name or an IPv4 address with or without a port, as nearly all are. Parsing an
/// [`Authority`] allocates, and every request has a host.
fn is_plain(host: &[u8]) -> bool {
    let name = host.iter().position(|byte| *byte == b':').unwrap_or(host.len());
    let (name, port) = host.split_at(name);
    !name.is_empty()
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
        && (port.is_empty() || port.len() > 1 && port[1..].iter().all(u8::is_ascii_digit))
}

fn without_userinfo(authority: &Authority) -> &str {
    authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(version: Version, target: &str, hosts: &[&str]) -> Option<String> {
        let mut request = hyper::Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let mut request = request.body(()).unwrap();
        check(&mut request).ok()?;
        let mut values = request.headers().get_all(HOST).iter();
        let value = values.next().map_or("", |value| value.to_str().unwrap()).to_owned();
        assert!(values.next().is_none());
        Some(value)
    }

    #[test]
    fn host_in_http1_is_exactly_one() {
        let ok = |text: &str| Some(text.to_owned());
        assert_eq!(checked(Version::HTTP_11, "/v2/", &["a.example:80"]), ok("a.example:80"));
        assert_eq!(checked(Version::HTTP_11, "/v2/", &["[::1]:5000"]), ok("[::1]:5000"));
        assert_eq!(checked(Version::HTTP_11, "/v2/", &[""]), ok(""));
        assert_eq!(checked(Version::HTTP_11, "http://b/v2/", &["a"]), ok("b"));
        assert_eq!(checked(Version::HTTP_10, "/v2/", &[]), ok(""));
        for hosts in [&[][..], &["a", "a"], &["a", "b"], &["a b"], &["a/b"], &["user@a"], &["a,b"]] {
            assert_eq!(checked(Version::HTTP_11, "/v2/", hosts), None, "{hosts:?}");
        }
        assert_eq!(checked(Version::HTTP_10, "/v2/", &["a", "b"]), None);
    }

    proptest::proptest! {
        #[test]
        fn plain_host_is_a_valid_authority(host in "[a-zA-Z0-9.-]{0,12}(:[0-9]{0,7})?|[ -~]{0,12}") {
            let plain = is_plain(host.as_bytes());
            proptest::prop_assert!(!plain || host.parse::<Authority>().is_ok(), "{host}");
        }
    }

    #[test]
    fn host_in_http2_may_be_the_authority() {
        let ok = |text: &str| Some(text.to_owned());
        assert_eq!(checked(Version::HTTP_2, "https://a.example/v2/", &[]), ok("a.example"));
        assert_eq!(checked(Version::HTTP_2, "https://a.example/v2/", &["b", "c"]), ok("a.example"));
        assert_eq!(checked(Version::HTTP_2, "/v2/", &["a.example"]), ok("a.example"));
        assert_eq!(checked(Version::HTTP_2, "/v2/", &[]), None);
        assert_eq!(checked(Version::HTTP_2, "/v2/", &["a", "b"]), None);
    }
}
