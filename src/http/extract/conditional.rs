//! Conditional requests: the `ETag` of content with a digest, `If-None-Match` and `If-Range`.

use std::fmt::Write;

use bytes::{BufMut, Bytes, BytesMut};
use hyper::header::{CACHE_CONTROL, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, IF_RANGE};
use oci::Digest;

use crate::http::response::DOCKER_CONTENT_DIGEST;

/// Content addressed by digest never changes. A shared cache may store content that anyone may pull; see
/// [`keep_private`].
pub(crate) const IMMUTABLE: HeaderValue = HeaderValue::from_static("max-age=31536000, immutable");
const IMMUTABLE_PRIVATE: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");
/// Content addressed by tag may be cached, but must be revalidated.
pub(crate) const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

/// The common headers of content with a digest: digest, entity tag and cache control.
pub(crate) struct Validators {
    etag: HeaderValue,
    digest: HeaderValue,
    cache_control: HeaderValue,
}

impl Validators {
    pub(crate) fn new(digest: &Digest, cache_control: HeaderValue) -> Self {
        // One buffer for both: the digest is a part of the entity tag.
        let mut quoted = BytesMut::with_capacity(2 + 7 + 128);
        quoted.put_u8(b'"');
        let _ = write!(quoted, "{digest}");
        quoted.put_u8(b'"');
        let quoted = quoted.freeze();
        let inner = quoted.slice(1..quoted.len() - 1);
        let value = |bytes: Bytes| HeaderValue::from_maybe_shared(bytes).expect("a digest is visible ASCII");
        Self { etag: value(quoted), digest: value(inner), cache_control }
    }

    /// Whether the client has this content already (`If-None-Match`, RFC 9110 section 13.1.2).
    pub(crate) fn are_known(&self, request: &HeaderMap) -> bool {
        names(request, IF_NONE_MATCH, &self.etag, Comparison::Weak)
    }

    /// Whether a requested range applies to this content: `If-Range` is missing or has its entity tag. A date
    /// never matches, because no answer has a `Last-Modified`.
    pub(crate) fn allow_range(&self, request: &HeaderMap) -> bool {
        // The comparison is the strong one.
        request.get(IF_RANGE).is_none_or(|tag| *tag == self.etag)
    }

    pub(crate) fn write(self, headers: &mut HeaderMap) {
        headers.insert(DOCKER_CONTENT_DIGEST, self.digest);
        headers.insert(ETAG, self.etag);
        headers.insert(CACHE_CONTROL, self.cache_control);
    }
}

/// Marks a response to a caller with an account as private. RFC 9111 section 3.5 forbids shared caches to
/// store it, but nginx with `proxy_cache` does.
pub(crate) fn keep_private(headers: &mut HeaderMap) {
    let Some(cache_control) = headers.get(CACHE_CONTROL) else { return };
    let private = if *cache_control == IMMUTABLE {
        IMMUTABLE_PRIVATE
    } else {
        let text = cache_control.to_str().unwrap_or("no-store");
        if ["private", "public", "no-store", "no-cache"].iter().any(|word| text.contains(word)) {
            return;
        }
        HeaderValue::try_from(format!("private, {text}")).unwrap_or(IMMUTABLE_PRIVATE)
    };
    headers.insert(CACHE_CONTROL, private);
}

/// The comparison of entity tags (RFC 9110 section 8.8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Weak,
    Strong,
}

/// Whether a header that lists entity tags names `etag`.
pub(crate) fn names(
    headers: &HeaderMap,
    header: HeaderName,
    etag: &HeaderValue,
    comparison: Comparison,
) -> bool {
    headers.get_all(header).iter().any(|listed| {
        let listed = listed.as_bytes();
        listed == b"*"
            || listed.split(|byte| *byte == b',').any(|tag| {
                let tag = tag.trim_ascii();
                let tag = match comparison {
                    Comparison::Weak => tag.strip_prefix(b"W/").unwrap_or(tag),
                    Comparison::Strong => tag,
                };
                tag == etag.as_bytes()
            })
    })
}

#[cfg(test)]
mod tests {
    use oci::Algorithm;

    use super::*;

    fn validators() -> Validators {
        Validators::new(&Algorithm::Sha256.digest(b"x"), IMMUTABLE)
    }

    fn request(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn if_none_match_knows_the_content() {
        let digest = Algorithm::Sha256.digest(b"x");
        for known in [
            format!("\"{digest}\""),
            format!("W/\"{digest}\""),
            "*".to_owned(),
            format!("\"other\", W/\"weak\" ,\"{digest}\""),
        ] {
            assert!(validators().are_known(&request(IF_NONE_MATCH, &known)), "{known}");
        }
        for unknown in [format!("{digest}"), "\"other\"".to_owned(), String::new(), "\"*\"".to_owned()] {
            assert!(!validators().are_known(&request(IF_NONE_MATCH, &unknown)), "{unknown}");
        }
        assert!(!validators().are_known(&HeaderMap::new()));
    }

    #[test]
    fn range_needs_the_very_same_content() {
        let digest = Algorithm::Sha256.digest(b"x");
        assert!(validators().allow_range(&HeaderMap::new()));
        assert!(validators().allow_range(&request(IF_RANGE, &format!("\"{digest}\""))));
        assert!(!validators().allow_range(&request(IF_RANGE, &format!("W/\"{digest}\""))));
        assert!(!validators().allow_range(&request(IF_RANGE, "Wed, 21 Oct 2015 07:28:00 GMT")));
    }
}
