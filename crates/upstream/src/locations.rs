//! `Location` and `Link` headers of an upstream.
//!
//! An upstream writes URLs with the host that it believes to have, which clients may not know. So a URL is
//! never patched: it is parsed into its meaning, and the caller writes a new one.

use hyper::Uri;
use hyper::header::{HeaderMap, LINK, LOCATION};
use oci::{Digest, RepositoryName, TagOrDigest};
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use crate::upstream::Upstream;

/// The meaning of a `Location`.
#[derive(Debug, PartialEq, Eq)]
pub enum Location {
    /// An upload in progress, with its query unchanged.
    Upload(RepositoryName, Uuid, Option<String>),
    Blob(RepositoryName, Digest),
    Manifest(RepositoryName, TagOrDigest),
    /// A URL of another server, such as an object store.
    Foreign,
}

/// Parses the `Location` of a response; `None` without one.
///
/// # Errors
/// A description of a value that has no meaning in the protocol.
pub fn location(upstream: &Upstream, headers: &HeaderMap) -> Result<Option<Location>, String> {
    let Some(value) = headers.get(LOCATION) else { return Ok(None) };
    let text = value.to_str().map_err(|_| "its Location is not ASCII".to_owned())?;
    parse(upstream, text).map(Some).ok_or_else(|| format!("its Location is {text}"))
}

fn parse(upstream: &Upstream, text: &str) -> Option<Location> {
    // `//host/path` names another host, although it looks like a path.
    if text.starts_with("//") {
        return None;
    }
    let uri: Uri = text.parse().ok()?;
    // The host is ignored: an upstream may be configured with any external name.
    let path = upstream.strip_prefix(uri.path()).unwrap_or(uri.path());
    parse_path(path, uri.query()).or_else(|| {
        let is_foreign = matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|authority| authority != upstream.authority());
        is_foreign.then_some(Location::Foreign)
    })
}

/// Parses a path from its right end, because a repository name may contain `blobs` and `manifests`.
fn parse_path(path: &str, query: Option<&str>) -> Option<Location> {
    let decoded = percent_decode_str(path).decode_utf8().ok()?;
    let (before, last) = decoded.strip_prefix("/v2/")?.rsplit_once('/')?;
    if let Some(name) = before.strip_suffix("/manifests") {
        return Some(Location::Manifest(name.parse().ok()?, last.parse().ok()?));
    }
    if let Some(name) = before.strip_suffix("/blobs/uploads") {
        return Some(Location::Upload(name.parse().ok()?, parse_uuid(last)?, query.map(str::to_owned)));
    }
    let name = before.strip_suffix("/blobs")?;
    Some(Location::Blob(name.parse().ok()?, last.parse().ok()?))
}

/// Parses a UUID in its canonical form only, so that each upload has one URL.
fn parse_uuid(text: &str) -> Option<Uuid> {
    let id: Uuid = text.parse().ok()?;
    let is_canonical = id.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text;
    is_canonical.then_some(id)
}

/// Returns the query of the `Link` to the next page.
#[must_use]
pub fn next_page(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(LINK)?.to_str().ok()?;
    let (url, relation) = text.strip_prefix('<')?.split_once('>')?;
    if !relation.to_ascii_lowercase().contains("rel=\"next\"") && !relation.contains("rel=next") {
        return None;
    }
    url.split_once('?').map(|(_, query)| query.to_owned())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use oci::Algorithm;

    use super::*;
    use crate::credentials::CredentialStore;

    fn upstream() -> Upstream {
        let url = "http://registry:5000/mirror".parse().unwrap();
        Upstream::new(0, &url, CredentialStore::default()).unwrap()
    }

    #[test]
    fn location_ignores_the_host() {
        let id = Uuid::new_v4();
        let name: RepositoryName = "team/app".parse().unwrap();
        let path = format!("/v2/team/app/blobs/uploads/{id}?_state=a%2Bb%3D&x=1");
        let upload = Location::Upload(name.clone(), id, Some("_state=a%2Bb%3D&x=1".to_owned()));
        for base in ["", "http://registry:5000/mirror", "/mirror", "https://public.example", "http://[::1]:1"]
        {
            assert_eq!(parse(&upstream(), &format!("{base}{path}")).as_ref(), Some(&upload), "{base}");
        }
        let digest = Algorithm::Sha256.digest(b"");
        for digest_text in [digest.to_string(), digest.to_string().replace(':', "%3A")] {
            let url = format!("http://registry:5000/mirror/v2/team/app/blobs/{digest_text}");
            assert_eq!(parse(&upstream(), &url), Some(Location::Blob(name.clone(), digest)), "{url}");
        }
        let manifest = parse(&upstream(), "/v2/team/app/manifests/blobs");
        assert_eq!(manifest, Some(Location::Manifest(name, "blobs".parse().unwrap())));
    }

    #[test]
    fn location_without_a_meaning_is_rejected() {
        assert_eq!(parse(&upstream(), "https://storage.example/ab?signature=1"), Some(Location::Foreign));
        for text in [
            "",
            "//storage.example/x",
            "/somewhere",
            "http://registry:5000/somewhere",
            "ftp://storage.example/x",
            "javascript:alert(1)",
            "/v2/team/app/blobs/uploads/",
            "/v2/team/app/blobs/uploads/../../x",
            "/v2/team/app/blobs/uploads/6F1A2F7E-0000-4000-8000-000000000000",
            "/v2/Team/app/blobs/uploads/6f1a2f7e-0000-4000-8000-000000000000",
        ] {
            assert_eq!(parse(&upstream(), text), None, "{text}");
        }
    }

    #[test]
    fn next_page_is_the_query_of_the_link() {
        let query = |link: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, HeaderValue::from_static(link));
            next_page(&headers)
        };
        let next = Some("last=a&n=2".to_owned());
        assert_eq!(query("</v2/_catalog?last=a&n=2>; rel=\"next\""), next);
        assert_eq!(query("<http://r:5000/v2/_catalog?last=a&n=2>; rel=\"next\""), next);
        assert_eq!(query("</v2/_catalog?last=a&n=2>; rel=\"prev\""), None);
        assert_eq!(query("</v2/_catalog>; rel=\"next\""), None);
        assert_eq!(query("nonsense"), None);
    }
}
