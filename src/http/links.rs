//! Links: URLs of this registry in `Location` and `Link` headers.

use std::fmt;
use std::sync::Arc;

use hyper::header::HeaderValue;
use oci::{Digest, RepositoryName};
use uuid::Uuid;

use crate::http::middleware::client_info::ClientInfo;

/// Makes URLs. Without `external_url` they are relative, because the registry cannot know how a proxy is
/// called, and a wrong guess sends clients elsewhere. A trusted proxy may name a path prefix. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    base: Arc<str>,
}

impl Links {
    /// Makes links below `base`, or relative ones if it is empty.
    pub(crate) fn new(base: &str) -> Self {
        Self { base: base.trim_end_matches('/').into() }
    }

    /// Returns the URL of a path.
    pub(crate) fn absolute(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) fn blob(&self, repository: &RepositoryName, digest: &Digest) -> HeaderValue {
        self.header(format_args!("/v2/{repository}/blobs/{digest}"))
    }

    pub(crate) fn manifest(&self, repository: &RepositoryName, digest: &Digest) -> HeaderValue {
        self.header(format_args!("/v2/{repository}/manifests/{digest}"))
    }

    pub(crate) fn upload(&self, repository: &RepositoryName, id: Uuid) -> HeaderValue {
        self.header(format_args!("/v2/{repository}/blobs/uploads/{id}"))
    }

    fn header(&self, path: fmt::Arguments<'_>) -> HeaderValue {
        let address = format!("{}{path}", self.base);
        HeaderValue::try_from(address)
            .expect("names, digests and UUIDs are visible ASCII, and so is a checked URL")
    }
}

/// The base of links, from which each client gets its own.
#[derive(Debug)]
pub(crate) struct LinkBase {
    /// Links without a path prefix.
    links: Links,
    has_external_url: bool,
}

impl LinkBase {
    pub(crate) fn new(external_url: Option<&str>) -> Self {
        Self { links: Links::new(external_url.unwrap_or_default()), has_external_url: external_url.is_some() }
    }

    /// Links for a client: with the external URL, or with the path prefix that a proxy names.
    pub(crate) fn of(&self, client: &ClientInfo) -> Links {
        if self.has_external_url || client.prefix.is_empty() {
            self.links.clone()
        } else {
            Links::new(&client.prefix)
        }
    }

    /// The external URL, if it is set.
    pub(crate) fn external_url(&self) -> Option<String> {
        self.has_external_url.then(|| self.links.absolute(""))
    }
}

#[cfg(test)]
mod tests {
    use oci::Algorithm;

    use super::*;

    #[test]
    fn links_are_relative_by_default() {
        let (name, digest) = ("a/b".parse().unwrap(), Algorithm::Sha256.digest(b""));
        let relative = Links::new("");
        assert_eq!(relative.blob(&name, &digest), format!("/v2/a/b/blobs/{digest}").as_str());
        let absolute = Links::new("https://example.com/registry/");
        assert_eq!(
            absolute.manifest(&name, &digest),
            format!("https://example.com/registry/v2/a/b/manifests/{digest}").as_str()
        );
        let id = Uuid::new_v4();
        assert_eq!(relative.upload(&name, id), format!("/v2/a/b/blobs/uploads/{id}").as_str());
    }
}
