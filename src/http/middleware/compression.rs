//! Compression of pages and assets with gzip.
//!
//! A page holds secrets, such as the token of its forms, beside text that a link chooses, such as a search.
//! Over TLS, the length of a compressed page tells a listener about the secrets, if another site can cause
//! requests (BREACH). So a page is compressed only if it was requested by its own origin or by the reader
//! (`Sec-Fetch-Site`), or without TLS. Assets hold no secrets.

use std::io::Write as _;

use flate2::write::GzEncoder;
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, VARY,
};

use crate::http::body::Body;
use crate::http::extract::endpoint::Endpoint;
use crate::http::middleware::client_info::ClientInfo;
use crate::http::response::Response;

/// The smallest body that is compressed, in bytes.
const LEAST: usize = 1024;
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const COMPRESSIBLE: [&str; 4] = ["text/html", "text/css", "text/javascript", "image/svg+xml"];

/// Whether a response to a browser may be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    /// Neither now nor for another request.
    Never,
    /// The answer to another request may be, so that caches must tell the two apart.
    NotNow,
    Gzip,
}

impl Compression {
    /// `endpoint` is that of a page. `None` for an address that is no page, which is answered with an error
    /// page.
    pub(crate) fn of(headers: &HeaderMap, client: &ClientInfo, endpoint: Option<&Endpoint>) -> Self {
        let is_safe = match endpoint {
            Some(Endpoint::PageFile(..)) => return Self::Never,
            Some(Endpoint::PageAsset(_)) => true,
            _ => match headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes) {
                Some(site) => matches!(site, b"same-origin" | b"none"),
                None => !client.secure,
            },
        };
        if is_safe && accepts_gzip(headers) { Self::Gzip } else { Self::NotNow }
    }

    /// Compresses the body of a response, if it is text in memory.
    pub(crate) fn apply(self, response: &mut Response) {
        let kind =
            response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let Some(text) = response.body().text() else { return };
        if self == Self::Never
            || text.len() < LEAST
            || !COMPRESSIBLE.contains(&kind.split(';').next().unwrap_or_default())
            || response.headers().contains_key(CONTENT_ENCODING)
        {
            return;
        }
        let compressed = (self == Self::Gzip).then(|| gzip(text)).flatten();
        let headers = response.headers_mut();
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding, Sec-Fetch-Site"));
        if let Some(compressed) = compressed {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            *response.body_mut() = Body::full(compressed);
        }
    }
}

fn gzip(text: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 4), flate2::Compression::new(4));
    encoder.write_all(text).and_then(|()| encoder.finish()).ok()
}

/// Whether `Accept-Encoding` names gzip (RFC 9110, section 12.5.3).
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().unwrap_or_default().eq_ignore_ascii_case("gzip");
        is_gzip && !parts.any(|part| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0_f32)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    fn client(secure: bool) -> ClientInfo {
        let mut client = ClientInfo::local();
        client.secure = secure;
        client
    }

    #[test]
    fn gzip_must_be_named_in_accept_encoding() {
        for (value, accepts) in [
            ("gzip, deflate, br, zstd", true),
            ("br;q=1.0, GZIP;q=0.8", true),
            ("gzip;q=0, br", false),
            ("br", false),
            ("xgzip", false),
        ] {
            assert_eq!(accepts_gzip(&headers(&[(ACCEPT_ENCODING, value)])), accepts, "{value}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn page_of_another_site_is_not_compressed() {
        let asset = Endpoint::PageAsset("style.css".to_owned());
        let page = Endpoint::PageHome;
        for (site, secure, endpoint, expected) in [
            (Some("same-origin"), true, &page, Compression::Gzip),
            (Some("none"), true, &page, Compression::Gzip),
            (Some("cross-site"), true, &page, Compression::NotNow),
            (Some("same-site"), true, &page, Compression::NotNow),
            // A proxy that is not trusted may speak TLS.
            (Some("cross-site"), false, &page, Compression::NotNow),
            (None, true, &page, Compression::NotNow),
            (None, false, &page, Compression::Gzip),
            (Some("cross-site"), true, &asset, Compression::Gzip),
        ] {
            let mut request = headers(&[(ACCEPT_ENCODING, "gzip, br")]);
            request.extend(site.map(|site| (SEC_FETCH_SITE, HeaderValue::from_static(site))));
            let found = Compression::of(&request, &client(secure), Some(endpoint));
            assert_eq!(found, expected, "{site:?} {secure} {endpoint:?}");
        }
        let plain = Compression::of(&HeaderMap::new(), &client(false), Some(&page));
        assert_eq!(plain, Compression::NotNow);
    }
}
