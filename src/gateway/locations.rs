//! Addresses in an upstream's answers, turned into ours.
//!
//! An upstream writes addresses as it thinks it is called, which may be by a name that no client knows. So an address
//! is never patched: it is read as what it means, of which there are a few kinds, and written anew. What means
//! nothing here is not passed on.

use hyper::Uri;
use hyper::header::{HeaderMap, HeaderValue, LINK, LOCATION};
use oci::{Digest, RepositoryName, TagOrDigest};
use uuid::Uuid;

use super::upstream::Upstream;
use crate::http::extract::endpoint::Endpoint;

/// What an address of an upstream stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// An upload that can be gone on with, and the query that goes with it, whole.
    Upload(RepositoryName, Uuid, Option<String>),
    /// A blob.
    Blob(RepositoryName, Digest),
    /// A manifest.
    Manifest(RepositoryName, TagOrDigest),
    /// Another server's address.
    Foreign,
}

/// What the `Location` of an answer stands for; `None` without one, an error if it is none that means anything.
pub(super) fn of(upstream: &Upstream, headers: &HeaderMap) -> Result<Option<Place>, String> {
    let Some(value) = headers.get(LOCATION) else { return Ok(None) };
    let text = value.to_str().map_err(|_| "its Location is no text".to_owned())?;
    read(upstream, text).map(Some).ok_or_else(|| format!("its Location is {text}"))
}

fn read(upstream: &Upstream, text: &str) -> Option<Place> {
    // `//host/path` names another host, whatever a reader in a hurry takes it for.
    if text.starts_with("//") {
        return None;
    }
    let uri: Uri = text.parse().ok()?;
    // Its host says nothing: behind a gateway it may be told to call itself whatever it likes.
    let path = upstream.without_prefix(uri.path()).unwrap_or(uri.path());
    let place = match Endpoint::parse(path) {
        Ok(Endpoint::Upload(name, id)) => Place::Upload(name, id, uri.query().map(str::to_owned)),
        Ok(Endpoint::Blob(name, digest)) => Place::Blob(name, digest),
        Ok(Endpoint::Manifest(name, target)) => Place::Manifest(name, target),
        _ => {
            let is_foreign = matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.authority().is_some_and(|authority| authority != upstream.authority());
            return is_foreign.then_some(Place::Foreign);
        }
    };
    Some(place)
}

/// The query of the `Link` to the next page, if there is one.
pub(super) fn next_page(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(LINK)?.to_str().ok()?;
    let (address, relation) = text.strip_prefix('<')?.split_once('>')?;
    if !relation.to_ascii_lowercase().contains("rel=\"next\"") && !relation.contains("rel=next") {
        return None;
    }
    address.split_once('?').map(|(_, query)| query.to_owned())
}

/// A `Link` to the next page at an address of ours.
pub(super) fn link(address: &str, query: &str) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("<{address}?{query}>; rel=\"next\"")).ok()
}

#[cfg(test)]
mod tests {
    use oci::Algorithm;

    use super::super::credentials::CredentialStore;
    use super::*;

    fn upstream() -> Upstream {
        let url = "http://registry:5000/mirror".parse().unwrap();
        Upstream::new(0, &url, CredentialStore::default()).unwrap()
    }

    #[test]
    fn what_an_address_means_does_not_depend_on_its_host() {
        let id = Uuid::new_v4();
        let name: RepositoryName = "team/app".parse().unwrap();
        let path = format!("/v2/team/app/blobs/uploads/{id}?_state=a%2Bb%3D&x=1");
        let upload = Place::Upload(name.clone(), id, Some("_state=a%2Bb%3D&x=1".to_owned()));
        for base in ["", "http://registry:5000/mirror", "/mirror", "https://public.example", "http://[::1]:1"]
        {
            assert_eq!(read(&upstream(), &format!("{base}{path}")).as_ref(), Some(&upload), "{base}");
        }
        let digest = Algorithm::Sha256.digest(b"");
        let blob = read(&upstream(), &format!("http://registry:5000/mirror/v2/team/app/blobs/{digest}"));
        assert_eq!(blob, Some(Place::Blob(name, digest)));
    }

    #[test]
    fn addresses_elsewhere_are_known_as_such_and_nonsense_is_none() {
        assert_eq!(read(&upstream(), "https://storage.example/ab?signature=1"), Some(Place::Foreign));
        for nonsense in [
            "",
            "//storage.example/x",
            "/somewhere",
            "http://registry:5000/somewhere",
            "ftp://storage.example/x",
            "javascript:alert(1)",
            "/v2/team/app/blobs/uploads/../../x",
            "/v2/Team/app/blobs/uploads/6f1a2f7e-0000-4000-8000-000000000000",
        ] {
            assert_eq!(read(&upstream(), nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn the_next_page_is_the_query_of_a_link() {
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
