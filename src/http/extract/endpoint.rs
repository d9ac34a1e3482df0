//! Endpoints: what the path of a request asks for, parsed once.
//!
//! A repository name may have any number of components, and some of them may be spelt like the words of the
//! protocol (`a/manifests/b`, `blobs/uploads`). Below `/v2/` the words stand behind the name, so a path is read
//! from its right-hand end, where no name can be. Everything that follows (handler, methods, log label) is asked
//! of the [`Endpoint`], never of the path again.

use std::borrow::Cow;

use accounts::{AccountNameError, TeamNameError};
use hyper::Method;
use oci::digest::DigestError;
use oci::name::NameError;
use oci::reference::ReferenceError;
use oci::tag::TagError;
use oci::{Digest, RepositoryName, TagOrDigest};
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use crate::http::api::management::Management;

/// Makes the enum and all that is said of each of its variants from one table, so that no endpoint can be missing from the
/// list of all of them.
macro_rules! endpoints {
    ($($(#[$doc:meta])* $variant:ident $(($($part:ty),+))? = $label:literal, $path:literal, [$($method:ident),+];)+) => {
        /// What a path asks for.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) enum Endpoint {
            $($(#[$doc])* $variant $(($($part),+))?,)+
            /// The rest of `/api/v1/`: accounts and what they may do.
            Manage(Management),
        }

        impl Endpoint {
            const ALL: &[(&str, &[Method])] = &[$(($path, &[$(Method::$method),+]),)+];

            /// What logs call it: one word, whatever the repository.
            pub(crate) const fn label(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $label,)+
                    Self::Manage(resource) => resource.label(),
                }
            }

            /// The methods that it takes: what the `Allow` header of a 405 says.
            pub(crate) const fn methods(&self) -> &'static [Method] {
                match self {
                    $(Self::$variant { .. } => &[$(Method::$method),+],)+
                    Self::Manage(resource) => resource.methods(),
                }
            }
        }
    };
}

endpoints! {
    /// `/`: what this is, for people.
    Root = "root", "/", [GET, HEAD];
    /// Whether the process answers.
    Health = "health", "/healthz", [GET, HEAD];
    /// Whether the store behind it answers.
    Ready = "ready", "/readyz", [GET, HEAD];
    /// `/v1/_ping` and `/_ping`: what engines ask before they search.
    Ping = "ping", "/v1/_ping", [GET, HEAD];
    /// Repositories that match some words.
    Search = "search", "/v1/search", [GET, HEAD];
    /// Where clients get tokens for the protocol that they are asked to use.
    Token = "token", "/token", [GET, HEAD, POST];
    /// By which keys these tokens can be checked.
    Jwks = "jwks", "/.well-known/jwks.json", [GET, HEAD];
    /// What a proxy asks before it passes a request on: with the method of the request that it has, or with its own.
    Auth = "auth", "/auth", [GET, HEAD, POST, PUT, PATCH, DELETE];
    /// `/v2/`: whether this is a registry.
    Base = "base", "/v2/", [GET, HEAD];
    /// All repositories.
    Catalog = "catalog", "/v2/_catalog", [GET, HEAD];
    /// The tags of a repository.
    Tags(RepositoryName) = "tags", "/v2/{repository}/tags/list", [GET, HEAD];
    /// A manifest, by a tag or its digest.
    Manifest(RepositoryName, TagOrDigest) = "manifest", "/v2/{repository}/manifests/{reference}",
        [GET, HEAD, PUT, DELETE];
    /// A blob.
    Blob(RepositoryName, Digest) = "blob", "/v2/{repository}/blobs/{digest}", [GET, HEAD, DELETE];
    /// Where uploads begin.
    Uploads(RepositoryName) = "uploads", "/v2/{repository}/blobs/uploads/", [POST];
    /// One upload.
    Upload(RepositoryName, Uuid) = "upload", "/v2/{repository}/blobs/uploads/{upload}",
        [GET, HEAD, PATCH, PUT, DELETE];
    /// The manifests that refer to a digest.
    Referrers(RepositoryName, Digest) = "referrers", "/v2/{repository}/referrers/{digest}", [GET, HEAD];
    /// All repositories, with what is known of each.
    ApiRepositories = "api_repositories", "/api/v1/repositories", [GET, HEAD];
    /// One repository.
    ApiRepository(RepositoryName) = "api_repository", "/api/v1/repositories/{repository}", [GET, HEAD, DELETE];
    /// Its tags, with what is known of each. No component of a name begins with an underscore.
    ApiTags(RepositoryName) = "api_tags", "/api/v1/repositories/{repository}/_tags", [GET, HEAD];
    /// How much is stored.
    ApiUsage = "api_usage", "/api/v1/usage", [GET, HEAD];
    /// How much each repository takes.
    ApiRepositoryUsage = "api_repository_usage", "/api/v1/usage/repositories", [GET, HEAD];
}

/// Every path that is answered, with what is different in each request in braces, and its methods. For tests that walk
/// all of them.
pub fn routes() -> impl Iterator<Item = (&'static str, &'static [Method])> {
    Endpoint::ALL.iter().chain(Management::ALL).copied()
}

/// Why a path asks for nothing that there could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    /// No endpoint has such a path.
    #[error("there is nothing at this path; the API begins with /v2/ and /api/v1/")]
    NoSuchPath,
    /// The percent-encoding does not stand for text.
    #[error("the path is not UTF-8 when decoded")]
    Encoding,
    /// What stands where the repository's name should is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// What stands where a digest should is none.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// What stands where a tag or a digest should is neither.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// What stands where the name of an upload should was never made by this registry.
    #[error("there is no such upload")]
    Upload,
    /// What stands where the name of an account should is none.
    #[error(transparent)]
    Account(#[from] AccountNameError),
    /// What stands where the name of a team should is none.
    #[error(transparent)]
    Team(#[from] TeamNameError),
}

impl From<ReferenceError> for PathError {
    fn from(error: ReferenceError) -> Self {
        match error {
            ReferenceError::Digest(error) => Self::Digest(error),
            ReferenceError::Tag(error) => Self::Tag(error),
            // No other comes of reading a tag or a digest.
            _ => Self::NoSuchPath,
        }
    }
}

impl Endpoint {
    /// Reads a path as it stands in the request line. Percent-encoding is decoded here, once, and what comes out is
    /// judged as it is, so that no spelling gets around the rules for names.
    pub(crate) fn parse(path: &str) -> Result<Self, PathError> {
        if !path.contains('%') {
            return Self::parse_decoded(path);
        }
        let decoded: Cow<'_, str> =
            percent_decode_str(path).decode_utf8().map_err(|_| PathError::Encoding)?;
        Self::parse_decoded(&decoded)
    }

    fn parse_decoded(path: &str) -> Result<Self, PathError> {
        if let Some(rest) = path.strip_prefix("/v2/") {
            return Self::parse_v2(rest);
        }
        if let Some(rest) = path.strip_prefix("/api/v1/") {
            return Self::parse_api(rest);
        }
        match path {
            "/" => Ok(Self::Root),
            "/v2" => Ok(Self::Base),
            "/v1/_ping" | "/_ping" => Ok(Self::Ping),
            "/v1/search" => Ok(Self::Search),
            "/healthz" => Ok(Self::Health),
            "/readyz" => Ok(Self::Ready),
            "/token" => Ok(Self::Token),
            "/.well-known/jwks.json" => Ok(Self::Jwks),
            "/auth" | "/auth/" => Ok(Self::Auth),
            _ => Err(PathError::NoSuchPath),
        }
    }

    fn parse_v2(rest: &str) -> Result<Self, PathError> {
        match rest {
            "" => return Ok(Self::Base),
            "_catalog" => return Ok(Self::Catalog),
            _ => {}
        }
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return Ok(Self::Tags(name.parse()?));
        }
        if let Some(name) = rest.strip_suffix('/').unwrap_or(rest).strip_suffix("/blobs/uploads") {
            return Ok(Self::Uploads(name.parse()?));
        }
        let (before, last) = rest.rsplit_once('/').ok_or(PathError::NoSuchPath)?;
        if let Some(name) = before.strip_suffix("/manifests") {
            return Ok(Self::Manifest(name.parse()?, last.parse()?));
        }
        if let Some(name) = before.strip_suffix("/blobs/uploads") {
            return Ok(Self::Upload(name.parse()?, parse_upload(last)?));
        }
        if let Some(name) = before.strip_suffix("/blobs") {
            return Ok(Self::Blob(name.parse()?, last.parse()?));
        }
        if let Some(name) = before.strip_suffix("/referrers") {
            return Ok(Self::Referrers(name.parse()?, last.parse()?));
        }
        Err(PathError::NoSuchPath)
    }

    fn parse_api(rest: &str) -> Result<Self, PathError> {
        match rest {
            "repositories" => return Ok(Self::ApiRepositories),
            "usage" => return Ok(Self::ApiUsage),
            "usage/repositories" => return Ok(Self::ApiRepositoryUsage),
            _ => {}
        }
        let Some(name) = rest.strip_prefix("repositories/") else {
            return Management::parse(rest).map(Self::Manage);
        };
        match name.strip_suffix("/_tags") {
            Some(name) => Ok(Self::ApiTags(name.parse()?)),
            None => Ok(Self::ApiRepository(name.parse()?)),
        }
    }

    /// The repository that it is about, if it is about one.
    pub(crate) const fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Self::Tags(name)
            | Self::Manifest(name, _)
            | Self::Blob(name, _)
            | Self::Uploads(name)
            | Self::Upload(name, _)
            | Self::Referrers(name, _)
            | Self::ApiRepository(name)
            | Self::ApiTags(name) => Some(name),
            Self::Root
            | Self::Health
            | Self::Ready
            | Self::Ping
            | Self::Search
            | Self::Token
            | Self::Jwks
            | Self::Auth
            | Self::Base
            | Self::Catalog
            | Self::ApiRepositories
            | Self::ApiUsage
            | Self::ApiRepositoryUsage
            | Self::Manage(_) => None,
        }
    }

    /// Whether it belongs to the protocol of registries: what a proxy may pass on to another registry.
    pub(crate) const fn is_protocol(&self) -> bool {
        matches!(
            self,
            Self::Base
                | Self::Catalog
                | Self::Tags(..)
                | Self::Manifest(..)
                | Self::Blob(..)
                | Self::Uploads(..)
                | Self::Upload(..)
                | Self::Referrers(..)
                | Self::Search
                | Self::Ping
        )
    }

    /// Whether the answer needs content, and not names and accounts alone: what a gateway does not have itself.
    pub(crate) const fn is_content(&self) -> bool {
        matches!(
            self,
            Self::Tags(..)
                | Self::Manifest(..)
                | Self::Blob(..)
                | Self::Uploads(..)
                | Self::Upload(..)
                | Self::Referrers(..)
                | Self::ApiRepository(..)
                | Self::ApiTags(..)
                | Self::ApiUsage
                | Self::ApiRepositoryUsage
        )
    }
}

/// The name of an upload in the one spelling that this registry gives out.
fn parse_upload(text: &str) -> Result<Uuid, PathError> {
    let id: Uuid = text.parse().map_err(|_| PathError::Upload)?;
    let canonical = id.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text;
    if canonical { Ok(id) } else { Err(PathError::Upload) }
}

#[cfg(test)]
mod tests {
    use oci::Algorithm;
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    fn digest() -> Digest {
        Algorithm::Sha256.digest(b"content")
    }

    #[test]
    fn every_endpoint_has_its_path() {
        let id = Uuid::new_v4();
        let tag = TagOrDigest::Tag("14.04".parse().unwrap());
        let (ubuntu, digest) = (name("official/ubuntu"), digest());
        for (path, endpoint) in [
            ("/".to_owned(), Endpoint::Root),
            ("/healthz".to_owned(), Endpoint::Health),
            ("/readyz".to_owned(), Endpoint::Ready),
            ("/_ping".to_owned(), Endpoint::Ping),
            ("/v1/_ping".to_owned(), Endpoint::Ping),
            ("/v1/search".to_owned(), Endpoint::Search),
            ("/token".to_owned(), Endpoint::Token),
            ("/.well-known/jwks.json".to_owned(), Endpoint::Jwks),
            ("/auth".to_owned(), Endpoint::Auth),
            ("/auth/".to_owned(), Endpoint::Auth),
            ("/v2".to_owned(), Endpoint::Base),
            ("/v2/".to_owned(), Endpoint::Base),
            ("/v2/_catalog".to_owned(), Endpoint::Catalog),
            ("/v2/official/ubuntu/tags/list".to_owned(), Endpoint::Tags(ubuntu.clone())),
            ("/v2/official/ubuntu/manifests/14.04".to_owned(), Endpoint::Manifest(ubuntu.clone(), tag)),
            (
                format!("/v2/official/ubuntu/manifests/{digest}"),
                Endpoint::Manifest(ubuntu.clone(), TagOrDigest::Digest(digest)),
            ),
            (format!("/v2/official/ubuntu/blobs/{digest}"), Endpoint::Blob(ubuntu.clone(), digest)),
            ("/v2/official/ubuntu/blobs/uploads/".to_owned(), Endpoint::Uploads(ubuntu.clone())),
            ("/v2/official/ubuntu/blobs/uploads".to_owned(), Endpoint::Uploads(ubuntu.clone())),
            (format!("/v2/official/ubuntu/blobs/uploads/{id}"), Endpoint::Upload(ubuntu.clone(), id)),
            (format!("/v2/official/ubuntu/referrers/{digest}"), Endpoint::Referrers(ubuntu.clone(), digest)),
            ("/api/v1/repositories".to_owned(), Endpoint::ApiRepositories),
            ("/api/v1/repositories/official/ubuntu".to_owned(), Endpoint::ApiRepository(ubuntu.clone())),
            ("/api/v1/repositories/official/ubuntu/_tags".to_owned(), Endpoint::ApiTags(ubuntu)),
            ("/api/v1/usage".to_owned(), Endpoint::ApiUsage),
        ] {
            assert_eq!(Endpoint::parse(&path), Ok(endpoint), "{path}");
        }
    }

    #[test]
    fn every_path_of_the_list_is_read_as_what_has_it() {
        let digest = digest().to_string();
        let upload = Uuid::new_v4().to_string();
        let parts =
            [("{repository}", "a/b"), ("{reference}", "1.0"), ("{digest}", &*digest), ("{upload}", &*upload)];
        let labels = Endpoint::ALL.iter().map(|(path, methods)| {
            let filled =
                parts.iter().fold((*path).to_owned(), |path, (name, value)| path.replace(name, value));
            let endpoint = Endpoint::parse(&filled).unwrap();
            assert_eq!(endpoint.methods(), *methods, "{path}");
            assert_eq!(endpoint.repository().is_some(), path.contains("{repository}"), "{path}");
            endpoint.label()
        });
        let mut labels: Vec<_> = labels.collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Endpoint::ALL.len(), "two paths are one endpoint");
    }

    #[test]
    fn words_of_the_protocol_may_stand_in_a_name() {
        for repository in [
            "manifests",
            "blobs",
            "uploads",
            "tags",
            "list",
            "referrers",
            "a/manifests/b",
            "blobs/uploads",
            "a/blobs/uploads",
            "tags/list",
            "a/tags/list",
            "referrers/manifests",
            "v2",
            "manifests/manifests",
        ] {
            let id = Uuid::new_v4();
            let digest = digest();
            let named = name(repository);
            let parse = |rest: &str| Endpoint::parse(&format!("/v2/{repository}/{rest}"));
            assert_eq!(parse("tags/list"), Ok(Endpoint::Tags(named.clone())));
            let latest = TagOrDigest::Tag(oci::Tag::latest());
            assert_eq!(parse("manifests/latest"), Ok(Endpoint::Manifest(named.clone(), latest)));
            let list = TagOrDigest::Tag("list".parse().unwrap());
            assert_eq!(parse("manifests/list"), Ok(Endpoint::Manifest(named.clone(), list)));
            assert_eq!(parse(&format!("blobs/{digest}")), Ok(Endpoint::Blob(named.clone(), digest)));
            assert_eq!(parse("blobs/uploads/"), Ok(Endpoint::Uploads(named.clone())));
            assert_eq!(parse(&format!("blobs/uploads/{id}")), Ok(Endpoint::Upload(named.clone(), id)));
            assert_eq!(parse(&format!("referrers/{digest}")), Ok(Endpoint::Referrers(named, digest)));
        }
    }

    #[test]
    fn percent_encoding_is_decoded_once() {
        let ubuntu = name("official/ubuntu");
        let parse = Endpoint::parse;
        assert_eq!(parse("/v2/official%2Fubuntu/tags/list"), Ok(Endpoint::Tags(ubuntu)));
        let encoded = digest().to_string().replace(':', "%3A");
        assert_eq!(parse(&format!("/v2/a/blobs/{encoded}")), Ok(Endpoint::Blob(name("a"), digest())));
        assert_eq!(parse("/v2/a%252Fb/tags/list"), Err(PathError::Name(NameError::Malformed)));
        assert_eq!(parse("/v2/%ff%fe/tags/list"), Err(PathError::Encoding));
        assert_eq!(parse("/v2/a%00/tags/list"), Err(PathError::Name(NameError::Malformed)));
        assert_eq!(parse("/v2/a%zz/tags/list"), Err(PathError::Name(NameError::Malformed)));
    }

    #[test]
    fn what_is_no_name_digest_tag_or_upload_is_refused_as_such() {
        let malformed = Err(PathError::Name(NameError::Malformed));
        for name in
            ["..", "../..", "a/..", ".", "A", "a//b", "/a", "a/", "-a", "a_", "a b", "a%2e%2e%2fb", "%2e%2e"]
        {
            assert_eq!(Endpoint::parse(&format!("/v2/{name}/manifests/latest")), malformed, "{name}");
        }
        assert_eq!(Endpoint::parse("/v2//tags/list"), Err(PathError::Name(NameError::Empty)));
        let long = "a".repeat(256);
        assert_eq!(
            Endpoint::parse(&format!("/v2/{long}/tags/list")),
            Err(PathError::Name(NameError::TooLong))
        );
        let blob = |digest: &str| Endpoint::parse(&format!("/v2/a/blobs/{digest}"));
        assert_eq!(blob("sha256:abc"), Err(PathError::Digest(DigestError::WrongLength)));
        assert_eq!(blob("md5:abc"), Err(PathError::Digest(DigestError::UnsupportedAlgorithm)));
        assert_eq!(blob(".."), Err(PathError::Digest(DigestError::Malformed)));
        let upper = digest().to_string().to_uppercase().replace("SHA", "sha");
        assert_eq!(blob(&upper), Err(PathError::Digest(DigestError::NotLowerHex)));
        assert_eq!(Endpoint::parse("/v2/a/manifests/.x"), Err(PathError::Tag(TagError)));
        let id = Uuid::new_v4();
        for text in
            [id.simple().to_string(), id.to_string().to_uppercase(), id.urn().to_string(), "1".to_owned()]
        {
            if text != id.to_string() {
                assert_eq!(
                    Endpoint::parse(&format!("/v2/a/blobs/uploads/{text}")),
                    Err(PathError::Upload),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn other_paths_are_nothing() {
        for path in [
            "",
            "*",
            "//",
            "/v2/a",
            "/v2/tags/list",
            "/v2/manifests/latest",
            "/v1/",
            "/v3/",
            "/v2x",
            "/api/v1/",
            "/api/v2/usage",
            "/api/v1/repositoriesx",
            "/v2/a/manifest/b",
            "/healthz/",
            "/v2/_catalog/",
        ] {
            assert_eq!(Endpoint::parse(path), Err(PathError::NoSuchPath), "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_read_or_refused(path in ".{0,80}") {
            let _ = Endpoint::parse(&path);
        }

        #[test]
        fn a_name_comes_out_as_it_went_in(repository in "[a-z0-9]{1,8}(/(blobs|uploads|manifests|tags|list|[a-z0-9]{1,4})){0,4}") {
            let parsed = Endpoint::parse(&format!("/v2/{repository}/tags/list"));
            prop_assert_eq!(parsed, Ok(Endpoint::Tags(repository.parse().unwrap())));
        }
    }
}
