//! Checks for fuzzing: each reads arbitrary text and panics if a promise of the parser is broken.
//!
//! `fuzz/src/lib.rs` calls them from its targets, and `tests/fuzz_seeds.rs` with the seeds of the targets.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use hyper::Uri;
use hyper::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};
pub use registry::access::fuzzing::{bearer, htpasswd};

use crate::config;
use crate::http::extract::endpoint::Endpoint;
use crate::http::extract::query::Query;
use crate::http::extract::range::{Ranged, parse_chunk_range, parse_range};
use crate::http::middleware::client_info::Proxies;

/// A path is the same endpoint in every percent-encoding.
pub fn path(text: &str) {
    let endpoint = Endpoint::parse(text);
    let Ok(found) = &endpoint else { return };
    assert!(!found.methods().is_empty() && !found.label().is_empty());
    if text.contains('%') {
        return;
    }
    let encoded = text.bytes().fold(String::new(), |mut encoded, byte| {
        write!(encoded, "%{byte:02X}").expect("a string takes any text");
        encoded
    });
    assert_eq!(Endpoint::parse(&encoded), endpoint);
}

/// A range lies within the content, and a chunk has its bytes in order.
pub fn range(text: &str) {
    for size in [0, 1, 1000, u64::MAX] {
        if let Ranged::Part(part) = parse_range(text, size) {
            assert!(part.start < part.end && part.end <= size);
        }
    }
    if let Some(chunk) = parse_chunk_range(text) {
        assert!(chunk.first <= chunk.last && chunk.last < u64::MAX);
    }
}

/// Forwarding headers never count from an untrusted peer. From a trusted one they give a valid base URL.
///
/// The text has one header a line: the first character selects the name, the rest is the value.
pub fn forwarded(text: &str) {
    let mut headers = HeaderMap::new();
    for line in text.lines() {
        let Some((name, value)) = line.split_at_checked(1) else { continue };
        let name = match name {
            "f" => HeaderName::from_static("x-forwarded-for"),
            "p" => HeaderName::from_static("x-forwarded-proto"),
            "h" => HeaderName::from_static("x-forwarded-host"),
            "x" => HeaderName::from_static("x-forwarded-prefix"),
            "r" => HeaderName::from_static("x-real-ip"),
            _ => FORWARDED,
        };
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.append(name, value);
        }
    }
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let untrusted = Proxies::default().resolve(peer, false, &headers);
    assert!(
        untrusted.address == peer
            && untrusted.prefix.is_empty()
            && untrusted.base(headers.get("host")).is_none()
    );
    let trusted = Proxies::new(vec![peer.into()]).resolve(peer, false, &headers);
    assert!(trusted.prefix.is_empty() || trusted.prefix.starts_with('/') && !trusted.prefix.ends_with('/'));
    if let Some(base) = trusted.base(headers.get("host")) {
        base.parse::<Uri>().expect("the base is a URL");
    }
}

/// Reading the parameters of a query never fails other than with an error.
pub fn query(text: &str) {
    let query = Query::new(Some(text));
    assert_eq!(query.get("n"), query.all("n").next());
    if let Ok(Some(digest)) = query.digest("digest") {
        assert_eq!(query.get("digest"), Some(digest.to_string().into()));
    }
    // Errors are correct as well, whatever the value is.
    let _ = (query.number("n"), query.truth("referrers"));
}

/// The mistakes of a configuration file name existing lines, and their texts can be printed.
pub fn configuration(text: &str) {
    for mistake in config::mistakes_of_file(text) {
        let _ = mistake.details();
        if let Some(excerpt) = &mistake.excerpt {
            assert!(excerpt.line >= 1 && excerpt.line <= text.matches('\n').count() + 1);
            assert!(excerpt.column >= 1);
        }
    }
}
